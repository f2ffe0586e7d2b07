import { Grid, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { type Query, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { BarChart } from "../../ui/Charts";
import { Empty, Loaded } from "../../ui/states";
import { duration } from "../../ui/Time";
import { FixRun } from "./FixRun";
import { RunsTable } from "./RunsTable";
import { pipelineUrl } from "./links";
import type { Pipeline, Run } from "./shapes";

const words = strings.pipeline.runs;
const UNDER_WAY = new Set(["queued", "running"]);
const COLORS = ["purple.solid", "cyan.solid", "orange.solid", "pink.solid", "yellow.solid", "gray.solid"];
const EVERY_MS = 10_000;

/** Ask for the last runs; again every few seconds while one is under way, and else only when told to. */
export function useRuns(dagId: string): Query<{ runs: Run[] }> {
  const [every, setEvery] = useState<number>();
  const runs = useQuery<{ runs: Run[] }>(`${pipelineUrl(dagId)}/runs?limit=25`, { every });
  const wanted = runs.data?.runs.some((run) => UNDER_WAY.has(run.state)) ? EVERY_MS : undefined;
  if (wanted !== every) setEvery(wanted);
  return runs;
}

interface RunsProps {
  pipeline: Pipeline;
  runs: Query<{ runs: Run[] }>;
  why: string | null;
  onChanged: () => void;
}

/** What the last runs did: rows and seconds as charts, each run in a table, and help with the failed ones. */
export function Runs({ pipeline, runs, why, onChanged }: RunsProps) {
  const [fixing, setFixing] = useState<string | null>(null);
  return (
    <Loaded query={runs}>
      {({ runs: found }) =>
        found.length === 0 ? (
          <Empty title={words.empty}>
            <Text color="fg.muted">{words.emptyHelp}</Text>
          </Empty>
        ) : (
          <Stack gap={4}>
            {fixing && <FixRun {...{ pipeline, onChanged }} key={fixing} onClose={() => setFixing(null)} run={fixing} />}
            <RunCharts runs={[...found].reverse()} />
            <RunsTable dagId={pipeline.dag_id} onFix={setFixing} runs={found} why={why} />
          </Stack>
        )
      }
    </Loaded>
  );
}

function RunCharts({ runs }: { runs: Run[] }) {
  const labels = runs.map((run) => (run.start ? new Date(run.start).toLocaleString("en-GB") : run.run_id));
  const stages = [...new Set(runs.flatMap((run) => run.stages.map((stage) => stage.task_id)))];
  const seconds = (run: Run, task: string) => run.stages.find((one) => one.task_id === task)?.seconds ?? null;
  return (
    <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "repeat(2, minmax(0, 1fr))" }}>
      <BarChart
        labels={labels}
        series={[
          { name: words.read, color: "blue.solid", values: runs.map((run) => run.rows_in) },
          { name: words.written, color: "green.solid", values: runs.map((run) => run.rows_out) },
          { name: words.rejected, color: "red.solid", values: runs.map((run) => run.rejected) },
        ]}
        title={words.rows}
      />
      <BarChart
        format={duration}
        labels={labels}
        series={stages.map((task, at) => ({
          name: task,
          color: COLORS[at % COLORS.length] ?? "gray.solid",
          values: runs.map((run) => seconds(run, task)),
        }))}
        stacked
        title={words.seconds}
      />
    </Grid>
  );
}
