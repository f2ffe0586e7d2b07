/** The fixes of a finding that one click can apply. */

import type { Finding, Json } from "./types";
import { edits } from "./json/edit";
import { offsetOf, readConfig } from "./json/read";
import { find, parse } from "./json/tree";
import { at, isObject, parentOf, pathOf, under } from "./json/value";

export interface Fix {
  readonly label: string;
  readonly text: string;
}

const MAX_CHOICES = 6;

/** Each fix with the text that it makes of `text`; none when the suggestion asks for a person's decision. */
export function fixes(text: string, finding: Finding): Fix[] {
  const config = readConfig(text);
  const found = config ? configFixes(text, config, finding) : syntaxFixes(text, finding);
  return found.filter((fix) => fix.text !== text);
}

function configFixes(text: string, config: Json, finding: Finding): Fix[] {
  const { pointer, suggestion, code } = finding;
  const guess = /did you mean '((?:[^'\\]|\\.)*)'\?/.exec(suggestion ?? "")?.[1];
  if (guess !== undefined) return renamings(text, config, finding, guess);
  if (code === "byte-order-mark") return [{ label: "Remove the mark", text: text.replace(/^\ufeff/, "") }];
  if (code === "duplicate-key") return withoutRepeat(text, finding);
  if (code === "unknown-key") return pointer ? [removal(text, pointer)] : [];
  const addition = /^add "([^"]+)": (\{.*\}|\[.*\]|".*"|[\w.]+)$/.exec(suggestion ?? "");
  if (addition) return added(text, config, String(addition[1]), String(addition[2]));
  return [...settings(text, config, finding), ...choices(text, config, finding)];
}

/** A name that is nearly right: the key, the value, or a word of an expression. */
function renamings(text: string, config: Json, finding: Finding, guess: string): Fix[] {
  const path = pathOf(finding.pointer);
  const key = path.at(-1);
  const value = at(config, path);
  const wrong = [...finding.message.matchAll(/'([^']+)'/g)].map((match) => String(match[1]));
  if (key === undefined || value === undefined) return [];
  const label = `Use ${guess}`;
  if (finding.code === "unknown-key") return [{ label, text: edits.rename(text, finding.pointer, guess) }];
  if (typeof value === "string") {
    const whole = wrong.includes(value) || (finding.allowed ?? []).includes(guess);
    if (whole && !value.includes(" ")) return [{ label, text: edits.set(text, finding.pointer, guess) }];
    const part = wrong.find((word) => words(value, word).length);
    if (part) return [{ label, text: edits.set(text, finding.pointer, replaced(value, part, guess)) }];
  }
  if (wrong.includes(key) && isObject(at(config, path.slice(0, -1)))) {
    return [{ label, text: edits.rename(text, finding.pointer, guess) }];
  }
  return [];
}

const wordPattern = (word: string): RegExp =>
  new RegExp(`(?<![\\w$])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w])`, "g");
const words = (value: string, word: string): string[] => value.match(wordPattern(word)) ?? [];
const replaced = (value: string, word: string, by: string): string => value.replace(wordPattern(word), () => by);

function added(text: string, config: Json, key: string, json: string): Fix[] {
  if (!isObject(config) || Object.hasOwn(config, key)) return [];
  try {
    return [{ label: `Add ${key}`, text: edits.set(text, under("", key), JSON.parse(json) as Json) }];
  } catch {
    return [];
  }
}

/** "set KEY to 'a' or 'b', or remove 'OTHER'" and "remove it". */
function settings(text: string, config: Json, finding: Finding): Fix[] {
  const suggestion = finding.suggestion ?? "";
  const holder = parentOf(finding.pointer);
  const set = /\bset (\w+) to '([^']+)'(?: or '([^']+)')?/.exec(suggestion);
  const values =
    set && finding.pointer.endsWith(`/${set[1]}`) ? [set[2], set[3]].filter((each) => each !== undefined) : [];
  const removed = /\bremove '(\w+)'/.exec(suggestion)?.[1];
  const other = removed === undefined ? undefined : under(holder, removed);
  return [
    ...values.map((value) => ({ label: `Use ${value}`, text: edits.set(text, finding.pointer, value) })),
    ...(other && at(config, pathOf(other)) !== undefined ? [removal(text, other)] : []),
    ...(/\bremove it$/.test(suggestion) && at(config, pathOf(finding.pointer)) !== undefined && finding.pointer
      ? [removal(text, finding.pointer)]
      : []),
  ];
}

/** A value that must be one of a few. */
function choices(text: string, config: Json, finding: Finding): Fix[] {
  const allowed = finding.allowed ?? [];
  const refused = at(config, pathOf(finding.pointer));
  if (typeof refused !== "string" || !finding.pointer || allowed.length > MAX_CHOICES || allowed.includes(refused))
    return [];
  if (!finding.message.includes(`'${refused}'`)) return [];
  return allowed.map((value) => ({ label: `Use ${value}`, text: edits.set(text, finding.pointer, value) }));
}

/** Takes out the second member of a name; `JSON.parse` keeps that one, so this is done on the text. */
function withoutRepeat(text: string, finding: Finding): Fix[] {
  const offset = offsetOf(text, finding.line, finding.column);
  const holder = find(parse(text), pathOf(parentOf(finding.pointer)))?.node;
  const index = holder?.members.findIndex(({ keyStart }) => keyStart === offset) ?? -1;
  const [before, member] = [holder?.members[index - 1], holder?.members[index]];
  if (!before || !member) return [];
  return [{ label: "Remove this one", text: text.slice(0, before.value.end) + text.slice(member.value.end) }];
}

const removal = (text: string, pointer: string): Fix => ({
  label: `Remove ${pathOf(pointer).at(-1)}`,
  text: edits.remove(text, pointer),
});

/** What can be mended in a text that is no JSON; only what makes it better by rule, never a guess. */
function syntaxFixes(text: string, finding: Finding): Fix[] {
  const offset = offsetOf(text, finding.line, finding.column);
  const [head, tail] = [text.slice(0, offset), text.slice(offset)];
  const changed = (label: string, rest: string): Fix[] => [{ label, text: head + rest }];
  switch (finding.suggestion) {
    case "remove the comma":
      return tail.startsWith(",") ? changed("Remove the comma", tail.slice(1)) : [];
    case "remove the leading zeros": {
      const digits = /[\d]*$/.exec(head)?.[0] ?? "";
      return [
        {
          label: "Remove the zeros",
          text: head.slice(0, head.length - digits.length) + (digits + tail).replace(/^0+(?=\d)/, ""),
        },
      ];
    }
    case "write null or a number":
      return changed("Use null", tail.replace(/^[-+]?(NaN|Infinity)/, "null"));
    case "remove it":
      return finding.code === "trailing-data" ? [{ label: "Remove the rest", text: `${head.trimEnd()}\n` }] : [];
    case "replace ' by \"": {
      const quoted = /^'((?:[^'\\\n]|\\.)*)'/.exec(tail);
      return quoted ? changed("Use double quotes", JSON.stringify(quoted[1]) + tail.slice(quoted[0].length)) : [];
    }
    case "write \\\\ for one \\":
      return tail.startsWith("\\") ? changed("Double the backslash", `\\${tail}`) : [];
    default:
      return literals(head, tail, finding.suggestion ?? "");
  }
}

function literals(head: string, tail: string, suggestion: string): Fix[] {
  const word = /^JSON writes (true|false|null)$/.exec(suggestion)?.[1];
  if (word) return [{ label: `Use ${word}`, text: head + tail.replace(/^\w+/, word) }];
  const bare = suggestion === "texts stand in double quotes" ? /^[A-Za-z_@][\w@./-]*/.exec(tail)?.[0] : undefined;
  return bare ? [{ label: "Put it in quotes", text: head + JSON.stringify(bare) + tail.slice(bare.length) }] : [];
}
