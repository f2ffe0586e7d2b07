/** The editor in the colours of the host: all are its tokens, so that they follow its theme. */

import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const color = (token: string): string => `var(--chakra-colors-${token})`;

/** Base theme; `dark` tells CodeMirror which defaults to take for what is not set here. */
export const theme = (dark: boolean) =>
  EditorView.theme(
    {
      "&": { height: "100%", fontSize: "13px", color: color("fg"), backgroundColor: color("bg") },
      "&.cm-focused": { outline: "none" },
      ".cm-scroller": { fontFamily: "var(--chakra-fonts-mono)", lineHeight: "1.5" },
      ".cm-content": { caretColor: color("fg") },
      ".cm-cursor": { borderLeftColor: color("fg") },
      ".cm-gutters": {
        color: color("fg-muted"),
        backgroundColor: color("bg-subtle"),
        borderRight: `1px solid ${color("border")}`,
      },
      ".cm-activeLine": { backgroundColor: "transparent" },
      ".cm-activeLineGutter": { color: color("fg"), backgroundColor: color("bg-muted") },
      "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
        backgroundColor: color("bg-emphasized"),
      },
      ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
        color: "inherit",
        backgroundColor: color("bg-emphasized"),
        outline: `1px solid ${color("border-emphasized")}`,
      },
      ".cm-tooltip, .cm-panels": {
        color: color("fg"),
        backgroundColor: color("bg-panel"),
        borderColor: color("border"),
      },
      ".cm-tooltip": { border: `1px solid ${color("border")}`, borderRadius: "6px", maxWidth: "min(32rem, 90vw)" },
      ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 8px" },
      ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
        color: color("fg"),
        backgroundColor: color("bg-emphasized"),
      },
      ".cm-completionDetail": { color: color("fg-muted"), fontStyle: "normal" },
      ".cm-completionInfo": { padding: "6px 10px", maxWidth: "22rem" },
      ".cm-diagnostic": { padding: "6px 10px", whiteSpace: "pre-wrap" },
      ".cm-diagnosticAction": {
        color: color("fg"),
        backgroundColor: color("bg-muted"),
        border: `1px solid ${color("border-emphasized")}`,
        borderRadius: "4px",
        padding: "2px 8px",
        margin: "4px 8px 0 0",
      },
      ".cm-panel.cm-panel-lint button[name=close]": { color: color("fg") },
    },
    { dark },
  );

/** Keys, texts, numbers and words of JSON. */
export const highlighting = syntaxHighlighting(
  HighlightStyle.define([
    { tag: tags.propertyName, color: color("blue-fg") },
    { tag: tags.string, color: color("green-fg") },
    { tag: tags.number, color: color("purple-fg") },
    { tag: [tags.bool, tags.null], color: color("orange-fg") },
    { tag: [tags.separator, tags.bracket], color: color("fg-muted") },
  ]),
);
