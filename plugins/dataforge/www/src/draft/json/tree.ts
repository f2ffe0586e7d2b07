/** A JSON text as a tree with the offset of everything. It reads broken texts too, as far as they make sense. */

import type { Json } from "../types";
import { objectOf, type Path } from "./value";

export interface Member {
  readonly key: string;
  /** Where the key begins, its quote included, and where it ends. */
  readonly keyStart: number;
  readonly keyEnd: number;
  /** Offset of the colon; -1 when it is missing. */
  readonly colon: number;
  readonly value: Node;
}

export interface Node {
  readonly kind: "object" | "list" | "text" | "word" | "missing";
  readonly start: number;
  readonly end: number;
  readonly members: readonly Member[];
  readonly items: readonly Node[];
  /** Of texts, numbers, true, false and null; undefined where it is none of these. */
  readonly scalar?: Json;
  /** Whether the closing quote or bracket is there. */
  readonly closed: boolean;
}

const MAX_DEPTH = 64;

/** Read a text. */
export function parse(text: string): Node {
  return new Reader(text).value(0);
}

/** The value that a node stands for; missing and misspelt ones are null. */
export function valueOf(node: Node): Json {
  if (node.kind === "object") return objectOf(node.members.map(({ key, value }) => [key, valueOf(value)]));
  if (node.kind === "list") return node.items.map(valueOf);
  return node.scalar ?? null;
}

/** The member of an object; of a key given twice the last, as in JSON.parse. */
export const memberOf = (node: Node, key: string): Member | undefined =>
  node.members.filter((member) => member.key === key).at(-1);

/** The node at a path, and the member that holds it if that is an object's. */
export function find(root: Node, path: Path): { node: Node; member?: Member } | null {
  let found: { node: Node; member?: Member } = { node: root };
  for (const token of path) {
    if (found.node.kind === "list") {
      const node = /^\d+$/.test(token) ? found.node.items[Number(token)] : undefined;
      if (!node) return null;
      found = { node };
    } else {
      const member = memberOf(found.node, token);
      if (!member) return null;
      found = { node: member.value, member };
    }
  }
  return found;
}

export interface Place {
  /** Path of the innermost value at the offset; for a key, of its value. */
  readonly path: Path;
  readonly node: Node;
  /** The key in which the offset stands. */
  readonly key?: Member;
}

/** What stands at an offset. */
export function placeAt(root: Node, offset: number): Place {
  let node = root;
  const path: string[] = [];
  for (;;) {
    const [token, next] = childAt(node, offset);
    if (!next) return { path, node };
    path.push(token);
    if ("key" in next) {
      if (offset <= next.keyEnd) return { path, node: next.value, key: next };
      node = next.value;
    } else node = next;
  }
}

function childAt(node: Node, offset: number): [string, (Member | Node)?] {
  const member = node.members.find(
    (each) => each.keyStart <= offset && offset <= Math.max(each.keyEnd, each.value.end),
  );
  if (member) return [member.key, member];
  const index = node.items.findIndex((each) => each.start <= offset && offset <= each.end);
  return [String(index), node.items[index]];
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {
    if (text.startsWith("\ufeff")) this.at = 1;
  }

  value(depth: number): Node {
    const before = this.at;
    const char = this.peek();
    const start = this.at;
    if (depth >= MAX_DEPTH && (char === "{" || char === "[")) {
      this.at = this.text.length;
      return node("missing", before, before);
    }
    if (char === "{") return this.object(depth);
    if (char === "[") return this.list(depth);
    if (char === '"') return this.string();
    const word = /[^\s,:{}[\]"]+/y;
    word.lastIndex = start;
    const match = word.exec(this.text);
    if (!match) {
      this.at = before;
      return node("missing", before, before);
    }
    this.at = word.lastIndex;
    return { ...node("word", start, this.at), scalar: scalar(match[0]), closed: true };
  }

  private object(depth: number): Node {
    const start = this.at++;
    const members: Member[] = [];
    for (;;) {
      const char = this.peek();
      if (char === "" || char === "]") return { ...node("object", start, this.at), members };
      if (char === "}") return { ...node("object", start, ++this.at), members, closed: true };
      if (char === '"' || /[^\s,:{}[\]"]/.test(char)) members.push(this.member(depth));
      else this.at++;
    }
  }

  private member(depth: number): Member {
    const key = this.value(depth);
    const name = typeof key.scalar === "string" ? key.scalar : this.text.slice(key.start, key.end);
    const end = this.at;
    const colon = this.peek() === ":" ? this.at++ : -1;
    if (colon < 0) this.at = end;
    const value = colon < 0 ? node("missing", end, end) : this.value(depth + 1);
    return { key: name, keyStart: key.start, keyEnd: key.end, colon, value };
  }

  private list(depth: number): Node {
    const start = this.at++;
    const items: Node[] = [];
    for (;;) {
      const char = this.peek();
      if (char === "" || char === "}") return { ...node("list", start, this.at), items };
      if (char === "]") return { ...node("list", start, ++this.at), items, closed: true };
      if (char === "," || char === ":") this.at++;
      else items.push(this.value(depth + 1));
    }
  }

  private string(): Node {
    const start = this.at;
    const whole = /"(?:[^"\\\n]|\\.)*"?/y;
    whole.lastIndex = start;
    const raw = whole.exec(this.text)?.[0] ?? '"';
    this.at = start + raw.length;
    const read = scalar(raw);
    const closed = raw.length > 1 && raw.endsWith('"') && read !== undefined;
    return { ...node("text", start, this.at), scalar: closed ? read : raw.slice(1), closed };
  }

  private peek(): string {
    while (/\s/.test(this.text.charAt(this.at))) this.at++;
    return this.text.charAt(this.at);
  }
}

const node = (kind: Node["kind"], start: number, end: number): Node => ({
  kind,
  start,
  end,
  members: [],
  items: [],
  closed: false,
});

function scalar(raw: string): Json | undefined {
  try {
    return JSON.parse(raw) as Json;
  } catch {
    return undefined;
  }
}
