import { NativeSelect } from "@chakra-ui/react";
import { strings } from "../../strings";
import { isObject } from "../json/value";
import type { Json } from "../types";
import type { Variant } from "./variants";

const words = strings.draft;

interface KindSelectProps {
  readonly id: string;
  readonly label: string;
  readonly variants: readonly Variant[];
  readonly variant: Variant | undefined;
  readonly value: Json | undefined;
  readonly required: boolean;
  readonly locked: boolean;
  readonly onChange: (variant: Variant) => void;
  readonly onUnset: () => void;
}

/** Which kind of value a place has: the `type` of a component, a list or one, … */
export function KindSelect({
  id,
  label,
  variants,
  variant,
  value,
  required,
  locked,
  onChange,
  onUnset,
}: KindSelectProps) {
  const unset = value === undefined || value === null;
  const type = isObject(value) && typeof value.type === "string" ? value.type : words.json;
  const chosen = (picked: string): void => {
    const next = variants.find((each) => each.id === picked);
    if (next) onChange(next);
    else onUnset();
  };
  return (
    <NativeSelect.Root disabled={locked} maxW="16rem" mb={2} size="sm">
      <NativeSelect.Field
        aria-label={words.kindOf(label)}
        id={`${id}-kind`}
        onChange={(event) => chosen(event.target.value)}
        value={unset ? "" : (variant?.id ?? "other")}
      >
        {(unset || !required) && <option value="">{words.notSet}</option>}
        {!unset && !variant && (
          <option disabled value="other">
            {words.unknownKind(type)}
          </option>
        )}
        {variants.map((each) => (
          <option key={each.id} value={each.id}>
            {each.title || words.kinds[each.kind]}
          </option>
        ))}
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}
