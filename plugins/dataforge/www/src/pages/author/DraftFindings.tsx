import { Box, Button, Flex, Heading, Text } from "@chakra-ui/react";

import type { Finding } from "../../api/client";
import { fixes } from "../../draft";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { Findings } from "../../ui/Findings";
import type { Checks } from "./useChecks";

const words = strings.author;

interface DraftFindingsProps {
  text: string;
  checks: Checks;
  onPlace: (pointer: string) => void;
  /** Takes the text that a fix makes. */
  apply: (text: string) => void;
  blocked: string | null;
}

/** What the checks find in the draft, with the fixes that one click can apply. */
export function DraftFindings({ text, checks, onPlace, apply, blocked }: DraftFindingsProps) {
  if (text.trim() === "" || blocked) return null;
  const action = (finding: Finding) => (
    <Flex gap={1} wrap="wrap">
      {(checks.fresh ? fixes(text, finding) : []).map((fix) => (
        <Button key={fix.label} onClick={() => apply(fix.text)} size="2xs" variant="outline">
          {fix.label}
        </Button>
      ))}
    </Flex>
  );
  return (
    <Box aria-live="polite" as="section" aria-label={words.findings} borderRadius="md" borderWidth={1} p={3}>
      <Heading as="h2" mb={2} size="sm">
        {words.findings}
      </Heading>
      {checks.error && <Failure error={checks.error} />}
      {checks.findings.length > 0 ? (
        <Findings action={action} findings={checks.findings} onPlace={({ pointer }) => onPlace(pointer)} />
      ) : (
        <Text color="fg.muted" fontSize="sm">{checks.valid === null ? words.checking : words.noFindings}</Text>
      )}
    </Box>
  );
}
