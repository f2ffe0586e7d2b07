import { Alert, Button, Card, Code, HStack, Heading, Spinner, Stack, Text, chakra } from "@chakra-ui/react";
import { ApiProblem } from "../../api/client";
import { strings } from "../../strings";
import { Findings } from "../../ui/Findings";
import { Failure } from "../../ui/states";
import { Proposal } from "./Proposal";
import type { Pipeline, Repaired } from "./shapes";
import { type Job, useJob } from "./useJob";

const words = strings.pipeline.fix;

interface Props {
  pipeline: Pipeline;
  run: string;
  onClose: () => void;
  onChanged: () => void;
}

/** Reads the masked log of a failed run, says what happened, and proposes a change to accept or to reject. */
export function FixRun({ pipeline, run, onClose, onChanged }: Props) {
  const job = useJob({ kind: "repair", dag_id: pipeline.dag_id, run_id: run });
  const busy = !job.end && !job.error;
  return (
    <Card.Root aria-label={words.title(run)} as="section" ref={show} size="sm" tabIndex={-1}>
      <Card.Header flexDirection="row" justifyContent="space-between" gap={3} flexWrap="wrap">
        <Heading as="h3" size="sm">
          {words.title(run)}
        </Heading>
        <HStack>
          {busy && (
            <Button size="xs" variant="outline" onClick={job.cancel} disabled={!job.stage}>
              {words.cancel}
            </Button>
          )}
          <Button size="xs" variant="ghost" onClick={onClose}>
            {words.close}
          </Button>
        </HStack>
      </Card.Header>
      <Card.Body fontSize="sm" gap={4}>
        {busy && <Working job={job} />}
        {job.error && <Failure error={job.error} />}
        {job.end?.kind === "done" && (
          <Outcome {...{ pipeline, run, onChanged }} repaired={job.end.data as unknown as Repaired} />
        )}
        {job.end && job.end.kind !== "done" && <Ended job={job} />}
      </Card.Body>
    </Card.Root>
  );
}

/** It opens far from the row whose button was pressed: lead eyes and screen readers to it. */
const show = (card: HTMLElement | null): void => card?.focus();

function Working({ job }: { job: Job }) {
  return (
    <Stack gap={2} aria-live="polite">
      <HStack>
        <Spinner size="sm" />
        <Text>{job.line ? words.stage(job.stage) : words.lineLost}</Text>
      </HStack>
      {job.said && (
        <chakra.pre fontSize="xs" whiteSpace="pre-wrap" maxH="160px" overflowY="auto" bg="bg.muted" p={2} tabIndex={0}>
          {job.said}
        </chakra.pre>
      )}
    </Stack>
  );
}

function Ended({ job }: { job: Job }) {
  const { code = "", message = "", status = 0 } = (job.end?.data ?? {}) as { code?: string; message?: string; status?: number };
  if (job.end?.kind === "failed") return <Failure error={new ApiProblem(status, code, message)} />;
  return <Text color="fg.muted">{message || words.cancelled}</Text>;
}

/** What the log says, and the change that would mend the config. */
function Outcome({ pipeline, run, repaired, onChanged }: Omit<Props, "onClose"> & { repaired: Repaired }) {
  return (
    <Stack gap={4}>
      {repaired.failure && (
        <Alert.Root status="info" alignItems="start">
          <Alert.Indicator />
          <Alert.Content>
            <Alert.Title>{words.happened}</Alert.Title>
            <Alert.Description overflowWrap="anywhere">
              <Text>{repaired.failure.explanation}</Text>
              {repaired.failure.errors.slice(0, -1).map((error, at) => (
                <Text fontFamily="mono" fontSize="xs" key={at} lineClamp={3} mt={1}>
                  {error}
                </Text>
              ))}
            </Alert.Description>
          </Alert.Content>
        </Alert.Root>
      )}
      {repaired.failure?.log && (
        <details>
          <chakra.summary cursor="pointer">{words.log}</chakra.summary>
          <Code as="pre" display="block" whiteSpace="pre-wrap" p={2} mt={2} maxH="240px" overflowY="auto" tabIndex={0}>
            {repaired.failure.log}
          </Code>
        </details>
      )}
      {repaired.notes.map((note) => (
        <Text key={note}>{note}</Text>
      ))}
      <Findings findings={[...repaired.findings, ...repaired.advice]} />
      <Proposal {...{ pipeline, run, onChanged }} after={repaired.config} />
    </Stack>
  );
}
