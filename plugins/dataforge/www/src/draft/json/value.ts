/** JSON values: pointers (RFC 6901), reading and changing copies. */

import type { Json, JsonObject } from "../types";

export type Path = readonly string[];

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const isList = (value: unknown): value is readonly Json[] => Array.isArray(value);

export const escape = (token: string): string => token.replaceAll("~", "~0").replaceAll("/", "~1");
export const pointerOf = (path: Path): string => path.map((token) => `/${escape(token)}`).join("");
export const pathOf = (pointer: string): string[] =>
  pointer
    .split("/")
    .slice(1)
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
export const under = (pointer: string, token: string | number): string => `${pointer}/${escape(String(token))}`;
export const parentOf = (pointer: string): string => pointer.slice(0, Math.max(0, pointer.lastIndexOf("/")));

/** Whether `inner` is `outer` or lies below it. */
export const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

const own = (value: JsonObject, key: string): Json | undefined => (Object.hasOwn(value, key) ? value[key] : undefined);

/** The value at a path; undefined when there is none. */
export function at(value: Json | undefined, path: Path): Json | undefined {
  let current = value;
  for (const token of path) {
    if (isList(current)) current = /^\d+$/.test(token) ? current[Number(token)] : undefined;
    else if (isObject(current)) current = own(current, token);
    else return undefined;
  }
  return current;
}

/** Whether two values are equal; the order of keys does not count. */
export function same(one: Json | undefined, other: Json | undefined): boolean {
  if (isList(one) && isList(other)) {
    return one.length === other.length && one.every((item, index) => same(item, other[index]));
  }
  if (isObject(one) && isObject(other)) {
    const keys = Object.keys(one);
    return keys.length === Object.keys(other).length && keys.every((key) => same(one[key], own(other, key)));
  }
  return one === other;
}

/** `next`, made of the very parts of `previous` that are equal, so that they can be told by identity. */
export function shared(previous: Json | undefined, next: Json): Json {
  if (same(previous, next)) return previous ?? next;
  if (isList(next)) return next.map((item, index) => shared(isList(previous) ? previous[index] : undefined, item));
  if (!isObject(next)) return next;
  const old = isObject(previous) ? previous : {};
  return objectOf(Object.entries(next).map(([key, value]) => [key, shared(own(old, key), value)]));
}

/** A plain object of entries, in which even "__proto__" is a key like any other. */
export const objectOf = (entries: Iterable<readonly [string, Json]>): JsonObject => Object.fromEntries(entries);

/** A copy with the value at a path set; undefined takes it out. Objects on the way are made where they are missing. */
export function withValue(value: Json | undefined, path: Path, next: Json | undefined): Json {
  const [token, ...rest] = path;
  if (token === undefined) return next ?? null;
  if (isList(value)) {
    const index = token === "-" ? value.length : Number(token);
    if (!Number.isInteger(index) || index < 0 || index > value.length) return value;
    const copy = [...value];
    if (rest.length === 0 && next === undefined) copy.splice(index, 1);
    else copy[index] = withValue(value[index], rest, next);
    return copy;
  }
  const before = isObject(value) ? value : {};
  if (next === undefined && !Object.hasOwn(before, token)) return before;
  if (rest.length === 0 && next === undefined) return objectOf(Object.entries(before).filter(([key]) => key !== token));
  const changed = withValue(own(before, token), rest, next);
  const entries = Object.entries(before).map(([key, old]) => [key, key === token ? changed : old] as const);
  return objectOf(Object.hasOwn(before, token) ? entries : [...entries, [token, changed]]);
}

/** A copy in which the item at `from` of the list at a path stands at `to`. */
export function withMoved(value: Json, path: Path, from: number, to: number): Json {
  const list = at(value, path);
  if (!isList(list) || !(from in list) || to < 0 || to >= list.length) return value;
  const copy = [...list];
  copy.splice(to, 0, ...copy.splice(from, 1));
  return withValue(value, path, copy);
}

/** A copy with an item put in before `index` of the list at a path (made if missing). */
export function withInserted(value: Json, path: Path, index: number, item: Json): Json {
  const list = at(value, path);
  const copy = isList(list) ? [...list] : [];
  copy.splice(index, 0, item);
  return withValue(value, path, copy);
}

/** A copy in which a key has another name at its old place; unchanged if that name is taken. */
export function withKey(value: Json, path: Path, name: string): Json {
  const holder = at(value, path.slice(0, -1));
  const key = path.at(-1);
  if (!isObject(holder) || key === undefined || !Object.hasOwn(holder, key) || Object.hasOwn(holder, name))
    return value;
  const renamed = objectOf(Object.entries(holder).map(([old, each]) => [old === key ? name : old, each]));
  return withValue(value, path.slice(0, -1), renamed);
}
