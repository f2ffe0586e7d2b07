import type { Forms } from "../../api/client";

export type Listed = Forms["ListedPipeline"];
export type Broken = Forms["InvalidFile"];
export type Show = "all" | "valid" | "findings" | "invalid" | "failed" | "paused";
export type Sort = "name" | "run" | "age";

/** What of the list is wanted; it stands in the page's address. */
export interface Wanted {
  search: string;
  show: Show;
  sort: Sort;
}

const shows: Record<Show, (one: Listed) => boolean> = {
  all: () => true,
  valid: (one) => one.valid,
  findings: (one) => one.findings.length > 0,
  invalid: (one) => !one.valid || !!one.import_error,
  failed: (one) => one.last_run?.state === "failed",
  paused: (one) => one.paused === true,
};

const startOf = (one: Listed) => one.last_run?.start ?? "";
const ageOf = (one: Listed) => one.freshness_seconds ?? Number.POSITIVE_INFINITY;
const byName = (one: Listed, other: Listed) => one.dag_id.localeCompare(other.dag_id);

const sorts: Record<Sort, (one: Listed, other: Listed) => number> = {
  name: byName,
  run: (one, other) => startOf(other).localeCompare(startOf(one)) || byName(one, other),
  age: (one, other) => (ageOf(one) === ageOf(other) ? byName(one, other) : ageOf(other) - ageOf(one)),
};

/** Return what a page's address asks for; whatever it can't mean is as if it were not there. */
export function wantedOf(query: URLSearchParams): Wanted {
  const [show, sort] = [query.get("show") ?? "", query.get("sort") ?? ""];
  return {
    search: query.get("search") ?? "",
    show: show in shows ? (show as Show) : "all",
    sort: sort in sorts ? (sort as Sort) : "name",
  };
}

/** Return the pipelines that are wanted, in the order that is wanted: each word has to be found in one. */
export function matching(pipelines: Listed[], { search, show, sort }: Wanted): Listed[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = pipelines.filter((one) => shows[show](one) && words.every((word) => textOf(one).includes(word)));
  return found.sort(sorts[sort]);
}

/** Return the files that give no pipeline, as far as they are wanted: they have findings, and are invalid. */
export function matchingFiles(files: Broken[], { search, show }: Wanted): Broken[] {
  if (!["all", "findings", "invalid"].includes(show)) return [];
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return files.filter((one) => {
    const text = [one.file, ...one.findings.flatMap(({ code, message }) => [code, message])].join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const textOf = (one: Listed) =>
  [one.dag_id, one.file, one.description, one.owner, ...one.tags, ...one.sources, ...one.destinations]
    .join("\n")
    .toLowerCase();
