import { useState } from "react";
import { shared } from "../json/value";
import type { Json } from "../types";

/** A JSON value whose parts stay the very same objects while they are equal. */
export function useShared<T extends object | null>(value: T): T {
  const [seen, setSeen] = useState({ given: value, kept: value });
  if (seen.given === value) return seen.kept;
  const kept = shared(seen.kept as Json, value as unknown as Json) as T;
  setSeen({ given: value, kept });
  return kept;
}

/** A list whose equal items stay the very same objects, wherever they stand. */
export function useSharedItems<T extends object>(items: readonly T[]): readonly T[] {
  const [seen, setSeen] = useState({ given: items, kept: items });
  if (seen.given === items) return seen.kept;
  const old = new Map(seen.kept.map((item) => [JSON.stringify(item), item]));
  const kept = items.map((item) => old.get(JSON.stringify(item)) ?? item);
  setSeen({ given: items, kept });
  return kept;
}
