import { useEffect, useState } from "react";

import { ApiProblem, api, type Finding } from "../../api/client";

const PAUSE_MS = 500;

export interface Checks {
  /** Of the text that was checked last. */
  findings: Finding[];
  /** null: not known yet. */
  valid: boolean | null;
  /** The pipelines that it makes. */
  dagIds: string[];
  /** The findings are those of this very text. */
  fresh: boolean;
  error: Error | undefined;
}

type Answer = Pick<Checked, "findings" | "valid" | "dag_ids">;

interface Checked {
  findings: Finding[];
  valid: boolean | null;
  dag_ids: string[];
  text: string | null;
  error: Error | undefined;
}

const NONE: Checked = { findings: [], valid: null, dag_ids: [], text: null, error: undefined };

/** Check a text some time after it was last changed, as deploying it does. */
export function useChecks(text: string, file: string, enabled: boolean): Checks {
  const [checked, setChecked] = useState(NONE);
  const [again, setAgain] = useState(0);

  useEffect(() => {
    if (!enabled || text.trim() === "") return setChecked(NONE);
    const stop = new AbortController();
    let retry: ReturnType<typeof setTimeout> | undefined;
    const timer = setTimeout(async () => {
      try {
        const body = { text, file };
        const found = await api<Answer>("/check", { method: "POST", body, signal: stop.signal });
        setChecked({ ...found, text, error: undefined });
      } catch (error) {
        if (stop.signal.aborted) return;
        setChecked((old) => ({ ...NONE, findings: old.findings, error: error as Error }));
        const wait = error instanceof ApiProblem ? error.retryAfter : 5;
        if (wait) retry = setTimeout(() => setAgain((one) => one + 1), wait * 1_000);
      }
    }, PAUSE_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
      clearTimeout(retry);
    };
  }, [text, file, enabled, again]);

  const { findings, valid, dag_ids: dagIds, error } = checked;
  return { findings, valid, dagIds, fresh: checked.text === text, error };
}
