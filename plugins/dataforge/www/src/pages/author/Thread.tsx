import { Box, Button, Stack, Text } from "@chakra-ui/react";
import { useEffect, useRef } from "react";

import { strings } from "../../strings";
import { Time } from "../../ui/Time";
import { Outcome } from "./Outcome";
import type { Message } from "./shapes";

const words = strings.author;

interface ThreadProps {
  messages: Message[];
  /** The draft's text: what is there already needs not be offered. */
  current: string;
  /** Offers an earlier draft as a change; null for who may not write. */
  propose: ((text: string) => void) | null;
}

/** What was said, the newest last and in sight. */
export function Thread({ messages, current, propose }: ThreadProps) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = end.current?.parentElement;
    if (box) box.scrollTop = box.scrollHeight;
  }, [messages.length]);
  if (messages.length === 0) return null;
  return (
    <Stack aria-label={words.thread} gap={3} maxH={{ base: "24rem", lg: "32rem" }} overflowY="auto" role="log" tabIndex={0}>
      {messages.map((one) => (
        <One current={current} key={one.id} message={one} propose={propose} />
      ))}
      <div ref={end} />
    </Stack>
  );
}

function One({ message, current, propose }: { message: Message } & Pick<ThreadProps, "current" | "propose">) {
  const mine = message.role === "user";
  const { result, kind } = message.details;
  const text = kind === "explain" ? undefined : result?.text;
  const isDraft = !mine && text !== undefined && text !== "";
  return (
    <Box bg={mine ? "bg.muted" : undefined} borderRadius="md" borderWidth={1} me={mine ? 0 : 4} ms={mine ? 4 : 0} p={3}>
      <Text color="fg.muted" fontSize="xs" mb={1}>
        {mine ? words.you : words.assistant} · <Time at={message.at} />
      </Text>
      <Text fontSize="sm" overflowWrap="anywhere" whiteSpace="pre-wrap">
        {isDraft && !result?.answer ? words.drafted : mine && kind === "repair" && message.text === "repair" ? words.askedRepair : message.text}
      </Text>
      {message.details.attachments?.map((one) => <Text color="fg.muted" fontSize="xs" key={one.id}>{words.attached(one.name)}</Text>)}
      {result && <Outcome result={result} />}
      {isDraft && propose && text !== current && (
        <Button mt={2} onClick={() => propose(text)} size="xs" variant="outline">
          {words.proposeAgain}
        </Button>
      )}
    </Box>
  );
}
