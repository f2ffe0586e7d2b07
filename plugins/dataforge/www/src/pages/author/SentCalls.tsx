import { Box, Code, Stack, Text, chakra } from "@chakra-ui/react";

import { strings } from "../../strings";
import { duration } from "../../ui/Time";
import type { Sent } from "./shapes";

const words = strings.author;

/** What left the machine, call by call and to the letter. */
export function SentCalls({ calls }: { calls: Sent[] }) {
  const left = calls.filter((one) => !one.cached);
  if (left.length === 0) return <Text color="fg.muted" fontSize="xs">{calls.length ? words.sentCached : words.sentNothing}</Text>;
  return (
    <Box as="details" fontSize="xs">
      <chakra.summary cursor="pointer">{words.sent(left.length)}</chakra.summary>
      <Stack gap={3} mt={2}>
        {left.map((one, at) => (
          <Call call={one} key={at} />
        ))}
      </Stack>
    </Box>
  );
}

function Call({ call }: { call: Sent }) {
  if (call.failed) return <Text>{words.sentFailed(call.task, call.failed)}</Text>;
  if (call.texts !== undefined) return <Text>{words.sentTexts(call.texts)}</Text>;
  const tokens = [call.prompt_tokens ?? 0, call.completion_tokens ?? 0] as const;
  return (
    <Box>
      <Text>
        {words.sentTo(call.task, `${call.connection}/${call.model}`, call.provider ?? "")} {words.tokens(...tokens)}{" "}
        {duration(call.seconds ?? 0)}
        {call.cost ? ` ${words.cost(call.cost)}` : ""}
      </Text>
      <Text>{call.rows ? words.rowsSent(call.rows) : words.noRowsSent}</Text>
      <Text>
        {call.withheld?.length
          ? words.withheld(call.withheld.map((one) => `${one.count} × ${one.kind.replaceAll("_", " ")}`).join(", "))
          : words.nothingWithheld}
      </Text>
      {call.messages?.map((one, at) => (
        <Box as="details" key={at} mt={1}>
          <chakra.summary cursor="pointer">{words.sentMessage(one.role, one.text.length)}</chakra.summary>
          <Code as="pre" display="block" maxH="16rem" overflow="auto" p={2} tabIndex={0} whiteSpace="pre-wrap" overflowWrap="anywhere">
            {one.text}
          </Code>
        </Box>
      ))}
    </Box>
  );
}
