import { Field, Input, NativeSelect, Stack } from "@chakra-ui/react";
import { useState } from "react";
import type { JsonObject } from "../../draft";
import { strings } from "../../strings";
import { Confirm } from "../../ui/Confirm";

const words = strings.pipeline.params;

interface Param {
  name: string;
  type: string;
  description: string;
  preset: string;
  allowed: string[];
}

interface RunParamsProps {
  params: Param[];
  busy: boolean;
  onRun: (values: Record<string, unknown>) => void;
  onClose: () => void;
}

/** Asks for the parameters of a run; those left as they are take their defaults. */
export function RunParams({ params, busy, onRun, onClose }: RunParamsProps) {
  const [texts, setTexts] = useState<Record<string, string>>({});
  const given = () => params.filter(({ name, preset }) => texts[name] !== undefined && texts[name] !== preset);
  const run = () => onRun(Object.fromEntries(given().map((one) => [one.name, valueOf(texts[one.name] ?? "", one.type)])));
  return (
    <Confirm action={strings.pipeline.actions.run} busy={busy} onClose={onClose} onConfirm={run} title={words.title}>
      <Stack gap={4}>
        {params.map((one) => (
          <Field.Root key={one.name}>
            <Field.Label>{one.name}</Field.Label>
            <Entry onChange={(text) => setTexts({ ...texts, [one.name]: text })} param={one} text={texts[one.name] ?? one.preset} />
            <Field.HelperText>{[one.type, one.description].filter(Boolean).join(": ")}</Field.HelperText>
          </Field.Root>
        ))}
      </Stack>
    </Confirm>
  );
}

function Entry({ param, text, onChange }: { param: Param; text: string; onChange: (text: string) => void }) {
  const allowed = param.type === "boolean" ? ["true", "false"] : param.allowed;
  if (allowed.length === 0) return <Input onChange={(event) => onChange(event.target.value)} value={text} />;
  return (
    <NativeSelect.Root>
      <NativeSelect.Field onChange={(event) => onChange(event.target.value)} value={text}>
        {(allowed.includes(text) ? allowed : [text, ...allowed]).map((one) => (
          <option key={one}>{one}</option>
        ))}
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}

/** The parameters that a config declares: a default value each, or an object with type and limits. */
export function paramsOf(config: JsonObject): Param[] {
  return Object.entries((config.params ?? {}) as JsonObject).map(([name, given]) => {
    const spec = (typeof given === "object" && given !== null ? given : { type: typeOf(given), default: given }) as JsonObject;
    return {
      name,
      type: String(spec.type ?? "string"),
      description: String(spec.description ?? ""),
      preset: spec.default === undefined || spec.default === null ? "" : String(spec.default),
      allowed: ((spec.enum ?? []) as readonly unknown[]).map(String),
    };
  });
}

const typeOf = (value: unknown): string => (typeof value === "number" ? "number" : typeof value);

function valueOf(text: string, type: string): unknown {
  if (type === "boolean") return text === "true";
  if (type === "integer" || type === "number") return Number(text);
  return text;
}
