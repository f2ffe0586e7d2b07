import { useCallback, useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router-dom";

/** What the page's address says after its "?", and a way to change one name of it that is the same for ever. */
export function useAddress(): [URLSearchParams, (name: string, value: string | null) => void] {
  const [query, setQuery] = useSearchParams();
  const latest = useRef(setQuery);
  latest.current = setQuery;
  const put = useCallback((name: string, value: string | null) => {
    // the address itself and not `query`, which two changes in a row would both begin from
    const found = new URLSearchParams(window.location.search);
    if (value === null) found.delete(name);
    else found.set(name, value);
    latest.current(found, { replace: true, state: (window.history.state as { usr?: unknown } | null)?.usr });
  }, []);
  return [query, put];
}

/** A value as it was when it had rested for a while: not every letter that is typed asks the server. */
export function useRested<T>(value: T, pauseMs = 400): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), pauseMs);
    return () => clearTimeout(timer);
  }, [value, pauseMs]);
  return rested;
}
