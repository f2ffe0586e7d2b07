/** What can be written at a place of a config's text. */

import type { Json, Known } from "../types";
import { inputsAt } from "../graph";
import { parse, placeAt, valueOf, type Node } from "../json/tree";
import { at, isList, isObject, pointerOf, type Path } from "../json/value";
import { allowedOf, helpOf, starter, starterObject } from "./help";
import { deref, optionOf, options, properties, requires, schemaAt, tag, types, type Schema } from "./resolve";

export interface Completion {
  readonly label: string;
  readonly insert: string;
  readonly kind: "key" | "value" | "component" | "connection" | "column" | "name";
  readonly detail: string;
  readonly info: string;
}
export interface Completions {
  readonly from: number;
  readonly to: number;
  readonly items: readonly Completion[];
}

/** The completions at an offset, and what they replace; null where there are none. */
export function complete(root: Schema, text: string, offset: number, known: Known = {}): Completions | null {
  const tree = parse(text);
  const config = valueOf(tree);
  const { path, node, key } = placeAt(tree, offset);
  if (key) return keys(root, config, path.slice(0, -1), [key.keyStart, key.keyEnd], key.colon >= 0, key.key);
  if (node.kind === "object") {
    const member = node.members.find(
      ({ colon, value }) =>
        value.kind === "missing" && colon >= 0 && colon < offset && offset <= nextToken(text, colon + 1),
    );
    if (member) return values(root, text, config, [...path, member.key], [offset, offset], known);
    return inner(node, offset) ? keys(root, config, path, [offset, offset], false) : null;
  }
  if (node.kind === "list")
    return inner(node, offset)
      ? values(root, text, config, [...path, String(itemAt(node, offset))], [offset, offset], known)
      : null;
  if (node.kind === "text" && node.start < offset) {
    const words = inText(root, text, config, path, node, offset, known);
    if (words) return words;
  }
  return values(root, text, config, path, [node.start, node.end], known);
}

const inner = (node: Node, offset: number): boolean => node.start < offset && (!node.closed || offset < node.end);
const itemAt = (node: Node, offset: number): number => node.items.filter(({ end }) => end < offset).length;
const nextToken = (text: string, from: number): number => from + (/^\s*/.exec(text.slice(from))?.[0].length ?? 0);

function keys(
  root: Schema,
  config: Json,
  path: Path,
  span: readonly [number, number],
  named: boolean,
  own?: string,
): Completions | null {
  const schema = schemaAt(root, config, path);
  if (!schema) return null;
  const holder = at(config, path);
  const among = options(root, schema).filter((option) => types(option).includes("object"));
  const chosen = optionOf(root, among, holder) ?? (among.length === 1 ? among[0] : undefined);
  const has = (name: string): boolean => name !== own && isObject(holder) && Object.hasOwn(holder, name);
  const tagged = among.some((option) => tag(root, option) !== undefined) && !has("type");
  const listed = tagged ? among.slice(0, 1) : chosen ? [chosen] : among;
  const items = listed.flatMap((option) =>
    Object.entries(properties(option)).flatMap(([name, each]): Completion[] => {
      if (has(name) || (tagged && name !== "type")) return [];
      const found = deref(root, each);
      if (found.deprecated === true) return [];
      const help = helpOf(root, found);
      const value = tagged && name === "type" ? '""' : JSON.stringify(starter(root, found));
      const insert = JSON.stringify(name) + (named ? "" : `: ${value}`);
      return [
        {
          label: name,
          insert,
          kind: "key",
          detail: help.kind + (requires(option, name) ? ", needed" : ""),
          info: help.description,
        },
      ];
    }),
  );
  return items.length ? { from: span[0], to: span[1], items: unique(items) } : null;
}

function values(
  root: Schema,
  text: string,
  config: Json,
  path: Path,
  span: readonly [number, number],
  known: Known,
): Completions | null {
  const schema = schemaFor(root, config, path);
  if (!schema) return null;
  const items = [
    ...tags(root, config, path),
    ...names(config, path, schema, root, known),
    ...allowedOf(root, schema)
      .filter(() => path.at(-1) !== "type" || !tagged(root, config, path))
      .map((value) => literal(value, helpOf(root, schema).description)),
    ...components(root, schema),
    ...suggestions(root, schema),
  ];
  if (!items.length) return null;
  const gap = span[0] === span[1] && text.charAt(span[0] - 1) === ":" ? " " : "";
  return { from: span[0], to: span[1], items: unique(items).map((item) => ({ ...item, insert: gap + item.insert })) };
}

const schemaFor = (root: Schema, config: Json, path: Path): Schema | undefined =>
  schemaAt(root, config, path) ?? (path.at(-1) === "type" ? {} : undefined);

const literal = (value: Json, info: string): Completion => ({
  label: typeof value === "string" ? value : JSON.stringify(value),
  insert: JSON.stringify(value),
  kind: "value",
  detail: "",
  info,
});

/** The options of the object that holds a `type`, as far as `type` tells them apart. */
function tagged(root: Schema, config: Json, path: Path): readonly Schema[] | undefined {
  const holder = schemaAt(root, config, path.slice(0, -1));
  const among = holder && options(root, holder).filter((option) => tag(root, option) !== undefined);
  return among?.length ? among : undefined;
}

function tags(root: Schema, config: Json, path: Path): Completion[] {
  if (path.at(-1) !== "type") return [];
  return (tagged(root, config, path) ?? []).map((option) =>
    literal(tag(root, option) ?? "", helpOf(root, option).description),
  );
}

/** Whole components for a place that takes one. */
function components(root: Schema, schema: Schema): Completion[] {
  return options(root, schema).flatMap((option): Completion[] => {
    const named = tag(root, option);
    if (named === undefined) return [];
    const insert = JSON.stringify(starterObject(root, option)).replaceAll('":', '": ').replaceAll(',"', ', "');
    return [{ label: named, insert, kind: "component", detail: "component", info: helpOf(root, option).description }];
  });
}

function suggestions(root: Schema, schema: Schema): Completion[] {
  const help = helpOf(root, schema);
  const given = help.default === undefined || help.default === null ? [] : [help.default];
  return [
    ...given.map((value) => ({ ...literal(value, help.description), detail: "default" })),
    ...options(root, schema)
      .flatMap((option) => (isList(option.examples) ? option.examples : []))
      .concat(help.examples)
      .map((value) => ({ ...literal(value, help.description), detail: "example" })),
  ];
}

/** Connections, columns and names of inputs, where the schema asks for them. */
function names(config: Json, path: Path, schema: Schema, root: Schema, known: Known): Completion[] {
  const asks = (word: string): boolean => [schema, ...options(root, schema)].some((each) => each[word] === true);
  const made = (kind: Completion["kind"], label: string, detail: string): Completion => ({
    label,
    insert: JSON.stringify(label),
    kind,
    detail,
    info: "",
  });
  if (asks("x-connection")) return (known.connections ?? []).map(({ id, type }) => made("connection", id, type));
  if (asks("x-column")) return columns(config, path, known).map(([name, type]) => made("column", name, type));
  const place = path.filter((token) => !/^\d+$/.test(token)).join("/");
  if (place === "transforms/input" || place === "transforms/with") {
    return inputNames(config, Number(path[1])).map((name) => made("name", name, "input"));
  }
  return [];
}

function columns(config: Json, path: Path, known: Known): [string, string][] {
  const nodes = inputsAt(isObject(config) ? config : null, pointerOf(path));
  return nodes.flatMap((pointer) => Object.entries(known.columns?.[pointer] ?? {}));
}

/** The names that the transform at an index can read. */
export function inputNames(config: Json, index: number): string[] {
  if (!isObject(config)) return [];
  const steps: readonly Json[] = isList(config.transforms) ? config.transforms.slice(0, index) : [];
  const named = steps.flatMap((step) => (isObject(step) && typeof step.name === "string" ? [step.name] : []));
  return [
    ...(isObject(config.sources) ? Object.keys(config.sources) : isObject(config.source) ? ["source"] : []),
    ...named,
  ];
}

/** Column names within the words of an expression. */
function inText(
  root: Schema,
  text: string,
  config: Json,
  path: Path,
  node: Node,
  offset: number,
  known: Known,
): Completions | null {
  const schema = schemaAt(root, config, path);
  const sql =
    schema &&
    [schema, ...options(root, schema)].some((each) => each["x-sql"] === "expression" || each["x-sql"] === "query");
  if (!sql) return null;
  const word = /[\w]*$/.exec(text.slice(node.start + 1, offset))?.[0] ?? "";
  const items = columns(config, path, known).map(([name, type]): Completion => ({
    label: name,
    insert: name,
    kind: "column",
    detail: type,
    info: "",
  }));
  return items.length ? { from: offset - word.length, to: offset, items: unique(items) } : null;
}

const unique = (items: readonly Completion[]): Completion[] =>
  items.filter((item, index) => items.findIndex(({ insert }) => insert === item.insert) === index);

/** What hover says at an offset: the help of the key or value there; null where the schema knows nothing. */
export function hoverAt(
  root: Schema,
  text: string,
  offset: number,
): { from: number; to: number; path: Path; schema: Schema } | null {
  const tree = parse(text);
  const { path, node, key } = placeAt(tree, offset);
  if (!key && (node.kind === "object" || node.kind === "list" || node.kind === "missing")) return null;
  const config: Json = valueOf(tree);
  const span = key ? { from: key.keyStart, to: key.keyEnd } : { from: node.start, to: node.end };
  if (path.at(-1) === "type") {
    const holder = path.slice(0, -1);
    const among = tagged(root, config, path);
    const chosen = among && optionOf(root, among, at(config, holder));
    if (chosen) return { ...span, path, schema: chosen };
  }
  const schema = schemaAt(root, config, path);
  return schema ? { ...span, path, schema } : null;
}
