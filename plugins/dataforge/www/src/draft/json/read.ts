/** A config read from its text, and places in it. */

import type { Finding, Json, JsonObject } from "../types";
import { find, parse } from "./tree";
import { isObject, pathOf } from "./value";

/** The config of a text, or null when it is no JSON object. */
export function readConfig(text: string): JsonObject | null {
  try {
    const value = JSON.parse(text.replace(/^\ufeff/, "")) as Json;
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** The offset of a line and column, which count from 1; a column counts characters, a text UTF-16 units. */
export function offsetOf(text: string, line: number, column: number): number {
  const ends = /\r\n|\r|\n/g;
  let start = 0;
  for (let count = 1; count < line; count++) {
    if (!ends.exec(text)) return text.length;
    start = ends.lastIndex;
  }
  const rest = /[^\r\n]*/y;
  rest.lastIndex = start;
  const characters = [...(rest.exec(text)?.[0] ?? "")];
  return start + characters.slice(0, column - 1).join("").length;
}

/** From where to where a finding is underlined: its key or value if it begins there, else a word or one character. */
export function rangeOf(text: string, finding: Finding): { from: number; to: number } {
  const from = Math.min(offsetOf(text, finding.line, finding.column), text.length);
  const found = find(parse(text), pathOf(finding.pointer));
  const { member, node } = found ?? {};
  if (member?.keyStart === from) return { from, to: member.keyEnd };
  if (node?.start === from && !node.members.length && !node.items.length) return { from, to: node.end };
  const word = /"(?:[^"\\\n]|\\.)*"|[\w.+-]+|[^\n]/y;
  word.lastIndex = from;
  return { from, to: word.exec(text) ? word.lastIndex : from };
}
