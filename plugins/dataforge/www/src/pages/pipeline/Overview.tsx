import { Box, Button, Heading, List, Stack, Text } from "@chakra-ui/react";
import { type ReactNode, useState } from "react";
import { PipelineGraph } from "../../draft";
import { strings } from "../../strings";
import { LetterBadge } from "../../ui/badges";
import { Findings } from "../../ui/Findings";
import { Effective } from "./Effective";
import type { Pipeline } from "./shapes";

const words = strings.pipeline.overview;

/** What a pipeline does, in words and as a picture, what was found in it, and every value in force. */
export function Overview({ pipeline }: { pipeline: Pipeline }) {
  const [values, setValues] = useState(false);
  return (
    <Stack gap={6}>
      <Part title={words.does}>
        <List.Root fontSize="sm" gap={1} listStyle="none" maxW="90ch">
          {pipeline.words.split("\n").map((line) => (
            <List.Item key={line} overflowWrap="anywhere">
              {line}
            </List.Item>
          ))}
        </List.Root>
      </Part>
      <Part title={words.graph}>
        <Box overflowX="auto">
          <PipelineGraph config={pipeline.config} findings={pipeline.findings} />
        </Box>
      </Part>
      {pipeline.findings.length > 0 && (
        <Part title={words.findings}>
          <Findings findings={pipeline.findings} />
        </Part>
      )}
      <Part title={words.guarantee}>
        <Guarantees pipeline={pipeline} />
      </Part>
      <Part title={words.values}>
        {values ? (
          <Effective dagId={pipeline.dag_id} />
        ) : (
          <Button alignSelf="start" h="auto" minH={9} onClick={() => setValues(true)} size="sm" variant="outline" whiteSpace="normal">
            {words.showValues}
          </Button>
        )}
      </Part>
    </Stack>
  );
}

function Guarantees({ pipeline }: { pipeline: Pipeline }) {
  return (
    <List.Root fontSize="sm" gap={3} listStyle="none">
      {pipeline.delivery.map((one) => (
        <List.Item key={one.destination} maxW="90ch">
          <LetterBadge letter={one.letter} /> {words.promise(pipeline.destinations[one.destination] ?? "", one.words)}
          <Text color="fg.muted">
            {one.reason}
          </Text>
          {one.improvements.map((text) => (
            <Text key={text}>
              {words.better(text)}
            </Text>
          ))}
        </List.Item>
      ))}
    </List.Root>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack as="section" gap={2} minW={0}>
      <Heading as="h2" size="md">
        {title}
      </Heading>
      {children}
    </Stack>
  );
}
