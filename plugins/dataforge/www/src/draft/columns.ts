/** Columns of each node of a pipeline. */

import type { Columns, JsonObject } from "./types";
import { isObject, under } from "./json/value";

interface PreviewedStep {
  readonly type: string;
  readonly columns: Readonly<Record<string, string>>;
}

/** Columns by pointer from the `steps` of a preview: the sources come first, then the transforms in order. */
export function columnsOfPreview(config: JsonObject | null, steps: readonly PreviewedStep[]): Columns {
  const named = isObject(config?.sources) ? Object.keys(config.sources).map((name) => under("/sources", name)) : [];
  const sources = isObject(config?.source) ? ["/source"] : named;
  const read = steps.slice(0, sources.length).map((step, index) => [sources[index] as string, step.columns] as const);
  const done = steps.slice(sources.length).map((step, index) => [`/transforms/${index}`, step.columns] as const);
  return Object.fromEntries([...read, ...done]);
}
