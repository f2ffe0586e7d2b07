import { useCallback, useEffect, useRef, useState } from "react";

import { ApiProblem, request } from "../../api/client";
import { contentOf, isUnsaved, type Draft } from "./draft";
import { useAddress } from "./query";
import type { KeptDraft } from "./shapes";
import type { Dispatch } from "./useAuthor";

export type Saving = "saved" | "unsaved" | "saving" | "failed" | "conflict";

const PAUSE_MS = 2_000;

/** Keep the draft on the server, some time after each change; the page's address then names it. */
export function useSaving(draft: Draft, dispatch: Dispatch, enabled: boolean) {
  const [phase, setPhase] = useState<"idle" | "saving" | "failed" | "conflict">("idle");
  const [error, setError] = useState<Error>();
  const [, put] = useAddress();
  const latest = useRef(draft);
  const busy = useRef(false);
  const closed = useRef(false);
  const here = useRef(true);
  const refused = useRef("");
  latest.current = draft;
  const unsaved = isUnsaved(draft);

  const save = useCallback(
    async (force = false) => {
      if (busy.current || closed.current) return;
      busy.current = true;
      setPhase("saving");
      const content = contentOf(latest.current);
      const { id, etag } = latest.current;
      try {
        const found = await written(id, force && id ? await etagOf(id) : etag, content);
        dispatch({ type: "saved", id: found.id, etag: found.etag, content });
        if (here.current) put("draft", found.id);
        setPhase("idle");
        setError(undefined);
      } catch (reason) {
        const status = reason instanceof ApiProblem ? reason.status : 0;
        if (status === 404) dispatch({ type: "forgotten" });
        if (status >= 400 && status < 500 && status !== 404 && status !== 429) refused.current = JSON.stringify(content);
        setPhase(status === 412 ? "conflict" : "failed");
        setError(reason as Error);
      } finally {
        busy.current = false;
      }
    },
    [dispatch, put],
  );

  const leave = useRef(save);
  leave.current = save;
  const content = JSON.stringify(contentOf(draft));
  useEffect(() => {
    if (!enabled || !unsaved || phase === "conflict" || phase === "saving") return;
    if (refused.current === content) return; // what was refused once is refused again
    const wait = error instanceof ApiProblem && error.retryAfter ? error.retryAfter * 1_000 : PAUSE_MS;
    const timer = setTimeout(() => void save(), wait);
    return () => clearTimeout(timer);
  }, [enabled, unsaved, content, phase, error, save]);

  useEffect(() => {
    if (!enabled) return;
    here.current = true;
    return () => {
      here.current = false; // the address is another page's now
      if (isUnsaved(latest.current)) void leave.current();
    };
  }, [enabled]);

  useEffect(() => {
    if (!unsaved || !enabled) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [unsaved, enabled]);

  const state: Saving = phase === "idle" ? (unsaved ? "unsaved" : "saved") : phase;
  /** The draft is over: it was deployed, or dropped. */
  const close = useCallback(() => {
    closed.current = true;
  }, []);
  return { state, error, save, close };
}

async function written(id: string | null, etag: string | null, content: object) {
  const ask = id
    ? ({ method: "PUT", body: content, ifMatch: etag ?? "" } as const)
    : ({ method: "POST", body: content } as const);
  const { data, etag: now } = await request<KeptDraft>(id ? `/drafts/${encodeURIComponent(id)}` : "/drafts", ask);
  return { id: data.id, etag: now };
}

async function etagOf(id: string): Promise<string | null> {
  return (await request<KeptDraft>(`/drafts/${encodeURIComponent(id)}`)).etag;
}
