import { useCallback, useEffect, useState } from "react";

import { api } from "../../api/client";
import type { Query } from "../../api/use";

/** Ask the API what it says of a body; again when the body changes. */
export function usePost<T>(path: string, body: object, pauseMs = 0): Query<T> {
  const asked = JSON.stringify(body);
  const [state, setState] = useState<{ asked: string; data?: T; error?: Error }>({ asked: "" });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      api<T>(path, { method: "POST", body: JSON.parse(asked), signal: stop.signal })
        .then((data) => setState({ asked, data }))
        .catch((error: Error) => !stop.signal.aborted && setState({ asked, error }));
    }, pauseMs);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, asked, pauseMs, turn]);
  const { data, error } = state;
  const loading = state.asked !== asked && data === undefined;
  return { data, error, loading, reload: useCallback(() => setTurn((one) => one + 1), []) };
}
