import type { Forms } from "../../api/client";
import type { Finding, Json, JsonObject } from "../../draft";

/** What the API's jobs, drafts and runs look like where its description leaves them open. */

export interface Change {
  op: "add" | "remove" | "replace";
  pointer: string;
  before: Json;
  after: Json;
}

/** One call of a model, as it left the machine. */
export interface Sent {
  task: string;
  model: string;
  connection?: string;
  provider?: string;
  cached?: boolean;
  messages?: { role: string; text: string }[];
  withheld?: { kind: string; placeholder: string; count: number }[];
  rows?: number;
  /** How many texts went to an embedding model. */
  texts?: number;
  prompt_tokens?: number;
  completion_tokens?: number;
  seconds?: number;
  cost?: number;
  /** Why no answer came. */
  failed?: string;
}

/** What came of a job: a draft, a repair, an answer or an explanation. */
export interface Result {
  status?: "valid" | "findings" | "answered" | "refused";
  answer?: string;
  config?: JsonObject | null;
  text?: string;
  findings?: Finding[];
  assumptions?: { pointer: string; value: Json; reason: string }[];
  questions?: { text: string; pointer: string; options: string[] }[];
  notes?: string[];
  examples?: string[];
  similar?: { dag_id: string; why: string }[];
  fixed?: { pointer: string; reason: string }[];
  trace?: { kind: string; note: string; model: string; usage?: { seconds: number } }[];
  sent?: Sent[];
  /** Of a job that failed. */
  code?: string;
  message?: string;
}

export type JobKind = "generate" | "refine" | "repair" | "explain";
export type Mode = "ask" | "plan" | "edit";

/** One upload: a file of samples, or the description of an API. */
export interface Upload {
  id: string;
  name: string;
  kind: string;
  bytes: number;
  rows: number | null;
  columns: { name: string; type: string; nulls?: number; examples?: Json[] }[];
  path: string;
  /** The other keys of the source that reads it; none for what is no source. */
  source: JsonObject;
}

/** A draft as the API keeps it. */
export interface KeptDraft {
  id: string;
  name: string;
  file: string;
  base: string;
  text: string;
  chat: string;
  pinned: JsonObject;
  updated_at?: string;
}

export interface Message {
  id: number;
  role: "user" | "assistant";
  text: string;
  details: { kind?: JobKind; result?: Result; attachments?: { id: string; name: string }[] };
  at: string;
}

export interface Chat {
  id: string;
  title: string;
  file: string;
  updated_at: string;
}

export type Status = Forms["StatusForm"];
export type Run = Forms["RunForm"];
export type Me = Forms["MeForm"];
