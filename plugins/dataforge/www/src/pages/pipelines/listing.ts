import type { Forms } from "../../api/client";

export type Listed = Forms["ListedPipeline"];
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

const textOf = (one: Listed) =>
  [one.dag_id, one.file, one.description, one.owner, ...one.tags, ...one.sources, ...one.destinations]
    .join("\n")
    .toLowerCase();
