import { useEffect, useState } from "react";
import { type Forms, api, newKey } from "../../api/client";
import { ENDS, type JobEvent, follow } from "../../api/events";

export interface Job {
  /** The model's words so far. */
  said: string;
  /** queued, running, …; "" until the server took the job. */
  stage: string;
  /** The last event, with the job's result. */
  end: JobEvent | undefined;
  /** The job could not be begun or followed. */
  error: Error | undefined;
  /** Whether the line to the server stands. */
  line: boolean;
  cancel: () => void;
}

const NOTHING = { said: "", stage: "", end: undefined, error: undefined, line: true };

/** Begin a job when the component appears, and follow it; it goes on in the server when the component goes away. */
export function useJob(body: Readonly<Record<string, string>>): Job {
  const [state, setState] = useState<Omit<Job, "cancel">>(NOTHING);
  const [id, setId] = useState<string>();
  const asked = JSON.stringify(body);

  useEffect(() => {
    const leave = new AbortController();
    const hear = (event: JobEvent) =>
      setState((old) => {
        if (event.kind === "text") return { ...old, said: old.said + String(event.data.text) };
        return { ...old, stage: event.kind, end: ENDS.has(event.kind) ? event : undefined };
      });
    const go = async () => {
      const begun = await api<Forms["JobForm"]>("/jobs", { method: "POST", body: JSON.parse(asked), key: newKey() });
      if (!leave.signal.aborted) setId(begun.id);
      await follow(begun.id, hear, {
        signal: leave.signal,
        onLine: (line) => setState((old) => ({ ...old, line })),
      });
    };
    setState(NOTHING);
    go().catch((error: Error) => leave.signal.aborted || setState((old) => ({ ...old, error })));
    return () => leave.abort();
  }, [asked]);

  const cancel = () => {
    if (id) api<void>(`/jobs/${id}/cancel`, { method: "POST" }).catch((error: Error) => setState((old) => ({ ...old, error })));
  };
  return { ...state, cancel };
}
