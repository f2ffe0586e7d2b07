import { Clipboard, Button, Stack, Text, chakra } from "@chakra-ui/react";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Empty, Loaded } from "../../ui/states";
import { pipelineUrl } from "./links";

const words = strings.pipeline.sql;

/** The SQL that the transforms become. */
export function Sql({ dagId }: { dagId: string }) {
  const query = useQuery<{ sql: string }>(`${pipelineUrl(dagId)}/sql`);
  return (
    <Loaded query={query}>
      {({ sql }) =>
        sql === "" ? (
          <Empty title={words.empty} />
        ) : (
          <Stack align="start" gap={2}>
            <Text color="fg.muted" fontSize="sm">
              {words.help}
            </Text>
            <Clipboard.Root value={sql}>
              <Clipboard.Trigger asChild>
                <Button size="xs" variant="outline">
                  <Clipboard.Indicator copied={words.copied}>{words.copy}</Clipboard.Indicator>
                </Button>
              </Clipboard.Trigger>
            </Clipboard.Root>
            <chakra.pre
              aria-label={words.title} bg="bg.muted" borderRadius="md" fontFamily="mono" fontSize="xs" maxW="full"
              overflowX="auto" p={3} role="region" tabIndex={0} w="full"
            >
              {sql}
            </chakra.pre>
          </Stack>
        )
      }
    </Loaded>
  );
}
