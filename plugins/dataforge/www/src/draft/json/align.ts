/** Which item of one list is which of another. */

import type { Json } from "../types";
import { isList, isObject, same } from "./value";

/** Indexes of an old and a new item that are one and the same; null where one side has none. */
export type Pair = readonly [number | null, number | null];

const MAX_CELLS = 4_000_000;

/** How much two items have in common, 0 to 1; 0 for those that can't be versions of each other. */
export function likeness(one: Json | undefined, other: Json | undefined): number {
  if (same(one, other)) return 1;
  if (isList(one) && isList(other)) return 0.1;
  if (!isObject(one) || !isObject(other) || one.type !== other.type) return 0;
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  keys.delete("type");
  const equal = [...keys].filter((key) => same(one[key], other[key])).length;
  const named = one.name !== undefined && same(one.name, other.name) ? 0.3 : 0;
  const base = one.type === undefined ? 0.05 : 0.2;
  return Math.min(0.99, base + named + (keys.size ? (0.5 * equal) / keys.size : 0));
}

/** Pairs in order: equal items first of all, then those of one type with most in common; others are old or new. */
export function align(before: readonly Json[], after: readonly Json[]): Pair[] {
  let head = 0;
  while (head < before.length && head < after.length && same(before[head], after[head])) head++;
  let tail = 0;
  const most = Math.min(before.length, after.length) - head;
  while (tail < most && same(before[before.length - 1 - tail], after[after.length - 1 - tail])) tail++;
  const middle = pairs(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  const both = (count: number, one: number, other: number): Pair[] =>
    Array.from({ length: count }, (_, index) => [one + index, other + index] as const);
  return [
    ...both(head, 0, 0),
    ...middle.map(([one, other]): Pair => [one === null ? null : one + head, other === null ? null : other + head]),
    ...both(tail, before.length - tail, after.length - tail),
  ];
}

function pairs(before: readonly Json[], after: readonly Json[]): Pair[] {
  const [rows, columns] = [before.length, after.length];
  if (rows * columns > MAX_CELLS)
    return [...before.map((_, i): Pair => [i, null]), ...after.map((_, j): Pair => [null, j])];
  const width = columns + 1;
  const best = new Float64Array((rows + 1) * width);
  const cell = (i: number, j: number): number => best[i * width + j] ?? 0;
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      const alike = likeness(before[i], after[j]);
      const paired = alike > 0 ? alike + cell(i + 1, j + 1) : 0;
      best[i * width + j] = Math.max(paired, cell(i + 1, j), cell(i, j + 1));
    }
  }
  const found: Pair[] = [];
  let [i, j] = [0, 0];
  while (i < rows || j < columns) {
    if (j >= columns || (i < rows && cell(i, j) === cell(i + 1, j))) found.push([i++, null]);
    else if (i >= rows || cell(i, j) === cell(i, j + 1)) found.push([null, j++]);
    else found.push([i++, j++]);
  }
  return found;
}
