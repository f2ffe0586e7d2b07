/** What help says of a schema. */

import type { Json } from "../types";
import { isList } from "../json/value";
import { deref, options, properties, requires, tag, types, type Schema } from "./resolve";

export interface Help {
  /** "text", "number, or list of text", … */
  readonly kind: string;
  readonly description: string;
  /** "1 to 100", "at most 200 characters", … */
  readonly limits: string;
  readonly allowed: readonly Json[];
  readonly default?: Json;
  readonly examples: readonly Json[];
  readonly deprecated: boolean;
}

const WORDS: Readonly<Record<string, string>> = {
  string: "text",
  integer: "whole number",
  number: "number",
  boolean: "true or false",
  object: "object",
  array: "list",
  null: "null",
};

/** Help for a place; `undefined` as default means that the schema names none. */
export function helpOf(root: Schema, schema: Schema): Help {
  const found = deref(root, schema);
  const among = options(root, found);
  const first = <T>(pick: (each: Schema) => T | undefined): T | undefined =>
    [found, ...among].map(pick).find((each) => each !== undefined);
  return {
    kind: kindOf(root, found),
    description: first((each) => (typeof each.description === "string" ? each.description : undefined)) ?? "",
    limits: [...new Set([found, ...among].map(limitsOf).filter(Boolean))].join("; "),
    allowed: allowedOf(root, found),
    default: found.default,
    examples: first((each) => (isList(each.examples) ? each.examples : undefined)) ?? [],
    deprecated: found.deprecated === true,
  };
}

/** The few values that a place can have; empty when they are not listed. */
export function allowedOf(root: Schema, schema: Schema): readonly Json[] {
  return options(root, schema).flatMap((option): readonly Json[] => {
    if (isList(option.enum)) return option.enum;
    if (option.const !== undefined) return [option.const];
    return types(option).includes("boolean") ? [true, false] : [];
  });
}

/** The kind of value in words. */
export function kindOf(root: Schema, schema: Schema): string {
  const names = options(root, schema).map((option) => {
    if (isList(option.enum)) return "one of the listed";
    const named = tag(root, option);
    if (named) return named;
    if (types(option).includes("array") && option.items) return `list of ${kindOf(root, deref(root, option.items))}`;
    if (!types(option).length) return "any value";
    return types(option)
      .map((type) => WORDS[type] ?? type)
      .join(" or ");
  });
  const different = [...new Set(names)];
  return different.length > 4 ? `${different.slice(0, 3).join(", ")} or another` : different.join(" or ");
}

function limitsOf(schema: Schema): string {
  const from = schema.minimum ?? schema.exclusiveMinimum;
  const above = schema.exclusiveMinimum === undefined ? "at least" : "above";
  const to = schema.maximum;
  if (from !== undefined && to !== undefined) return `${schema.minimum === undefined ? "above " : ""}${from} to ${to}`;
  if (from !== undefined) return `${above} ${from}`;
  if (to !== undefined) return `at most ${to}`;
  return typeof schema.maxLength === "number" ? `at most ${schema.maxLength.toLocaleString("en")} characters` : "";
}

/** "write_disposition" as "Write disposition". */
export function labelOf(key: string): string {
  const words = key
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replaceAll(/[_-]+/g, " ")
    .trim()
    .toLowerCase();
  return words
    ? (words.charAt(0).toUpperCase() + words.slice(1)).replace(/\b(dag id|sql|url|id)\b/gi, (word) =>
        word.toLowerCase() === "dag id" ? "DAG id" : word.toUpperCase(),
      )
    : key;
}

/** A first value for a place: its default, its only value, an example if it is needed, or an empty one of its kind. */
export function starter(root: Schema, schema: Schema): Json {
  const found = deref(root, schema);
  if (found.default !== undefined && found.default !== null) return found.default;
  const option = options(root, found)[0];
  if (!option) return null;
  if (option.const !== undefined) return option.const;
  if (isList(option.enum) && option.enum.length) return option.enum[0] ?? null;
  const kind = types(option)[0];
  if (kind === "object") return starterObject(root, option);
  if (kind === "array") return [];
  if (kind === "boolean") return false;
  if (kind === "integer" || kind === "number") return typeof option.minimum === "number" ? option.minimum : 0;
  return "";
}

/** An object with the keys that its schema requires. */
export function starterObject(root: Schema, schema: Schema): Readonly<Record<string, Json>> {
  const named = tag(root, schema);
  const needed = Object.entries(properties(schema)).filter(([key]) => key !== "type" && requires(schema, key));
  return {
    ...(named === undefined ? {} : { type: named }),
    ...Object.fromEntries(needed.map(([key, each]) => [key, starter(root, deref(root, each))])),
  };
}
