import type { Forms } from "../../api/client";
import type { Json, JsonObject } from "../../draft";
import { graphOf } from "../../draft/graph";

export type Step = Forms["StepForm"];
type Row = Record<string, Json>;

/** What a step did to the rows and values that it read. */
export interface Effect {
  /** Rows more (or less) than before. */
  rows: number;
  /** Values of the shown rows that are new or not as before, as "row column". */
  changed: ReadonlySet<string>;
  /** How many of them stand in columns that were there before. */
  altered: number;
}

/** Steps that leave rows in their place, so that shown rows can be held against those before. */
const IN_PLACE = new Set(["cast", "rename", "derive", "mask", "fill_null", "select", "drop"]);

/** What each step of a preview did; null for sources. The sources come first, then the transforms in order. */
export function effectsOf(config: JsonObject, steps: readonly Step[]): (Effect | null)[] {
  const nodes = graphOf(config);
  const sources = nodes.filter(({ pointer }) => pointer.startsWith("/source")).map(({ pointer }) => pointer);
  const pointers = steps.map((_, at) => sources[at] ?? `/transforms/${at - sources.length}`);
  return steps.map((step, at) => {
    const read = nodes.find(({ pointer }) => pointer === pointers[at])?.reads[0];
    const before = read === undefined ? undefined : steps[pointers.indexOf(read)];
    if (!before) return null;
    const fresh = step.rows.flatMap((_, row) => step.added.map((column) => `${row} ${column}`));
    const other = alteredValues(step, before);
    return { rows: step.row_count - before.row_count, changed: new Set([...fresh, ...other]), altered: other.length };
  });
}

function alteredValues(step: Step, before: Step): string[] {
  if (!IN_PLACE.has(step.type) || step.row_count !== before.row_count) return [];
  const kept = Object.keys(step.columns).filter((column) => column in before.columns);
  return (step.rows as Row[]).flatMap((row, at) => {
    const old = before.rows[at] as Row | undefined;
    return kept
      .filter((column) => old && JSON.stringify(row[column]) !== JSON.stringify(old[column]))
      .map((column) => `${at} ${column}`);
  });
}
