import { Button, Code, HStack, Stack, Text } from "@chakra-ui/react";

import { useAct } from "../../api/use";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { inForce, type Dispatch } from "./useAuthor";

const words = strings.author;

interface ConflictProps {
  file: string;
  /** What somebody else changed, as unified diff. */
  diff: string;
  text: string;
  dispatch: Dispatch;
  onDone: () => void;
}

/** Somebody else was faster: their change, and whether to take it or to put the draft on top of it. */
export function Conflict({ file, diff, text, dispatch, onDone }: ConflictProps) {
  const settle = useAct(async (whose: "theirs" | "mine") => {
    const base = await inForce(file);
    dispatch({ type: "rebased", base, text: whose === "theirs" ? base.text : text });
    dispatch({ type: "filed", file });
    onDone();
  });
  return (
    <Stack bg="bg.warning" borderRadius="md" gap={2} p={3} role="alert">
      <Text fontWeight="medium">{words.conflict}</Text>
      <Text fontSize="sm">{words.conflictHelp}</Text>
      {diff && (
        <Code as="pre" aria-label={words.theirChange} display="block" fontSize="xs" maxH="16rem" overflow="auto" p={2} tabIndex={0}>
          {diff}
        </Code>
      )}
      {settle.error && <Failure error={settle.error} />}
      <HStack wrap="wrap">
        <Button loading={settle.busy} onClick={() => void settle.run("theirs")} size="xs" variant="outline">{words.takeTheirs}</Button>
        <Button loading={settle.busy} onClick={() => void settle.run("mine")} size="xs" variant="outline">{words.mineOnTop}</Button>
      </HStack>
    </Stack>
  );
}
