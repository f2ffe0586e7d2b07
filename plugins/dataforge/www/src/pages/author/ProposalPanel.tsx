import { Box, Button, Heading, HStack, Text } from "@chakra-ui/react";

import { FieldChanges, readConfig } from "../../draft";
import { strings } from "../../strings";
import { TextDiff } from "../../ui/TextDiff";
import type { Draft, Proposal } from "./draft";

const words = strings.author;

interface ProposalPanelProps {
  draft: Draft;
  proposal: Proposal;
  /** Takes the text that the person decided for; null for the draft as it is. */
  decide: (text: string | null) => void;
}

/** What is proposed for the draft: field by field, or as a whole where the draft is no JSON yet. */
export function ProposalPanel({ draft, proposal, decide }: ProposalPanelProps) {
  const [before, after] = [readConfig(draft.text), readConfig(proposal.text)];
  return (
    <Box aria-label={words.proposal} as="section" borderColor="brand.solid" borderRadius="md" borderWidth={1} p={3}>
      <Heading as="h2" mb={2} size="sm">
        {words.proposals[proposal.from]}
      </Heading>
      {before && after ? (
        <FieldChanges after={after} before={before} key={proposal.text} onDone={({ text, accepted }) => decide(accepted ? text : null)} pinned={draft.pinned} text={draft.text} />
      ) : (
        <>
          <Text color="fg.muted" fontSize="sm" mb={2}>{words.wholeOnly}</Text>
          <TextDiff after={proposal.text} before={draft.text} label={words.proposal} />
          <HStack mt={3}>
            <Button colorPalette="brand" onClick={() => decide(proposal.text)} size="sm">{words.accept}</Button>
            <Button onClick={() => decide(null)} size="sm" variant="outline">{words.reject}</Button>
          </HStack>
        </>
      )}
    </Box>
  );
}
