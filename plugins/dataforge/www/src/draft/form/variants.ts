/** Which kinds of value a place of the form can take. */

import type { Json } from "../types";
import { isList, isObject } from "../json/value";
import { labelOf, starter, starterObject } from "../schema/help";
import { optionOf, options, properties, requires, tag, types, type Schema } from "../schema/resolve";

export type VariantKind = "text" | "number" | "truth" | "choice" | "list" | "map" | "object" | "any";

export interface Variant {
  readonly id: string;
  readonly kind: VariantKind;
  /** The `type` or title of an object; "" for plain kinds. */
  readonly title: string;
  readonly schema: Schema;
}

const SIMPLE: readonly VariantKind[] = ["text", "number", "truth", "choice", "any"];

/** Whether a value of any of these kinds stands in one line. */
export const areSimple = (variants: readonly Variant[]): boolean => variants.every(({ kind }) => SIMPLE.includes(kind));

/** The kinds of value in the schema's order; those that one control can edit are one. */
export function variantsOf(root: Schema, schema: Schema): Variant[] {
  const found = options(root, schema).flatMap((option) => plain(root, option));
  const unique = found.filter((each, index) => found.findIndex(({ id }) => id === each.id) === index);
  const kinds = unique.some(({ kind }) => kind === "text") ? unique.filter(({ kind }) => kind !== "choice") : unique;
  return kinds.length ? kinds : [{ id: "any", kind: "any", title: "", schema }];
}

function plain(root: Schema, option: Schema): Variant[] {
  const made = (kind: VariantKind, title = ""): Variant => ({
    id: title ? `${kind} ${title}` : kind,
    kind,
    title,
    schema: option,
  });
  if (isList(option.enum) || option.const !== undefined) return [made("choice")];
  const kinds = types(option).map((type): Variant => {
    if (type === "string") return made("text");
    if (type === "integer" || type === "number") return made("number");
    if (type === "boolean") return made("truth");
    if (type === "array") return made("list");
    if (type !== "object") return made("any");
    if (!isObject(option.properties)) return made("map");
    return made("object", tag(root, option) ?? labelOf(typeof option.title === "string" ? option.title : ""));
  });
  return kinds.length ? kinds : [made("any")];
}

/** The variant that a value is; undefined when there is no value, or none fits. */
export function variantOf(root: Schema, variants: readonly Variant[], value: Json | undefined): Variant | undefined {
  if (value === undefined || value === null) return undefined;
  const kind = typeof value === "string" ? "text" : typeof value === "number" ? "number" : "truth";
  if (isList(value))
    return variants.find((each) => each.kind === "list") ?? variants.find((each) => each.kind === "any");
  if (!isObject(value)) {
    const choice = variants.find(
      (each) => each.kind === "choice" && isList(each.schema.enum) && each.schema.enum.includes(value),
    );
    return (
      choice ??
      variants.find((each) => each.kind === kind) ??
      variants.find(({ kind: other }) => other === "choice" || other === "any")
    );
  }
  const objects = variants.filter((each) => each.kind === "object" || each.kind === "map");
  const schema = optionOf(
    root,
    objects.map((each) => each.schema),
    value,
  );
  return objects.find((each) => each.schema === schema) ?? variants.find((each) => each.kind === "any");
}

/** A value of another variant that keeps of the old one what both have. */
export function converted(root: Schema, value: Json | undefined, to: Variant): Json {
  if (to.kind === "list") return value === undefined || value === null ? [] : [value];
  const old = isList(value) ? value[0] : value;
  if (to.kind === "object") {
    const kept = isObject(old)
      ? Object.entries(old).filter(([key]) => key !== "type" && Object.hasOwn(properties(to.schema), key))
      : [];
    return { ...starterObject(root, to.schema), ...Object.fromEntries(kept) };
  }
  if (to.kind === "map") return isObject(old) ? old : {};
  if (to.kind === "text") return typeof old === "string" || typeof old === "number" ? String(old) : "";
  if (to.kind === "number") return Number.isFinite(Number(old)) ? Number(old) : 0;
  if (to.kind === "truth") return old === true;
  return starter(root, to.schema);
}

/** Which keys of an object are shown at once: those that are needed or set. The others wait behind a button. */
export function shownKeys(
  schema: Schema,
  value: Json | undefined,
  always: readonly string[],
): { shown: string[]; more: string[] } {
  const has = (key: string): boolean => isObject(value) && Object.hasOwn(value, key);
  const keys = Object.keys(properties(schema)).filter(
    (key) => (key !== "type" || tagless(schema)) && !key.startsWith("$"),
  );
  const usable = keys.filter((key) => has(key) || !hidden(properties(schema)[key]));
  const shown = usable.filter((key) => has(key) || requires(schema, key) || always.includes(key));
  return { shown, more: usable.filter((key) => !shown.includes(key)) };
}

const tagless = (schema: Schema): boolean => {
  const { type } = properties(schema);
  return !(isObject(type) && type.const !== undefined);
};
const hidden = (schema: Json | undefined): boolean => isObject(schema) && schema.deprecated === true;
