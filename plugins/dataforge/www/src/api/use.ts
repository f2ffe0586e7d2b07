import { useCallback, useEffect, useRef, useState } from "react";
import { ApiProblem, Offline, api } from "./client";

const AWAY_MS = 5_000;

export interface Query<T> {
  /** The last good answer; it stays while another is asked for, and when that fails. */
  data: T | undefined;
  error: Error | undefined;
  /** Nothing has come yet. */
  loading: boolean;
  reload: () => void;
}

/**
 * Ask the API for what a page shows; `path` null asks nothing yet, `every` asks again after so many milliseconds, while
 * the page is looked at.
 */
export function useQuery<T>(path: string | null, { every }: { every?: number } = {}): Query<T> {
  const [state, setState] = useState<{ path: string | null; data?: T; error?: Error }>({ path });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((one) => one + 1), []);

  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      let pause = every;
      try {
        const data = await api<T>(path, { signal: stop.signal });
        if (!stop.signal.aborted) setState({ path, data });
      } catch (error) {
        if (stop.signal.aborted) return;
        setState((old) => ({ path, data: old.path === path ? old.data : undefined, error: error as Error }));
        if (isAway(error)) pause = AWAY_MS;
      }
      if (pause && !stop.signal.aborted) timer = setTimeout(askSeen, pause, pause);
    };
    const askSeen = (pause: number) => {
      if (document.hidden) timer = setTimeout(askSeen, pause, pause);
      else void ask();
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, every, turn]);

  const { data, error } = state.path === path ? state : { data: undefined, error: undefined };
  return { data, error, loading: path !== null && data === undefined && error === undefined, reload };
}

/** A server that can't be reached, or not behind its proxy, comes back by itself. */
const isAway = (error: unknown) =>
  error instanceof Offline || (error instanceof ApiProblem && [502, 503, 504].includes(error.status));

/** Do something on the user's command, once at a time; `busy` and `error` are for its button. */
export function useAct<A extends unknown[]>(act: (...args: A) => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const running = useRef(false);
  const run = async (...args: A) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(undefined);
    try {
      await act(...args);
    } catch (reason) {
      setError(reason as Error);
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return { run, busy, error, forget: () => setError(undefined) };
}
