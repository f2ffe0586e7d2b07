/** Completion and hover help from the schema, as extensions of the editor. */

import {
  autocompletion,
  type Completion as Option,
  type CompletionContext,
  type CompletionResult,
} from "@codemirror/autocomplete";
import { hoverTooltip, type EditorView, type Tooltip } from "@codemirror/view";
import { strings } from "../../strings";
import { complete, hoverAt, type Completion } from "../schema/complete";
import { helpOf } from "../schema/help";
import type { Json, JsonObject, Known } from "../types";

export interface Source {
  readonly schema: JsonObject | null;
  readonly known?: Known;
}

/** Completion of keys, values, components, connections and columns. */
export function completion(source: () => Source) {
  const override = (context: CompletionContext): CompletionResult | null => {
    const { schema, known } = source();
    if (!schema) return null;
    const before = context.state.sliceDoc(Math.max(0, context.pos - 1), context.pos);
    if (!context.explicit && !/["\w@]/.test(before)) return null;
    const found = complete(schema, context.state.doc.toString(), context.pos, known);
    if (!found) return null;
    const options = found.items.map((item, index): Option => option(item, found, context.pos, -index));
    return { from: filterStart(context, found.from), options, validFor: /^[\w@ .-]*$/ };
  };
  return autocompletion({ override: [override], icons: false, activateOnTyping: true });
}

/** From where typed letters are compared with labels: behind the quote that begins the text. */
function filterStart(context: CompletionContext, from: number): number {
  return context.state.sliceDoc(from, from + 1) === '"' && context.pos > from ? from + 1 : from;
}

function option(item: Completion, span: { from: number; to: number }, asked: number, boost: number): Option {
  return {
    label: item.label,
    detail: item.detail,
    boost: Math.max(-99, boost),
    ...(item.info ? { info: item.info } : {}),
    // The place grows by what was typed since completion was asked for.
    apply: (view: EditorView, _: Option, __: number, to: number) => {
      const changes = { from: span.from, to: span.to + to - asked, insert: item.insert };
      const empty = /""(?=[}\]]*$)/.exec(item.insert);
      const anchor = span.from + (empty ? empty.index + 1 : item.insert.length);
      view.dispatch({ changes, selection: { anchor }, userEvent: "input.complete" });
    },
  };
}

/** Help on the key or value under the mouse. */
export function hover(source: () => Source) {
  return hoverTooltip((view, position): Tooltip | null => {
    const { schema } = source();
    const found = schema && hoverAt(schema, view.state.doc.toString(), position);
    if (!schema || !found) return null;
    const lines = linesOf(schema, found.schema);
    if (!lines.length) return null;
    return { pos: found.from, end: found.to, above: true, create: () => ({ dom: paragraphs(lines) }) };
  });
}

/** What help says of a schema, line by line. */
export function linesOf(root: JsonObject, schema: JsonObject): string[] {
  const words = strings.draft;
  const help = helpOf(root, schema);
  const shown = (value: Json): string => JSON.stringify(value);
  const known = help.default !== undefined && help.default !== null && help.default !== "";
  return [
    help.description,
    words.editorHelp(help.kind),
    help.limits && words.limits(help.limits),
    help.allowed.length > 1 && words.allowed(help.allowed.map(shown).join(", ")),
    known && words.usual(shown(help.default ?? null)),
    help.examples.length && words.example(shown(help.examples[0] ?? null)),
    help.deprecated && words.deprecated,
  ].filter((line) => typeof line === "string" && line !== "") as string[];
}

function paragraphs(lines: readonly string[]): HTMLElement {
  const box = document.createElement("div");
  box.style.padding = "6px 10px";
  for (const line of lines) box.appendChild(document.createElement("div")).textContent = line;
  return box;
}
