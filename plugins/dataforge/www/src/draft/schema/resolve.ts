/** What a JSON Schema says of one place of a config. */

import type { Json, JsonObject } from "../types";
import { isList, isObject, type Path } from "../json/value";

/** A schema without references at its top. */
export type Schema = JsonObject;

const NO_SCHEMA: Schema = {};
const resolved = new WeakMap<Schema, Schema>();

/** Follow references; what stands beside a reference wins over what it names. The same schema gives the same object. */
export function deref(root: Schema, schema: Json | undefined): Schema {
  if (!isObject(schema)) return NO_SCHEMA;
  if (typeof schema.$ref !== "string") return schema;
  const before = resolved.get(schema);
  if (before) return before;
  let found: Schema = schema;
  for (let count = 0; typeof found.$ref === "string" && count < 32; count++) {
    const { $ref, ...beside }: Schema = found;
    found = { ...pointed(root, String($ref)), ...beside };
  }
  resolved.set(schema, found);
  return found;
}

function pointed(root: Schema, reference: string): Schema {
  const name = /^#\/\$defs\/(.+)$/.exec(reference)?.[1];
  const definition = name && isObject(root.$defs) ? root.$defs[name] : undefined;
  return isObject(definition) ? definition : {};
}

/** The schemas of which a value may follow any one, null left out; of a plain schema itself. */
export function options(root: Schema, schema: Json | undefined): Schema[] {
  const found = deref(root, schema);
  for (const word of ["anyOf", "oneOf"] as const) {
    const branches = found[word];
    if (!isList(branches) || found.type !== undefined) continue;
    return branches.flatMap((branch) => options(root, branch));
  }
  return found.type === "null" ? [] : [found];
}

/** Whether null is among the values allowed. */
export function nullable(root: Schema, schema: Json | undefined): boolean {
  const found = deref(root, schema);
  const branches = isList(found.anyOf) ? found.anyOf : isList(found.oneOf) ? found.oneOf : [];
  return types(found).includes("null") || branches.some((branch) => nullable(root, branch));
}

/** The JSON types that a schema names. */
export const types = (schema: Schema): readonly string[] =>
  typeof schema.type === "string" ? [schema.type] : isList(schema.type) ? schema.type.map(String) : [];

/** Properties of an object's schema by name. */
export const properties = (schema: Schema): Readonly<Record<string, Json>> =>
  isObject(schema.properties) ? schema.properties : {};

export const requires = (schema: Schema, key: string): boolean =>
  isList(schema.required) && schema.required.includes(key);

/** The value of `type` by which a component is told from others; undefined for other schemas. */
export function tag(root: Schema, schema: Schema): string | undefined {
  const type = deref(root, properties(schema).type);
  return typeof type.const === "string" ? type.const : undefined;
}

/** The option that a value follows: by its `type` if it has one, else by its kind and keys; undefined for none. */
export function optionOf(root: Schema, among: readonly Schema[], value: Json | undefined): Schema | undefined {
  if (value === undefined) return undefined;
  const fitting = among.filter((option) => fits(option, value));
  if (!isObject(value)) return fitting[0];
  if (typeof value.type === "string" && among.some((option) => tag(root, option) !== undefined)) {
    const named = fitting.find((option) => tag(root, option) === value.type);
    return named ?? fitting.find((option) => tag(root, option) === undefined && !known(option, "type"));
  }
  const keys = Object.keys(value);
  const score = (option: Schema): number => keys.filter((key) => known(option, key)).length;
  return [...fitting].sort((one, other) => score(other) - score(one))[0];
}

const known = (schema: Schema, key: string): boolean => Object.hasOwn(properties(schema), key);

/** Whether a value is of a schema's JSON type, and among its allowed values if it lists some. */
function fits(schema: Schema, value: Json): boolean {
  if (isList(schema.enum)) return schema.enum.includes(value);
  if (schema.const !== undefined) return schema.const === value;
  const allowed = types(schema);
  if (!allowed.length) return true;
  if (typeof value === "number")
    return allowed.includes("number") || (allowed.includes("integer") && Number.isInteger(value));
  if (isList(value)) return allowed.includes("array");
  if (value === null) return allowed.includes("null");
  return allowed.includes(isObject(value) ? "object" : typeof value);
}

/** The schema of an object's key or a list's item, under one option. */
export function below(root: Schema, option: Schema, token: string): Schema | undefined {
  if (isObject(option.properties) && Object.hasOwn(option.properties, token))
    return deref(root, option.properties[token]);
  if (isObject(option.patternProperties)) {
    for (const [pattern, schema] of Object.entries(option.patternProperties)) {
      if (new RegExp(pattern, "u").test(token)) return deref(root, schema);
    }
  }
  if (isObject(option.additionalProperties)) return deref(root, option.additionalProperties);
  if (types(option).includes("array") && isObject(option.items)) return deref(root, option.items);
  return undefined;
}

/** The schema at a path, chosen by the values on the way; undefined for what the schema does not know. */
export function schemaAt(root: Schema, config: Json | undefined, path: Path): Schema | undefined {
  let schema: Schema | undefined = root;
  let value = config;
  for (const token of path) {
    const among = options(root, schema);
    const chosen = optionOf(root, among, value);
    schema = [...(chosen ? [chosen] : []), ...among].map((option) => below(root, option, token)).find(Boolean);
    if (!schema) return undefined;
    value = isList(value)
      ? value[Number(token)]
      : isObject(value) && Object.hasOwn(value, token)
        ? value[token]
        : undefined;
  }
  return schema;
}
