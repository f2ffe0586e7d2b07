import { Box, HStack, List, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link } from "react-router-dom";

import { api, newKey } from "../../api/client";
import { useAct, useQuery } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { StateBadge } from "../../ui/badges";
import { Failure } from "../../ui/states";
import { GatedButton } from "../../ui/GatedButton";
import { duration } from "../../ui/Time";
import type { Run } from "./shapes";

const words = strings.author;
const ASK_MS = 2_000;
const UNDER_WAY = new Set(["queued", "running", "scheduled", "restarting"]);

/** Starts a run and follows it, task by task. */
export function RunNow({ dagId, paused, blocked }: { dagId: string; paused: boolean; blocked: string | null }) {
  const [started, setStarted] = useState<Run | null>(null);
  const path = `/pipelines/${encodeURIComponent(dagId)}/runs`;
  const [last, setLast] = useState<string>("");
  const isOver = last !== "" && !UNDER_WAY.has(last);
  const runs = useQuery<{ runs: Run[] }>(started ? `${path}?limit=5` : null, isOver ? {} : { every: ASK_MS });
  const act = useAct(async () => {
    setLast("");
    setStarted(await api<Run>(path, { method: "POST", body: { params: {}, unpause: paused }, key: newKey() }));
  });
  const run = runs.data?.runs.find((one) => one.run_id === started?.run_id) ?? started;
  if (run && run.state !== last) setLast(run.state);
  return (
    <Box>
      <HStack wrap="wrap">
        <GatedButton loading={act.busy} onClick={() => void act.run()} size="xs" variant="outline" why={blocked ?? (started && !isOver ? words.runAtWork : null)}>
          {paused ? words.unpauseAndRun : words.runNow}
        </GatedButton>
        {run && <StateBadge state={run.state} />}
        {run?.seconds != null && <Text fontSize="sm">{duration(run.seconds)}</Text>}
        {run && isOver && <Text fontSize="sm">{words.runRows(run.rows_in, run.rows_out, run.rejected)}</Text>}
        {run && (
          <Link to={paths.airflow.run(dagId, run.run_id)}>
            <Text as="span" fontSize="sm" textDecoration="underline">{words.openRun}</Text>
          </Link>
        )}
      </HStack>
      {(act.error ?? runs.error) && <Failure error={(act.error ?? runs.error) as Error} />}
      {run && (
        <List.Root gap={1} listStyle="none" mt={2}>
          {run.stages.map((one) => (
            <List.Item fontSize="sm" key={one.task_id}>
              <StateBadge state={one.state} /> {one.task_id} {one.seconds != null && duration(one.seconds)}
            </List.Item>
          ))}
        </List.Root>
      )}
    </Box>
  );
}
