import { createContext, useContext, useState } from "react";
import { inputNames } from "../schema/complete";
import { inputsAt } from "../graph";
import { at, pathOf, within } from "../json/value";
import type { Schema } from "../schema/resolve";
import type { Json, JsonObject, Known, Pinned } from "../types";

/** What every field of one form shares. */
export interface FormState {
  readonly root: Schema;
  /** The config as it is now; fields get their part of it as a prop, so that only those that changed are drawn anew. */
  readonly config: () => JsonObject;
  readonly known: Known;
  readonly pinned: Pinned;
  readonly readOnly: boolean;
  readonly goTo: { readonly pointer: string } | null;
  /** Prefix of the ids of fields. */
  readonly prefix: string;
  /** Change the text; nothing happens in a form that is read only. */
  readonly change: (edit: (text: string) => string) => void;
  readonly onPin?: (pointer: string, value: Json | undefined) => void;
}

export const FormContext = createContext<FormState | null>(null);

export function useForm(): FormState {
  const form = useContext(FormContext);
  if (!form) throw new Error("a field stands outside of a ConfigForm");
  return form;
}

/** A pointer of what was pinned: top-level keys are written without a slash too. */
const placeOf = (key: string): string => (key.startsWith("/") ? key : `/${key}`);

/** The pinned value at a place, or that of the place around it; undefined where nothing is pinned. */
export function pinnedAt(pinned: Pinned, pointer: string): { value: Json | undefined; own: boolean } | undefined {
  const key = Object.keys(pinned).find((each) => within(pointer, placeOf(each)));
  if (key === undefined) return undefined;
  const place = placeOf(key);
  return { value: at(pinned[key], pathOf(pointer.slice(place.length))), own: place === pointer };
}

/** Whether something is pinned at a place, around it or in it. */
export const touchesPinned = (pinned: Pinned, pointer: string): boolean =>
  Object.keys(pinned).some((key) => within(pointer, placeOf(key)) || within(placeOf(key), pointer));

/** Whether a part is open; going to a place in it opens it. */
export function useOpen(pointer: string, initially: boolean): [boolean, (open: boolean) => void] {
  const { goTo } = useForm();
  const [seen, setSeen] = useState<{ pointer: string } | null>(null);
  const [open, setOpen] = useState(initially);
  if (goTo && goTo !== seen) {
    setSeen(goTo);
    if (within(goTo.pointer, pointer)) setOpen(true);
  }
  return [open, setOpen];
}

/** Names that a text field proposes: connections, columns of the inputs, names of inputs. */
export function proposals(form: FormState, schema: Schema, pointer: string): readonly string[] {
  if (schema["x-connection"] === true) return (form.known.connections ?? []).map(({ id }) => id);
  if (schema["x-column"] === true) return columnsAt(form, pointer);
  const step = /^\/transforms\/(\d+)\/(input|with)(\/\d+)?$/.exec(pointer);
  return step ? inputNames(form.config(), Number(step[1])) : [];
}

export const columnsAt = (form: FormState, pointer: string): string[] => [
  ...new Set(inputsAt(form.config(), pointer).flatMap((input) => Object.keys(form.known.columns?.[input] ?? {}))),
];
