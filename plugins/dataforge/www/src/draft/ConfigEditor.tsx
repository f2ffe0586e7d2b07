import { closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { bracketMatching, codeFolding, foldGutter, foldKeymap, indentOnInput } from "@codemirror/language";
import { lintGutter, lintKeymap } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { Box, Text } from "@chakra-ui/react";
import { useEffect, useId, useRef } from "react";
import { strings } from "../strings";
import { replaceText, showFindings } from "./editor/findings";
import { completion, hover } from "./editor/help";
import { highlighting, theme } from "./editor/theme";
import { find, parse, placeAt } from "./json/tree";
import { pathOf, pointerOf } from "./json/value";
import type { ConfigEditorProps, Finding } from "./types";
import { choosingTab, useDark } from "./useHost";

const NONE: readonly Finding[] = [];

/** A config as JSON text, with completion, help and findings where they belong. */
export function ConfigEditor(props: ConfigEditorProps) {
  const { text, findings = NONE, goTo, label = strings.draft.editor, height = "60vh", readOnly = false } = props;
  const dark = useDark();
  const hint = useId();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  const mode = useRef(new Compartment()).current;

  useEffect(() => {
    latest.current = props;
  });

  // The editor lives as long as the component; everything that changes is handed to it by the effects below.
  useEffect(() => {
    const parent = host.current;
    if (!parent) return;
    const made = new EditorView({
      parent,
      state: EditorState.create({
        doc: latest.current.text,
        extensions: [base(() => latest.current), mode.of([])],
      }),
    });
    view.current = made;
    return () => {
      view.current = null;
      made.destroy();
    };
  }, [mode]);

  useEffect(() => {
    const about = EditorView.contentAttributes.of({ "aria-label": label, "aria-describedby": hint, tabindex: "0" });
    const locked = [EditorState.readOnly.of(readOnly), EditorView.editable.of(true)];
    view.current?.dispatch({ effects: mode.reconfigure([theme(dark), about, locked]) });
  }, [mode, dark, readOnly, label, hint]);

  useEffect(() => {
    if (view.current) replaceText(view.current, text, "input.outside");
  }, [text]);

  useEffect(() => {
    if (view.current) showFindings(view.current, findings);
  }, [findings, readOnly]);

  useEffect(() => {
    if (view.current && goTo) show(view.current, goTo.pointer);
  }, [goTo]);

  return (
    <Box>
      <Box
        _focusWithin={{ outline: "2px solid", outlineColor: "brand.focusRing" }}
        borderRadius="md"
        borderWidth="1px"
        height={height}
        overflow="hidden"
        ref={host}
      />
      <Text color="fg.muted" fontSize="xs" id={hint} mt={1}>
        {strings.draft.editorHint}
      </Text>
    </Box>
  );
}

function base(latest: () => ConfigEditorProps) {
  const source = () => latest();
  const changes = EditorView.updateListener.of((update) => {
    const { text, onChange, onPlace } = latest();
    const now = update.docChanged ? update.state.doc.toString() : text;
    if (update.docChanged && now !== text) onChange(now);
    if (onPlace && (update.selectionSet || update.docChanged)) {
      onPlace(pointerOf(placeAt(parse(update.state.doc.toString()), update.state.selection.main.head).path));
    }
  });
  return [
    lineNumbers(),
    highlightActiveLineGutter(),
    codeFolding(),
    foldGutter(),
    lintGutter(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    json(),
    highlighting,
    completion(source),
    hover(source),
    EditorView.lineWrapping,
    // Tab indents; after Escape it leaves, as CodeMirror's tab focus mode has it.
    keymap.of([
      ...closeBracketsKeymap,
      ...completionKeymap,
      ...lintKeymap,
      ...foldKeymap,
      ...historyKeymap,
      ...defaultKeymap,
      indentWithTab,
    ]),
    changes,
  ];
}

function show(view: EditorView, pointer: string): void {
  const place = find(parse(view.state.doc.toString()), pathOf(pointer));
  if (!place) return;
  const anchor = place.member?.keyStart ?? place.node.start;
  view.dispatch({
    selection: { anchor, head: place.node.end },
    effects: EditorView.scrollIntoView(anchor, { y: "center" }),
  });
  if (!choosingTab()) view.focus();
}
