import { useCallback, useEffect, useRef, useState } from "react";

import { api, newKey, type Forms } from "../../api/client";
import { follow } from "../../api/events";
import { after, begun, type Job } from "./job";
import { useAddress } from "./query";

/** One job with its stream. Its id stands in the page's address until it is dismissed, so that a reload takes it up. */
export function useJob(onEnd: (job: Job) => void) {
  const [job, setJob] = useState<Job | null>(null);
  const [query, put] = useAddress();
  const ended = useRef(onEnd);
  ended.current = onEnd;
  const wanted = query.get("job") ?? "";

  useEffect(() => {
    if (!wanted) return;
    let stopped = false;
    const stop = new AbortController();
    const run = async () => {
      const told = await api<Forms["JobForm"]>(`/jobs/${encodeURIComponent(wanted)}`, { signal: stop.signal });
      let now: Job = begun(told);
      const show = (next: Job) => {
        now = next;
        if (!stopped) setJob(now);
      };
      show(now);
      await follow(wanted, (event) => show(after(now, event)), {
        signal: stop.signal,
        onLine: (online) => show({ ...now, online }),
      });
      if (!stopped) ended.current(now);
    };
    run().catch((error: Error) => {
      if (stopped) return;
      setJob((old) => (old ? { ...old, state: "failed", error } : null));
      if (!isKnown(error)) put("job", null);
    });
    return () => {
      stopped = true;
      stop.abort();
    };
  }, [wanted, put]);

  const start = useCallback(
    async (body: object) => {
      const told = await api<Forms["JobForm"]>("/jobs", { method: "POST", body, key: newKey() });
      setJob(begun(told));
      put("job", told.id);
    },
    [put],
  );
  const cancel = useCallback(async () => {
    if (wanted) await api(`/jobs/${encodeURIComponent(wanted)}/cancel`, { method: "POST" });
  }, [wanted]);
  /** A reload needs not take it up again; what came of it stays in sight. */
  const settle = useCallback(() => put("job", null), [put]);

  return { job, start, cancel, settle };
}

const isKnown = (error: Error) => !("status" in error && error.status === 404);
