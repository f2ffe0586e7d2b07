import { Badge } from "@chakra-ui/react";
import type { Finding, Forms } from "../api/client";
import { strings } from "../strings";

const words = strings.common;
type Letter = Forms["DeliveryForm"]["letter"];
const letterPalettes: Record<Letter, string> = { E: "green", M: "green", K: "blue", A: "orange", B: "red" };
const statePalettes: Record<string, string> = { success: "green", failed: "red", running: "blue", queued: "gray" };

/** Whether a config is valid, and how many warnings it has. */
export function ValidityBadge({ valid, findings }: { valid: boolean; findings: Finding[] }) {
  const warnings = findings.filter((one) => one.severity === "warning").length;
  if (!valid) return <Badge colorPalette="red">{words.invalid}</Badge>;
  if (warnings) return <Badge colorPalette="orange">{words.warnings(warnings)}</Badge>;
  return <Badge colorPalette="green">{words.valid}</Badge>;
}

/** The letter of a delivery guarantee, its meaning as name and on hover. */
export function LetterBadge({ letter, reason }: { letter: Letter; reason?: string }) {
  const meaning = reason ? `${words.letters[letter]}: ${reason}` : words.letters[letter];
  return (
    <Badge aria-label={`${letter}: ${meaning}`} colorPalette={letterPalettes[letter]} role="img" title={meaning}>
      {letter}
    </Badge>
  );
}

/** The state of a run or a task in words; null: it has not started. */
export function StateBadge({ state }: { state: string | null }) {
  return <Badge colorPalette={statePalettes[state ?? ""] ?? "gray"}>{stateInWords(state)}</Badge>;
}

export const stateInWords = (state: string | null) => (state ? (words.states[state] ?? state) : words.noState);
export const paletteOf = (state: string | null) => statePalettes[state ?? ""] ?? "gray";
