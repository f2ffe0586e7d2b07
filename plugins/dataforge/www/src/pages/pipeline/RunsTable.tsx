import { Flex, HStack, Link } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { StateBadge } from "../../ui/badges";
import { type Column, DataTable } from "../../ui/DataTable";
import { GatedButton } from "../../ui/GatedButton";
import { Time, duration } from "../../ui/Time";
import type { Run } from "./shapes";

const words = strings.pipeline.runs;

interface RunsTableProps {
  dagId: string;
  runs: Run[];
  why: string | null;
  onFix: (run: string) => void;
}

/** The runs, the newest first, each with its stages and links to Airflow's logs. */
export function RunsTable({ dagId, runs, why, onFix }: RunsTableProps) {
  const columns: Column<Run>[] = [
    { name: "start", header: words.started, cell: (run) => <Start dagId={dagId} run={run} /> },
    { name: "state", header: words.state, cell: (run) => <State onFix={onFix} run={run} why={why} /> },
    { name: "type", header: words.type, cell: (run) => run.run_type },
    { name: "took", header: words.took, numeric: true, cell: (run) => (run.seconds === null ? "–" : duration(run.seconds)) },
    { name: "read", header: words.read, numeric: true, cell: (run) => count(run.rows_in) },
    { name: "written", header: words.written, numeric: true, cell: (run) => count(run.rows_out) },
    { name: "rejected", header: words.rejected, numeric: true, cell: (run) => count(run.rejected) },
    { name: "logs", header: words.logs, cell: (run) => <Logs dagId={dagId} run={run} /> },
  ];
  return <DataTable columns={columns} keyOf={(run) => run.run_id} label={words.title} rows={runs} />;
}

function Start({ dagId, run }: { dagId: string; run: Run }) {
  return (
    <Link asChild whiteSpace="nowrap">
      <RouterLink to={paths.airflow.run(dagId, run.run_id)}>{run.start ? <Time at={run.start} /> : words.notStarted}</RouterLink>
    </Link>
  );
}

function State({ run, why, onFix }: { run: Run } & Pick<RunsTableProps, "why" | "onFix">) {
  if (run.state !== "failed") return <StateBadge state={run.state} />;
  return (
    <HStack>
      <StateBadge state={run.state} />
      <GatedButton aria-label={words.fixOf(run.run_id)} onClick={() => onFix(run.run_id)} size="2xs" variant="outline" why={why}>
        {words.fix}
      </GatedButton>
    </HStack>
  );
}

function Logs({ dagId, run }: { dagId: string; run: Run }) {
  return (
    <Flex columnGap={3} wrap="wrap">
      {run.stages.map((stage) => (
        <Link asChild color={stage.state === "failed" ? "red.fg" : undefined} key={stage.task_id} whiteSpace="nowrap">
          <RouterLink to={paths.airflow.task(dagId, run.run_id, stage.task_id)}>
            {stage.state === "failed" ? words.failedLog(stage.task_id) : stage.task_id}
          </RouterLink>
        </Link>
      ))}
    </Flex>
  );
}

const count = (value: number | null): string => value?.toLocaleString("en") ?? "–";
