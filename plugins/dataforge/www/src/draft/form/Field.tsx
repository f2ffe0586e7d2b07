import { Box, Flex, IconButton, Text } from "@chakra-ui/react";
import { memo } from "react";
import { strings } from "../../strings";
import { RemoveIcon } from "../icons";
import { edits } from "../json/edit";
import { isObject } from "../json/value";
import { allowedOf, helpOf, starter } from "../schema/help";
import { deref, type Schema } from "../schema/resolve";
import type { Finding, Json } from "../types";
import { ChoiceControl, JsonControl, NumberControl, TextControl, type ControlProps } from "./controls";
import { pinnedAt, useForm } from "./context";
import { FieldFindings } from "./FieldFindings";
import { KindSelect } from "./KindSelect";
import { ListField } from "./ListField";
import { MapField } from "./MapField";
import { ObjectFields } from "./ObjectFields";
import { Pin } from "./Pin";
import { converted, variantOf, variantsOf, type Variant } from "./variants";

const words = strings.draft;

interface FieldProps {
  readonly pointer: string;
  readonly schema: Schema;
  readonly label: string;
  readonly value: Json | undefined;
  /** Those of this place and of what lies in it. */
  readonly findings: readonly Finding[];
  readonly required?: boolean;
  /** Without label, help and pin: for the items of lists and maps, which have their own head. */
  readonly bare?: boolean;
}

/** One place of the config: its label, kind, control, help and findings. */
export const Field = memo(function Field({
  pointer,
  schema,
  label,
  value: given,
  findings: all,
  required = false,
  bare = false,
}: FieldProps) {
  const form = useForm();
  const resolved = deref(form.root, schema);
  const pin = pinnedAt(form.pinned, pointer);
  const value = pin ? pin.value : given;
  const variants = variantsOf(form.root, resolved);
  const current = variantOf(form.root, variants, value);
  const variant = current ?? variants[0];
  const locked = form.readOnly || pin !== undefined;
  const unset = value === undefined || value === null;
  const id = `${form.prefix}${encodeURIComponent(pointer)}`;
  const findings = all.filter((finding) => finding.pointer === pointer);
  const describedBy = [
    !bare && resolved.description ? `${id}-help` : "",
    findings.length ? `${id}-findings` : "",
  ].filter(Boolean);
  const set = (next: Json | undefined): void =>
    form.change((text) => (next === undefined ? edits.remove(text, pointer) : edits.set(text, pointer, next)));
  const simple = variant && ["text", "number", "truth", "choice", "any"].includes(variant.kind);
  const control = {
    id: `${id}-control`,
    pointer,
    schema: { ...variant?.schema, ...resolved },
    value,
    onChange: set,
    required,
    locked,
    invalid: findings.some(({ severity }) => severity === "error"),
    describedBy: describedBy.join(" "),
    label: bare ? label : undefined,
  };
  const help = !bare && resolved.description !== undefined && (
    <Text color="fg.muted" fontSize="xs" id={`${id}-help`} mb={simple ? 0 : 2} mt={simple ? 1 : 0}>
      {helpOf(form.root, resolved).description}
    </Text>
  );
  return (
    <Box data-place={pointer} id={id}>
      {!bare && (
        <Flex align="center" gap={1} mb={1} minH="6">
          <Text
            as={simple ? "label" : "span"}
            fontSize="sm"
            fontWeight="medium"
            {...(simple ? { htmlFor: control.id } : {})}
          >
            {label}
            {required && (
              <Text as="span" color="fg.muted" fontSize="xs" fontWeight="normal">
                {" "}
                {words.needed}
              </Text>
            )}
          </Text>
          <Pin label={label} own={pin?.own ?? false} pinned={pin !== undefined} pointer={pointer} value={value} />
          {!simple && !required && !unset && !locked && (
            <IconButton aria-label={words.unset(label)} onClick={() => set(undefined)} size="2xs" variant="ghost">
              <RemoveIcon />
            </IconButton>
          )}
        </Flex>
      )}
      {!simple && help}
      {(variants.length > 1 || (isObject(value) && !current)) && (
        <KindSelect
          id={id}
          label={label}
          locked={locked}
          onChange={(next) => set(converted(form.root, value, next))}
          required={required}
          value={value}
          variant={current}
          variants={variants}
          onUnset={() => set(undefined)}
        />
      )}
      {variant && !(variants.length > 1 && unset && !simple) && !(isObject(value) && !current) && (
        <Control control={control} findings={all} label={label} required={required} variant={variant} />
      )}
      {simple && help}
      <FieldFindings findings={findings} id={`${id}-findings`} />
    </Box>
  );
}, unchanged);

/** Whether two sets of props draw the same: findings are made anew with every check, mostly equal ones. */
function unchanged(one: FieldProps, other: FieldProps): boolean {
  const { findings: before, ...rest } = one;
  const { findings: after, ...now } = other;
  const keys = Object.keys({ ...rest, ...now }) as (keyof typeof rest)[];
  return (
    before.length === after.length &&
    before.every((each, index) => each === after[index]) &&
    keys.every((key) => rest[key] === now[key])
  );
}

interface PartProps {
  readonly variant: Variant;
  readonly control: ControlProps;
  readonly findings: readonly Finding[];
  readonly label: string;
  readonly required: boolean;
}

function Control({ variant, control, findings, label, required }: PartProps) {
  const form = useForm();
  const { pointer, value, locked } = control;
  const unset = value === undefined || value === null;
  const path = { pointer, schema: variant.schema, label, locked, value, findings };
  switch (variant.kind) {
    case "text":
      return <TextControl {...control} />;
    case "number":
      return <NumberControl {...control} />;
    case "truth":
      return <ChoiceControl {...control} choices={[true, false]} />;
    case "choice":
      return <ChoiceControl {...control} choices={allowedOf(form.root, variant.schema)} />;
    case "list":
      return <ListField {...path} />;
    case "map":
      return <MapField {...path} />;
    case "object":
      if (unset && !required)
        return (
          <SetButton
            label={label}
            locked={locked}
            onClick={() => control.onChange(starter(form.root, variant.schema))}
          />
        );
      return <ObjectFields findings={findings} pointer={pointer} schema={variant.schema} value={value} />;
    default:
      return <JsonControl {...control} />;
  }
}

function SetButton({ label, locked, onClick }: { label: string; locked: boolean; onClick: () => void }) {
  return (
    <IconButton aria-label={words.setOf(label)} disabled={locked} onClick={onClick} px={3} size="xs" variant="outline">
      {words.set}
    </IconButton>
  );
}
