import { Chunk } from "@codemirror/merge";
import { Text as Lines } from "@codemirror/state";
import { Box, Text, chakra } from "@chakra-ui/react";
import { strings } from "../strings";

type Kind = "same" | "removed" | "added" | "gap";
interface Line {
  kind: Kind;
  text: string;
}

const AROUND = 3;
const KINDS: Record<string, Kind> = { " ": "same", "-": "removed", "+": "added" };
const MARKS = { same: " ", removed: "-", added: "+", gap: "" };
const COLORS = { same: undefined, removed: "red.subtle", added: "green.subtle", gap: "bg.muted" };
const SAID = { same: "", removed: strings.diff.removed, added: strings.diff.added, gap: "" };

/** Two texts as one, with the lines that were removed and added, and few around them. */
export function TextDiff({ before, after, label }: { before: string; after: string; label: string }) {
  return <Shown label={label} lines={before === after ? [] : lines(before, after)} />;
}

/** A unified diff, as the API gives it. */
export function UnifiedDiff({ diff, label }: { diff: string; label: string }) {
  const body = diff.split("\n").filter((line) => line && !line.startsWith("+++ ") && !line.startsWith("--- "));
  return <Shown label={label} lines={body.map(lineOf)} />;
}

function Shown({ lines: all, label }: { lines: Line[]; label: string }) {
  if (all.length === 0) return <Text color="fg.muted">{strings.diff.none}</Text>;
  return (
    <Box aria-label={label} borderRadius="md" borderWidth="1px" overflowX="auto" role="region" tabIndex={0}>
      <chakra.pre fontFamily="mono" fontSize="xs" lineHeight="1.6" minW="max-content" py={1}>
        {all.map((line, at) => (
          <Box bg={COLORS[line.kind]} color={line.kind === "gap" ? "fg.muted" : undefined} key={at} px={3}>
            <span aria-hidden>{MARKS[line.kind]} </span>
            <chakra.span srOnly>{SAID[line.kind]}</chakra.span>
            {line.text}
          </Box>
        ))}
      </chakra.pre>
    </Box>
  );
}

function lineOf(line: string): Line {
  const kind = KINDS[line[0] ?? ""];
  return kind ? { kind, text: line.slice(1) } : { kind: "gap", text: line };
}

function lines(before: string, after: string): Line[] {
  const [a, b] = [Lines.of(before.split("\n")), Lines.of(after.split("\n"))];
  const out: Line[] = [];
  let at = 1;
  const same = (to: number) => {
    for (; at < to; at++) out.push({ kind: "same", text: b.line(at).text });
  };
  for (const chunk of Chunk.build(a, b)) {
    const from = chunk.fromB > b.length ? b.lines + 1 : b.lineAt(chunk.fromB).number;
    const until = chunk.toB > chunk.fromB ? b.lineAt(Math.min(chunk.endB, b.length)).number + 1 : from;
    same(from);
    if (chunk.toA > chunk.fromA) {
      const first = a.lineAt(Math.min(chunk.fromA, a.length)).number;
      const last = a.lineAt(Math.min(chunk.endA, a.length)).number;
      for (let line = first; line <= last; line++) out.push({ kind: "removed", text: a.line(line).text });
    }
    for (; at < until; at++) out.push({ kind: "added", text: b.line(at).text });
  }
  same(b.lines + 1);
  return folded(out);
}

/** Leaves out lines that are far from any change. */
function folded(all: Line[]): Line[] {
  const near = all.map((_, at) => all.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((one) => one.kind !== "same"));
  return all.flatMap((line, at) => {
    if (near[at]) return [line];
    if (at > 0 && !near[at - 1]) return [];
    const next = near.indexOf(true, at);
    return [{ kind: "gap" as const, text: strings.diff.gap((next < 0 ? all.length : next) - at) }];
  });
}
