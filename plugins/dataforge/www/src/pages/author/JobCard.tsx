import { Alert, Box, Button, Code, HStack, Spinner, Text } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import { ApiProblem } from "../../api/client";
import { useAct } from "../../api/use";
import { strings } from "../../strings";
import { Failure } from "../../ui/states";
import { duration } from "../../ui/Time";
import { Outcome } from "./Outcome";
import type { Result } from "./shapes";
import { isAtWork, type Job } from "./job";

const words = strings.author;

interface JobCardProps {
  job: Job;
  cancel: () => Promise<void>;
  /** What comes of the job is told in the conversation, too. */
  hasThread: boolean;
}

/** What is at work: its stage, the model's words as they come, the time it takes, and a way to end it. */
export function JobCard({ job, cancel, hasThread }: JobCardProps) {
  const ending = useAct(cancel);
  if (isAtWork(job)) {
    return (
      <Box borderRadius="md" borderWidth={1} p={3}>
        <HStack role="status" wrap="wrap">
          <Spinner size="sm" />
          <Text fontSize="sm">
            {stageOf(job)} · <Elapsed since={job.since} />
          </Text>
          {!job.online && <Text color="fg.warning" fontSize="sm">{words.lineLost}</Text>}
          <Button loading={ending.busy} ms="auto" onClick={() => void ending.run()} size="xs" variant="outline">
            {words.cancel}
          </Button>
        </HStack>
        {job.words && (
          <Code as="pre" aria-label={words.modelWords} display="block" fontSize="xs" maxH="12rem" mt={2} overflow="auto" overflowWrap="anywhere" p={2} tabIndex={0} whiteSpace="pre-wrap">
            {job.words}
          </Code>
        )}
        {ending.error && <Failure error={ending.error} />}
      </Box>
    );
  }
  if (job.error) return <Failure error={job.error} />;
  if (job.state === "done") return hasThread ? null : <Done job={job} />;
  if (job.state === "failed") return <Failure error={problemOf(job)} />;
  return (
    <Alert.Root status="warning">
      <Alert.Indicator />
      <Alert.Title>{job.state === "cancelled" ? words.cancelled : words.interrupted}</Alert.Title>
    </Alert.Root>
  );
}

function Done({ job }: { job: Job }) {
  if (!job.result) return null;
  return (
    <Box borderRadius="md" borderWidth={1} p={3}>
      <Text fontSize="sm">{repairedWords(job.result)}</Text>
      <Outcome result={job.result} />
    </Box>
  );
}

function repairedWords({ status, fixed, sent }: Result): string {
  if (status === "valid") return words.repaired;
  return fixed?.length || sent?.length ? words.repairedPartly : words.notRepaired;
}

function Elapsed({ since }: { since: number }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  return <span aria-hidden>{duration(Math.max(0, now - since) / 1000)}</span>;
}

/** The first words show that the model has read the request. */
function stageOf(job: Job): string {
  if (job.state === "queued") return words.stages.queued;
  return job.words ? words.stages.writing : words.stages.running[job.kind];
}

const problemOf = ({ result }: Job) =>
  new ApiProblem(422, result?.code ?? "failed", result?.message ?? words.failed, {});
