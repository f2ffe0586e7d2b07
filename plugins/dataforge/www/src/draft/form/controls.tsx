import { Input, NativeSelect, Textarea } from "@chakra-ui/react";
import { useId, useState } from "react";
import { strings } from "../../strings";
import { isList } from "../json/value";
import type { Schema } from "../schema/resolve";
import type { Json } from "../types";
import { proposals, useForm } from "./context";

const words = strings.draft;

export interface ControlProps {
  readonly id: string;
  readonly pointer: string;
  readonly schema: Schema;
  readonly value: Json | undefined;
  /** undefined takes the key out. */
  readonly onChange: (value: Json | undefined) => void;
  readonly required: boolean;
  readonly locked: boolean;
  readonly invalid: boolean;
  readonly describedBy: string;
  readonly label?: string;
}

const common = ({ id, locked, invalid, describedBy, required, label }: ControlProps) => ({
  id,
  disabled: locked,
  "aria-invalid": invalid || undefined,
  "aria-describedby": describedBy || undefined,
  "aria-required": required || undefined,
  "aria-label": label,
});

/** What stands in an empty field: what counts when it is not set, else an example. */
function placeholder(schema: Schema): string {
  const usual = schema.default;
  if (usual !== undefined && usual !== null && usual !== "") return words.usual(plain(usual));
  const example = isList(schema.examples) ? schema.examples[0] : undefined;
  return example === undefined ? "" : words.example(plain(example));
}

const plain = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

export function TextControl(props: ControlProps) {
  const { value, onChange, required, schema } = props;
  const form = useForm();
  const list = useId();
  const [names, setNames] = useState<readonly string[]>([]);
  const text = typeof value === "string" ? value : value === undefined || value === null ? "" : plain(value);
  const shared = {
    ...common(props),
    value: text,
    placeholder: placeholder(schema),
    onFocus: () => setNames(proposals(form, schema, props.pointer)),
    onChange: (event: { target: { value: string } }) =>
      onChange(event.target.value || required ? event.target.value : undefined),
  };
  const long = typeof schema.maxLength === "number" && schema.maxLength >= 5000;
  if (long)
    return (
      <Textarea
        {...shared}
        autoresize
        fontFamily={schema["x-sql"] ? "mono" : undefined}
        maxH="16em"
        rows={1}
        size="sm"
      />
    );
  return (
    <>
      <Input {...shared} list={names.length ? list : undefined} size="sm" />
      {names.length > 0 && (
        <datalist id={list}>
          {names.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      )}
    </>
  );
}

/** Keeps what is typed until it is a number. */
export function NumberControl(props: ControlProps) {
  const { value, onChange, required, schema } = props;
  const given = value === undefined || value === null ? "" : plain(value);
  const [typed, setTyped] = useState<string | null>(null);
  const wrong = typed !== null && typed.trim() !== "" && !Number.isFinite(Number(typed));
  const take = (text: string): void => {
    setTyped(text);
    if (text.trim() === "") {
      if (!required) onChange(undefined);
    } else if (Number.isFinite(Number(text))) onChange(Number(text));
  };
  return (
    <Input
      {...common({ ...props, invalid: props.invalid || wrong })}
      inputMode="decimal"
      onBlur={() => setTyped(wrong ? typed : null)}
      onChange={(event) => take(event.target.value)}
      placeholder={placeholder(schema)}
      size="sm"
      title={wrong ? words.badNumber : undefined}
      value={typed ?? given}
    />
  );
}

/** One of a list, yes or no included. */
export function ChoiceControl(props: ControlProps & { readonly choices: readonly Json[] }) {
  const { value, onChange, required, schema, choices } = props;
  const unset = value === undefined || value === null;
  const index = choices.findIndex((choice) => choice === value);
  const usual =
    schema.default === undefined || schema.default === null ? words.notSet : words.usual(shown(schema.default));
  return (
    <NativeSelect.Root disabled={props.locked} size="sm">
      <NativeSelect.Field
        {...common(props)}
        onChange={(event) => onChange(event.target.value === "" ? undefined : choices[Number(event.target.value)])}
        value={unset ? "" : index < 0 ? "other" : String(index)}
      >
        {(!required || unset) && <option value="">{usual}</option>}
        {index < 0 && !unset && (
          <option disabled value="other">
            {words.unknownKind(plain(value))}
          </option>
        )}
        {choices.map((choice, each) => (
          <option key={each} value={each}>
            {shown(choice)}
          </option>
        ))}
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}

const shown = (value: Json): string => (value === true ? words.yes : value === false ? words.no : plain(value));

/** Any JSON value; keeps what is typed until it is one. */
export function JsonControl(props: ControlProps) {
  const { value, onChange, required } = props;
  const given = value === undefined ? "" : JSON.stringify(value);
  const [typed, setTyped] = useState<string | null>(null);
  const read = typed === null ? undefined : readJson(typed);
  const wrong = typed !== null && typed.trim() !== "" && read === undefined;
  const take = (text: string): void => {
    setTyped(text);
    const parsed = readJson(text);
    if (parsed !== undefined) onChange(parsed);
    else if (text.trim() === "" && !required) onChange(undefined);
  };
  return (
    <Textarea
      {...common({ ...props, invalid: props.invalid || wrong })}
      autoresize
      fontFamily="mono"
      maxH="16em"
      onBlur={() => setTyped(wrong ? typed : null)}
      onChange={(event) => take(event.target.value)}
      placeholder={words.json}
      rows={1}
      size="sm"
      title={wrong ? words.badJson : undefined}
      value={typed ?? given}
    />
  );
}

function readJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
