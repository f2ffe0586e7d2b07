import { Box, Flex, Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import { paletteOf, stateInWords } from "../../ui/badges";
import { Time } from "../../ui/Time";
import type { Listed } from "./listing";

const words = strings.pipelines;

/** The states of the last runs as a row of marks, the newest last; a failed one is taller, not only red. */
export function LastRuns({ pipeline }: { pipeline: Listed }) {
  if (!pipeline.runs?.length) return <Text color="fg.muted">{words.noRuns}</Text>;
  const states = [...pipeline.runs].reverse();
  const label = words.runsOf(pipeline.dag_id, states.map(stateInWords).join(", "));
  return (
    <>
      <Flex align="end" aria-label={label} gap="2px" h={5} role="img">
        {states.map((state, index) => (
          <Box
            bg={`${paletteOf(state)}.solid`}
            borderRadius="xs"
            h={state === "failed" ? 5 : 3}
            key={index}
            title={stateInWords(state)}
            w={2}
          />
        ))}
      </Flex>
      <Text color="fg.muted" fontSize="xs">
        <Time at={pipeline.last_run?.start} />
      </Text>
    </>
  );
}
