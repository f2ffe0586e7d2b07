import type { Forms } from "../../api/client";
import type { JobEvent } from "../../api/events";
import type { JobKind, Result } from "./shapes";

export interface Job {
  id: string;
  kind: JobKind;
  state: Forms["JobForm"]["state"];
  /** The model's words so far. */
  words: string;
  /** When it began, by this browser's clock. */
  since: number;
  /** The line to the server stands. */
  online: boolean;
  result: Result | null;
  error: Error | null;
}

export const isAtWork = (job: Job | null) => job !== null && (job.state === "queued" || job.state === "running");

export function begun(told: Forms["JobForm"]): Job {
  const since = Math.min(Date.now(), Date.parse(told.created_at));
  const base = { id: told.id, kind: told.kind, words: "", since, online: true, result: null, error: null };
  return { ...base, state: told.state === "running" ? "running" : "queued" };
}

/** What a job is after an event. */
export function after(job: Job, { kind, data }: JobEvent): Job {
  switch (kind) {
    case "text":
      return { ...job, words: job.words + String(data.text ?? "") };
    case "queued":
    case "running":
      return { ...job, state: kind };
    case "done":
    case "failed":
    case "cancelled":
    case "interrupted":
      return { ...job, state: kind, result: data as Result };
    default:
      return job;
  }
}
