import { ApiProblem, Offline, send } from "./client";

/** One event of a job; `kind` is queued, running, text …, or one of `ENDS`. */
export interface JobEvent {
  number: number;
  kind: string;
  data: Record<string, unknown>;
}

export const ENDS = new Set(["done", "failed", "cancelled", "interrupted"]);

/** The server gives a sign of life every 15 seconds. */
const SILENCE_MS = 40_000;
const PAUSE_MS = 2_000;

/**
 * Tell every event of a job once, to its end. A line that breaks or falls silent is taken up again after the last
 * event seen; `onLine` tells whether it stands. Rejects when the job is unknown or forbidden, or `signal` aborts.
 */
export async function follow(
  job: string,
  onEvent: (event: JobEvent) => void,
  { signal, after = 0, onLine }: { signal?: AbortSignal; after?: number; onLine?: (stands: boolean) => void } = {},
): Promise<void> {
  let last = after;
  let ended = false;
  const told = (event: JobEvent) => {
    if (event.number <= last) return;
    last = event.number;
    ended = ENDS.has(event.kind);
    onEvent(event);
  };
  while (!ended) {
    try {
      if (await listen(job, last, told, () => onLine?.(true), signal)) return;
    } catch (error) {
      const lost = error instanceof Offline || (error instanceof ApiProblem && error.status >= 500) || isBroken(error);
      if (signal?.aborted || !lost) throw error;
    }
    if (ended) return;
    onLine?.(false);
    await pause(PAUSE_MS, signal);
  }
}

/** Read one stream to its end; true when the server says that nothing is left. */
async function listen(
  job: string,
  last: number,
  told: (event: JobEvent) => void,
  stands: () => void,
  signal?: AbortSignal,
): Promise<boolean> {
  const silence = new AbortController();
  const headers: Record<string, string> = last ? { "Last-Event-ID": String(last) } : {};
  const either = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const path = `/jobs/${encodeURIComponent(job)}/events`;
    const response = await send(path, { accept: "text/event-stream", headers, signal: either });
    if (response.status === 204 || !response.body) return true;
    stands();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const frames = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
      rest = frames.pop() ?? "";
      for (const event of frames.map(parsed)) if (event) told(event);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Return the event of a frame; null for a comment or one without a number, such as a sign of life. */
function parsed(frame: string): JobEvent | null {
  const fields = new Map<string, string>();
  for (const line of frame.split("\n")) {
    const [, name, value] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (name) fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : (value ?? ""));
  }
  const number = Number(fields.get("id"));
  if (!number) return null;
  return { number, kind: fields.get("event") ?? "message", data: JSON.parse(fields.get("data") ?? "{}") };
}

const isBroken = (error: unknown) =>
  error instanceof TypeError || (error instanceof DOMException && error.name === "AbortError");

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
