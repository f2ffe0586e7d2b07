/** Findings as marks of the editor, each with its fixes. */

import { setDiagnostics, type Action, type Diagnostic } from "@codemirror/lint";
import type { EditorView } from "@codemirror/view";
import { strings } from "../../strings";
import { fixes } from "../fixes";
import { rangeOf } from "../json/read";
import type { Finding } from "../types";

/** Show findings; those of an older text move along with what is typed until new ones come. */
export function showFindings(view: EditorView, findings: readonly Finding[]): void {
  const text = view.state.doc.toString();
  const marks = findings.map((finding) => markOf(text, finding, !view.state.readOnly));
  view.dispatch(
    setDiagnostics(
      view.state,
      marks.sort((one, other) => one.from - other.from),
    ),
  );
}

function markOf(text: string, finding: Finding, editable: boolean): Diagnostic {
  const suggestion = finding.suggestion ? `\n${strings.draft.suggestion(finding.suggestion)}` : "";
  return {
    ...rangeOf(text, finding),
    severity: finding.severity,
    source: finding.code,
    message: finding.message + suggestion,
    actions: editable ? actionsOf(text, finding) : [],
  };
}

function actionsOf(text: string, finding: Finding): Action[] {
  return fixes(text, finding).map(({ label }): Action => ({
    name: strings.draft.applyFix(label),
    apply: (view) => {
      const fix = fixes(view.state.doc.toString(), finding).find((each) => each.label === label);
      if (fix) replaceText(view, fix.text, "input.fix");
    },
  }));
}

/** Make the editor's text another one by changing only the part that differs, so that cursor and undo make sense. */
export function replaceText(view: EditorView, text: string, userEvent: string): void {
  const old = view.state.doc.toString();
  if (old === text) return;
  const most = Math.min(old.length, text.length);
  let from = 0;
  while (from < most && old[from] === text[from]) from++;
  let tail = 0;
  while (tail < most - from && old[old.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
  view.dispatch({ changes: { from, to: old.length - tail, insert: text.slice(from, text.length - tail) }, userEvent });
}
