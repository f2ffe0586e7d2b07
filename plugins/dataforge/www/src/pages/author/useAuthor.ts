import { useEffect, useReducer, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { ApiProblem, api, request, type Forms } from "../../api/client";
import { EMPTY, laidOut, reduce, restored, started, type Action, type Base, type Draft } from "./draft";
import type { KeptDraft } from "./shapes";
import type { JsonObject } from "../../draft";

export type Dispatch = (action: Action) => void;

interface Author {
  draft: Draft;
  dispatch: Dispatch;
  loading: boolean;
  error: Error | undefined;
  retry: () => void;
}

/** The draft that the page's address names: a kept one, a config in force, an example, or an empty one. */
export function useAuthor(file: string): Author {
  const [draft, dispatch] = useReducer(reduce, EMPTY);
  const [query] = useSearchParams();
  const [state, setState] = useState<{ loading: boolean; error?: Error }>({ loading: true });
  const [turn, setTurn] = useState(0);
  const wanted = query.get("draft") ?? "";
  const example = query.get("example") ?? "";
  const chat = query.get("chat") ?? "";
  // what is seen gave the address its names
  const isOpen = wanted === "" ? chat !== "" && chat === draft.chat : wanted === draft.id;

  useEffect(() => {
    if (isOpen) return;
    let stopped = false;
    setState({ loading: true });
    opened(file, wanted, example, chat)
      .then((found) => {
        if (stopped) return;
        dispatch({ type: "opened", draft: found });
        setState({ loading: false });
      })
      .catch((error: Error) => !stopped && setState({ loading: false, error }));
    return () => {
      stopped = true;
    };
  }, [file, wanted, example, chat, isOpen, turn]);

  return { draft, dispatch, ...state, error: state.error, retry: () => setTurn((one) => one + 1) };
}

async function opened(file: string, draft: string, example: string, chat: string): Promise<Draft> {
  if (draft) {
    const { data, etag } = await request<KeptDraft>(`/drafts/${encodeURIComponent(draft)}`);
    return restored(data, etag, await inForce(data.file));
  }
  if (file) {
    const base = await inForce(file);
    return { ...started(base.text, file, base), chat };
  }
  if (example) {
    const { examples } = await api<Forms["ExamplesForm"]>("/examples");
    const found = examples.find((one) => one.id === example);
    if (found) return started(laidOut(found.config as JsonObject));
  }
  return { ...EMPTY, chat };
}

/** The config in force in a file; one without a digest when there is none. */
export async function inForce(file: string): Promise<Base> {
  if (!file) return EMPTY.base;
  try {
    const { digest, text, may_edit: mayEdit } = await api<Forms["ConfigForm"]>(configPath(file));
    return { digest, text, mayEdit };
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 404) return EMPTY.base;
    throw error;
  }
}

export const configPath = (file: string) => `/configs/${file.split("/").map(encodeURIComponent).join("/")}`;
