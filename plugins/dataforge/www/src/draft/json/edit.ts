/** Edits of a JSON text that leave the rest as it was: order, line breaks, spaces. */

import type { Json } from "../types";
import { align } from "./align";
import { memberOf, parse, valueOf, type Node } from "./tree";
import { isList, isObject, pathOf, same, withInserted, withKey, withMoved, withValue } from "./value";

const WIDTH = 100;

/** Return the text of `value`, made of `text` by as few changes as it takes. A text that is no JSON is laid out anew. */
export function retext(text: string, value: Json): string {
  let root: Node | undefined;
  try {
    JSON.parse(text);
    root = parse(text);
  } catch {
    root = undefined;
  }
  const layout = new Layout(text);
  if (!root) return `${layout.fresh(value, 0, true)}\n`;
  return text.slice(0, root.start) + layout.changed(root, value, 0) + text.slice(root.end);
}

const edited =
  <Rest extends unknown[]>(change: (value: Json, path: string[], ...rest: Rest) => Json) =>
  (text: string, pointer: string, ...rest: Rest): string => {
    const value = JSON.parse(text) as Json;
    return retext(text, change(value, pathOf(pointer), ...rest));
  };

/** Edits by JSON pointer. All want a text that is JSON, and throw SyntaxError otherwise. */
export const edits = {
  /** Put a value at a place; what is missing on the way is made as objects. */
  set: edited((value, path, next: Json) => withValue(value, path, next)),
  /** Take out a key or an item. */
  remove: edited((value, path) => withValue(value, path, undefined)),
  /** Put an item into the list at a place, before `index`. */
  insert: edited((value, path, index: number, item: Json) => withInserted(value, path, index, item)),
  /** Move an item of the list at a place. */
  move: edited((value, path, from: number, to: number) => withMoved(value, path, from, to)),
  /** Give a key another name. */
  rename: edited((value, path, name: string) => withKey(value, path, name)),
};

/** One member or item of a container that is written anew: what stands before it, and its text at an indent. */
interface Part {
  readonly lead: string | null;
  readonly text: (indent: number) => string;
}

class Layout {
  private readonly newline: string;
  private readonly unit: string;

  constructor(private readonly text: string) {
    this.newline = text.includes("\r\n") ? "\r\n" : "\n";
    this.unit = /^[{[][^\S\n]*\r?\n([ \t]+)\S/.exec(text.trimStart())?.[1] ?? "  ";
  }

  /** The text of a value on one line if it fits, else with a line for each part. */
  fresh(value: Json, depth: number, open = false, used = 0): string {
    const line = oneLine(value);
    const empty = line === "{}" || line === "[]";
    if (empty || typeof value !== "object" || value === null) return line;
    if (!open && depth * this.unit.length + used + line.length <= WIDTH) return line;
    const parts = isList(value)
      ? value.map((item) => this.fresh(item, depth + 1))
      : Object.entries(value).map(([key, each]) => this.member(key, each, depth + 1));
    const [start, end] = isList(value) ? "[]" : "{}";
    return `${start}${this.line(depth + 1)}${parts.join(`,${this.line(depth + 1)}`)}${this.line(depth)}${end}`;
  }

  /** The text of a value that takes the place of a node, of which it keeps what is equal. */
  changed(node: Node, value: Json, depth: number): string {
    if (same(valueOf(node), value)) return this.of(node);
    if (node.kind === "object" && isObject(value)) return this.container(node, this.members(node, value), depth);
    if (node.kind === "list" && isList(value)) return this.container(node, this.items(node, value), depth);
    return this.fresh(value, depth);
  }

  private members(node: Node, value: Readonly<Record<string, Json>>): Part[] {
    const lead = this.leads(
      node,
      node.members.map((each) => [each.keyStart, each.value.end]),
    );
    const gone = node.members.filter(({ key }) => !Object.hasOwn(value, key));
    const kept = node.members.filter((each) => Object.hasOwn(value, each.key) && memberOf(node, each.key) === each);
    const parts = new Map<string, Part>();
    for (const each of kept) {
      const key = this.text.slice(each.keyStart, each.value.start);
      const text = (at: number): string => key + this.changed(each.value, value[each.key] ?? null, at);
      parts.set(each.key, { lead: lead.get(each.keyStart) ?? null, text });
    }
    const order = kept.map(({ key }) => key);
    let previous = -1;
    for (const [key, each] of Object.entries(value)) {
      if (!parts.has(key)) {
        const renamed = gone.findIndex((old) => same(valueOf(old.value), each));
        const [old] = renamed < 0 ? [] : gone.splice(renamed, 1);
        const text = (at: number): string =>
          old ? `${JSON.stringify(key)}: ${this.of(old.value)}` : this.member(key, each, at);
        parts.set(key, { lead: old ? (lead.get(old.keyStart) ?? null) : null, text });
        order.splice(previous + 1, 0, key);
      }
      previous = Math.max(previous, order.indexOf(key));
    }
    return order.map((key) => parts.get(key) as Part);
  }

  private items(node: Node, value: readonly Json[]): Part[] {
    const lead = this.leads(
      node,
      node.items.map((each) => [each.start, each.end]),
    );
    const before = node.items.map(valueOf);
    const paired = align(before, value);
    const moved = paired.flatMap(([one, other]) => (one !== null && other === null ? [one] : []));
    return paired.flatMap(([one, other]): Part[] => {
      if (other === null) return [];
      const item = value[other] ?? null;
      let old = one === null ? undefined : node.items[one];
      if (!old) {
        const from = moved.findIndex((each) => same(before[each], item));
        if (from >= 0) old = node.items[moved.splice(from, 1)[0] as number];
      }
      const kept = old;
      if (!kept) return [{ lead: null, text: (at) => this.fresh(item, at) }];
      return [
        { lead: one === null ? null : (lead.get(kept.start) ?? null), text: (at) => this.changed(kept, item, at) },
      ];
    });
  }

  /** The blanks before each part, by its offset; of the first part those after the bracket. */
  private leads(node: Node, spans: (readonly [number, number])[]): Map<number, string> {
    let end = node.start + 1;
    return new Map(
      spans.map(([start, until]) => {
        const blanks = this.text.slice(end, start).replace(",", "");
        end = until;
        return [start, blanks];
      }),
    );
  }

  private container(node: Node, parts: readonly Part[], depth: number): string {
    const [start, end] = node.kind === "list" ? "[]" : "{}";
    if (!parts.length) return `${start}${end}`;
    const last = node.members.at(-1)?.value.end ?? node.items.at(-1)?.end;
    const tail = last === undefined ? "" : this.text.slice(last, node.end - 1);
    if (last === undefined || !tail.includes("\n")) {
      const inline = parts.map(({ lead, text }, index) => (index ? `,${lead || " "}` : tail) + text(depth));
      const line = `${start}${inline.join("")}${tail}${end}`;
      const fits = this.column(node.start) + line.length <= WIDTH || this.column(node.end) > WIDTH;
      if (fits && !line.includes("\n")) return line;
      const lines = parts.map(({ text }) => text(depth + 1)).join(`,${this.line(depth + 1)}`);
      return `${start}${this.line(depth + 1)}${lines}${this.line(depth)}${end}`;
    }
    const usual = this.usualLead(node, depth);
    const lines = parts.map(({ lead, text }, index) => {
      const blanks =
        lead === null || (index > 0 && lead === "") || (index === 0 && lead.split("\n").length > 2) ? usual : lead;
      return (index ? "," : "") + blanks + text(depth + 1);
    });
    return start + lines.join("") + tail + end;
  }

  /** The line break and indent that the parts of a container with lines of its own have. */
  private usualLead(node: Node, depth: number): string {
    const first = node.members[0]?.keyStart ?? node.items[0]?.start ?? node.start + 1;
    const blanks = this.text.slice(node.start + 1, first);
    return blanks.includes("\n") ? this.newline + blanks.slice(blanks.lastIndexOf("\n") + 1) : this.line(depth + 1);
  }

  private member(key: string, value: Json, depth: number): string {
    const name = `${JSON.stringify(key)}: `;
    return name + this.fresh(value, depth, false, name.length);
  }

  private of(node: Node): string {
    return this.text.slice(node.start, node.end);
  }

  private line(depth: number): string {
    return this.newline + this.unit.repeat(depth);
  }

  private column(offset: number): number {
    return offset - (this.text.lastIndexOf("\n", offset - 1) + 1);
  }
}

/** A value on one line. */
export function oneLine(value: Json): string {
  if (isList(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (isObject(value)) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${JSON.stringify(key)}: ${oneLine(each)}`)
      .join(", ")}}`;
  }
  return JSON.stringify(value);
}
