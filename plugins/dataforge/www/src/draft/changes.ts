/** The difference of two configs, field by field, of which any part can be taken over. */

import type { Json, JsonObject } from "./types";
import { align } from "./json/align";
import { isList, isObject, objectOf, same, under } from "./json/value";

export interface Change {
  readonly id: string;
  readonly op: "add" | "remove" | "change" | "move";
  /** Where the value stands: after the change for what is added or moved, else before it. */
  readonly pointer: string;
  /** Of a move: where it stood. */
  readonly from?: string;
  readonly before?: Json;
  readonly after?: Json;
}

/** A config of which some parts are undecided. */
type Draft =
  | { readonly kind: "same"; readonly value: Json }
  | { readonly kind: "change"; readonly change: Change; readonly before?: Json; readonly after?: Json }
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, Draft])[] }
  | { readonly kind: "list"; readonly items: readonly Draft[] };

export interface Comparison {
  readonly changes: readonly Change[];
  /** The config with these changes made and the others not. */
  readonly result: (accepted: ReadonlySet<string>) => JsonObject;
}

/** Compare two configs. A component of another `type` is one change, not one for each of its keys. */
export function compare(before: JsonObject, after: JsonObject): Comparison {
  const changes: Change[] = [];
  const draft = objectDraft(before, after, "", "", changes);
  const result = (accepted: ReadonlySet<string>): JsonObject => {
    const value = resolve(draft, accepted);
    return isObject(value) ? value : {};
  };
  return { changes, result };
}

function draftOf(before: Json, after: Json, from: string, to: string, found: Change[]): Draft {
  if (same(before, after)) return { kind: "same", value: before };
  if (isObject(before) && isObject(after) && before.type === after.type)
    return objectDraft(before, after, from, to, found);
  if (isList(before) && isList(after)) return listDraft(before, after, from, to, found);
  return noted(found, { id: `change ${to}`, op: "change", pointer: to, before, after });
}

function objectDraft(before: JsonObject, after: JsonObject, from: string, to: string, found: Change[]): Draft {
  const order = Object.keys(before);
  let previous = -1;
  for (const key of Object.keys(after)) {
    if (!Object.hasOwn(before, key)) order.splice(previous + 1, 0, key);
    previous = Math.max(previous, order.indexOf(key));
  }
  const entries = order.map((key): [string, Draft] => {
    const [old, now] = [under(from, key), under(to, key)];
    if (!Object.hasOwn(after, key)) return [key, removed(found, old, before[key] ?? null)];
    if (!Object.hasOwn(before, key)) return [key, added(found, now, after[key] ?? null)];
    return [key, draftOf(before[key] ?? null, after[key] ?? null, old, now, found)];
  });
  return { kind: "object", entries };
}

function listDraft(before: readonly Json[], after: readonly Json[], from: string, to: string, found: Change[]): Draft {
  const paired = align(before, after);
  const gone = paired.flatMap(([i, j]) => (i !== null && j === null ? [i] : []));
  const moves = new Map<string, Change>();
  for (const [i, j] of paired) {
    if (i !== null || j === null) continue;
    const at = gone.findIndex((old) => same(before[old], after[j]));
    if (at < 0) continue;
    const old = gone.splice(at, 1)[0] as number;
    const value = after[j] ?? null;
    const change: Change = {
      id: `move ${under(to, j)}`,
      op: "move",
      pointer: under(to, j),
      from: under(from, old),
      before: value,
      after: value,
    };
    moves.set(`old ${old}`, change).set(`new ${j}`, change);
  }
  const items = paired.map(([i, j]): Draft => {
    if (i !== null && j !== null)
      return draftOf(before[i] ?? null, after[j] ?? null, under(from, i), under(to, j), found);
    const value = (i !== null ? before[i] : after[j ?? 0]) ?? null;
    const move = moves.get(i !== null ? `old ${i}` : `new ${j}`);
    if (move) {
      if (!found.includes(move)) found.push(move);
      return i !== null
        ? { kind: "change", change: move, before: value }
        : { kind: "change", change: move, after: value };
    }
    return i !== null ? removed(found, under(from, i), value) : added(found, under(to, j ?? 0), value);
  });
  return { kind: "list", items };
}

const noted = (found: Change[], change: Change): Draft => {
  found.push(change);
  return { kind: "change", change, before: change.before, after: change.after };
};
const removed = (found: Change[], pointer: string, before: Json): Draft =>
  noted(found, { id: `remove ${pointer}`, op: "remove", pointer, before });
const added = (found: Change[], pointer: string, after: Json): Draft =>
  noted(found, { id: `add ${pointer}`, op: "add", pointer, after });

/** The value of a draft; undefined where nothing stands. */
function resolve(draft: Draft, accepted: ReadonlySet<string>): Json | undefined {
  if (draft.kind === "same") return draft.value;
  if (draft.kind === "change") return accepted.has(draft.change.id) ? draft.after : draft.before;
  if (draft.kind === "list") {
    return draft.items.flatMap((item) => {
      const value = resolve(item, accepted);
      return value === undefined ? [] : [value];
    });
  }
  return objectOf(
    draft.entries.flatMap(([key, entry]): [string, Json][] => {
      const value = resolve(entry, accepted);
      return value === undefined ? [] : [[key, value]];
    }),
  );
}
