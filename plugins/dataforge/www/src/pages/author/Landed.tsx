import { Alert, Box, Button, Code, HStack, Spinner, Stack, Text } from "@chakra-ui/react";
import { useEffect, useState } from "react";
import { Link } from "react-router-dom";

import type { Forms } from "../../api/client";
import { useQuery } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { RunNow } from "./RunNow";
import type { Status } from "./shapes";
import { configPath } from "./useAuthor";

const words = strings.author;
const ASK_MS = 1_500;
const PATIENCE_MS = 90_000;

/** A config that was put into force. */
export interface Landing {
  file: string;
  digest: string;
  notes: string[];
  unchanged: boolean;
}

/** What became of a deploy: each DAG as soon as Airflow has read it, or Airflow's own error. */
export function Landed({ landing, blocked }: { landing: Landing; blocked: string | null }) {
  const config = useQuery<Forms["ConfigForm"]>(configPath(landing.file));
  return (
    <Stack aria-label={words.landed} as="section" borderRadius="md" borderWidth={1} gap={2} p={3}>
      <Text fontWeight="medium">{landing.unchanged ? words.unchanged : words.deployed(landing.file)}</Text>
      {landing.notes.map((one) => <Text fontSize="sm" key={one}>{one}</Text>)}
      {config.error && <Failure error={config.error} onRetry={config.reload} />}
      {config.data?.dag_ids.map((one) => <Dag blocked={blocked} dagId={one} digest={landing.digest} key={one} />)}
    </Stack>
  );
}

function Dag({ dagId, digest, blocked }: { dagId: string; digest: string; blocked: string | null }) {
  const [waiting, setWaiting] = useState(true);
  const path = `/pipelines/${encodeURIComponent(dagId)}/status?digest=${digest}`;
  const status = useQuery<Status>(path, waiting ? { every: ASK_MS } : {});
  const found = status.data;
  const ended = found !== undefined && (found.current || found.import_error !== null);
  useEffect(() => {
    if (ended) return setWaiting(false);
    const timer = setTimeout(() => setWaiting(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [ended]);
  return (
    <Box>
      {status.error && <Failure error={status.error} onRetry={status.reload} />}
      {!ended && (
        <HStack fontSize="sm" role="status">
          {waiting && <Spinner size="xs" />}
          {waiting ? words.waitsForAirflow(dagId) : words.stillWaiting(dagId)}
          {!waiting && <Button onClick={() => setWaiting(true)} size="2xs" variant="outline">{words.lookAgain}</Button>}
        </HStack>
      )}
      {found?.import_error && (
        <Alert.Root status="error">
          <Alert.Indicator />
          <Alert.Content minW={0}>
            <Alert.Title>{words.airflowSays(dagId)}</Alert.Title>
            <Code as="pre" maxH="16rem" overflow="auto" tabIndex={0} whiteSpace="pre-wrap">{found.import_error}</Code>
          </Alert.Content>
        </Alert.Root>
      )}
      {found?.current && (
        <Stack gap={2}>
          <HStack fontSize="sm" gap={3} role="status" wrap="wrap">
            <Text>{words.parsed(dagId)}</Text>
            <Anchor to={paths.airflow.dag(dagId)}>{words.openDag}</Anchor>
            <Anchor to={paths.pipeline(dagId)}>{words.openPipeline}</Anchor>
          </HStack>
          <RunNow blocked={blocked} dagId={dagId} paused={found.paused === true} />
        </Stack>
      )}
    </Box>
  );
}

function Anchor({ to, children }: { to: string; children: string }) {
  return (
    <Link to={to}>
      <Text as="span" textDecoration="underline">{children}</Text>
    </Link>
  );
}
