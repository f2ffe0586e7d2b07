import type { Json, JsonObject, Pinned } from "../../draft";
import type { KeptDraft } from "./shapes";

/** The config in force that a draft was made from; its digest is "" when there is none yet. */
export interface Base {
  readonly digest: string;
  readonly text: string;
  /** Whether this person may change it; not known of one that is not there. */
  readonly mayEdit?: boolean;
}

/** A text that a model or a fixer would put in the draft's place. */
export interface Proposal {
  readonly text: string;
  readonly from: "generate" | "refine" | "repair" | "upload";
}

/** What is kept on the server. */
export interface Content {
  readonly name: string;
  readonly file: string;
  readonly base: string;
  readonly text: string;
  readonly chat: string;
  readonly pinned: Pinned;
}

export interface Draft {
  /** Of the server's copy; null before there is one. */
  readonly id: string | null;
  readonly etag: string | null;
  readonly kept: Content | null;
  readonly file: string;
  readonly base: Base;
  readonly text: string;
  readonly chat: string;
  readonly pinned: Pinned;
  readonly past: readonly string[];
  readonly future: readonly string[];
  /** When the text was last typed, so that one undo takes back what was typed in one go. */
  readonly typedAt: number;
  readonly proposal: Proposal | null;
}

export type Action =
  | { type: "opened"; draft: Draft }
  | { type: "typed"; text: string; at: number }
  | { type: "replaced"; text: string }
  | { type: "undo" }
  | { type: "redo" }
  | { type: "pinned"; pointer: string; value: Json | undefined }
  | { type: "proposed"; proposal: Proposal }
  | { type: "decided"; text: string | null }
  | { type: "filed"; file: string }
  | { type: "chatted"; chat: string }
  | { type: "rebased"; base: Base; text?: string }
  | { type: "saved"; id: string; etag: string | null; content: Content }
  | { type: "forgotten" };

const STEPS = 200;
const ONE_GO_MS = 1_000;

export const EMPTY: Draft = {
  id: null,
  etag: null,
  kept: null,
  file: "",
  base: { digest: "", text: "" },
  text: "",
  chat: "",
  pinned: {},
  past: [],
  future: [],
  typedAt: 0,
  proposal: null,
};

/** A draft that begins with a text: that of a config in force, of an example, or none. */
export function started(text: string, file = "", base: Base = EMPTY.base): Draft {
  return { ...EMPTY, text, file, base };
}

/** A draft as the server kept it; `base` is the config that is in force now. */
export function restored(kept: KeptDraft, etag: string | null, base: Base): Draft {
  const draft = started(kept.text, kept.file, { ...base, digest: kept.base });
  const whole = { ...draft, id: kept.id, etag, chat: kept.chat, pinned: kept.pinned };
  return { ...whole, kept: contentOf(whole) };
}

export function contentOf(draft: Draft): Content {
  const { file, base, text, chat, pinned } = draft;
  return { name: nameOf(draft), file, base: base.digest, text, chat, pinned };
}

/** Whether the server's copy is not what is seen here; a text as it is in force needs no copy. */
export function isUnsaved(draft: Draft): boolean {
  if (draft.kept) return JSON.stringify(contentOf(draft)) !== JSON.stringify(draft.kept);
  return draft.text !== draft.base.text || Object.keys(draft.pinned).length > 0;
}

export function nameOf({ file, text }: Draft): string {
  const named = /"dag_id"\s*:\s*"([^"\\]{1,200})"/.exec(text)?.[1];
  return file || named || "new";
}

export function reduce(draft: Draft, action: Action): Draft {
  switch (action.type) {
    case "opened":
      return action.draft;
    case "typed":
      return typed(draft, action.text, action.at);
    case "replaced":
      return withText(draft, action.text);
    case "undo":
      return moved(draft, draft.past, draft.future, (past, future) => ({ past, future }));
    case "redo":
      return moved(draft, draft.future, draft.past, (future, past) => ({ past, future }));
    case "pinned":
      return { ...draft, pinned: pinned(draft.pinned, action.pointer, action.value) };
    case "proposed":
      return draft.text.trim() === "" ? withText(draft, action.proposal.text) : { ...draft, proposal: action.proposal };
    case "decided":
      return { ...withText(draft, action.text ?? draft.text), proposal: null };
    case "filed":
      return { ...draft, file: action.file };
    case "chatted":
      return { ...draft, chat: action.chat };
    case "rebased":
      return { ...withText(draft, action.text ?? draft.text), base: action.base };
    case "saved":
      return { ...draft, id: action.id, etag: action.etag, kept: action.content };
    case "forgotten":
      return { ...draft, id: null, etag: null, kept: null };
  }
}

function typed(draft: Draft, text: string, at: number): Draft {
  if (text === draft.text) return draft;
  const goesOn = at - draft.typedAt < ONE_GO_MS && draft.past.length > 0 && draft.future.length === 0;
  return goesOn ? { ...draft, text, typedAt: at } : { ...withText(draft, text), typedAt: at };
}

function withText(draft: Draft, text: string): Draft {
  if (text === draft.text) return draft;
  return { ...draft, text, past: [...draft.past, draft.text].slice(-STEPS), future: [], typedAt: 0 };
}

/** Go to the newest text of one pile, and put the present one on the other. */
function moved(
  draft: Draft,
  from: readonly string[],
  to: readonly string[],
  piles: (from: string[], to: string[]) => Pick<Draft, "past" | "future">,
): Draft {
  const text = from.at(-1);
  if (text === undefined) return draft;
  return { ...draft, ...piles(from.slice(0, -1), [...to, draft.text]), text, typedAt: 0 };
}

function pinned(all: Pinned, pointer: string, value: Json | undefined): Pinned {
  const rest: Record<string, Json> = { ...all };
  delete rest[pointer];
  return value === undefined ? rest : { ...rest, [pointer]: value };
}

/** Return the text of a config laid out as we lay out examples. */
export const laidOut = (config: JsonObject): string => `${JSON.stringify(config, null, 2)}\n`;

/** Return a value that a person wrote: JSON where it is JSON, else the words themselves. */
export function valueOf(written: string): Json {
  try {
    return JSON.parse(written) as Json;
  } catch {
    return written;
  }
}
