import type { components } from "./types";

/** The forms of the API's bodies and answers, made from its description. */
export type Forms = components["schemas"];
export type Finding = Forms["FindingForm"];

/** What the API said is wrong (RFC 9457); `more` has what only some problems tell, such as `findings` or `diff`. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly more: Record<string, unknown> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
    this.name = "ApiProblem";
  }

  get findings(): Finding[] {
    return (this.more.findings as Finding[] | undefined) ?? [];
  }
}

/** The server can't be reached. */
export class Offline extends Error {
  constructor() {
    super("the server can't be reached");
    this.name = "Offline";
  }
}

export interface Ask {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Sent as JSON; a FormData as it is. */
  body?: unknown;
  /** The digest that the file had when it was read: another one's change is not overwritten. */
  ifMatch?: string;
  /** Write only when there is no such file yet. */
  ifNew?: boolean;
  /** The same key again is answered as the first time and not done again: `newKey()`. */
  key?: string;
  accept?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Answer<T> {
  data: T;
  status: number;
  etag: string | null;
}

/** Return a key for one deliberate act of the user. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Ask the API, and return its data; ApiProblem or Offline when that fails. */
export async function api<T>(path: string, ask: Ask = {}): Promise<T> {
  return (await request<T>(path, ask)).data;
}

/** The same with status and ETag. */
export async function request<T>(path: string, ask: Ask = {}): Promise<Answer<T>> {
  const response = await send(path, ask);
  const json = response.headers.get("content-type")?.includes("json");
  const data = response.status === 204 ? undefined : json ? await response.json() : await response.text();
  return { data: data as T, status: response.status, etag: response.headers.get("etag") };
}

/** Return the raw response, for streams and downloads; it is one that succeeded. */
export async function send(path: string, ask: Ask = {}): Promise<Response> {
  const response = await reach(address(path), {
    method: ask.method ?? "GET",
    headers: headers(ask),
    body: ask.body === undefined || ask.body instanceof FormData ? (ask.body ?? null) : JSON.stringify(ask.body),
    credentials: "same-origin",
    signal: ask.signal ?? null,
  });
  if (response.ok) return response;
  throw await problem(response);
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Offline();
  }
}

/** Airflow may stand below a path: its page's base says so. */
const address = (path: string) => new URL(`dataforge/api/v1${path}`, document.baseURI).href;

function headers(ask: Ask): Record<string, string> {
  const json = ask.body !== undefined && !(ask.body instanceof FormData);
  return {
    Accept: ask.accept ?? "application/json",
    "X-DataForge-Request": "1",
    ...(json && { "Content-Type": "application/json" }),
    ...(ask.ifMatch !== undefined && { "If-Match": quoted(ask.ifMatch) }),
    ...(ask.ifNew && { "If-None-Match": "*" }),
    ...(ask.key && { "Idempotency-Key": ask.key }),
    ...ask.headers,
  };
}

const quoted = (digest: string) => (digest.includes('"') ? digest : `"${digest}"`);

async function problem(response: Response): Promise<ApiProblem> {
  const after = Number(response.headers.get("retry-after")) || null;
  try {
    const { status, code, detail, type: _, title, ...more } = await response.json();
    const words = typeof detail === "string" ? detail : (title ?? response.statusText);
    return new ApiProblem(status ?? response.status, code ?? `http-${response.status}`, words, more, after);
  } catch {
    return new ApiProblem(response.status, `http-${response.status}`, response.statusText, {}, after);
  }
}
