import { Alert, Button, Link } from "@chakra-ui/react";
import { useState } from "react";
import { Link as RouterLink } from "react-router-dom";
import { api, newKey } from "../../api/client";
import { useAct } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { GatedButton } from "../../ui/GatedButton";
import { Failure } from "../../ui/states";
import { RunParams, paramsOf } from "./RunParams";
import { pipelineUrl } from "./links";
import type { Pipeline, Run, Status } from "./shapes";

const words = strings.pipeline.actions;

/** What can be done with a pipeline, and what came of the last thing that was. */
export function useActions(dagId: string, onChanged: () => void) {
  const [started, setStarted] = useState<Run | null>(null);
  const run = useAct(async (params: Record<string, unknown>, unpause: boolean) => {
    const body = { params, unpause };
    setStarted(await api<Run>(`${pipelineUrl(dagId)}/runs`, { method: "POST", body, key: newKey() }));
    onChanged();
  });
  const pause = useAct(async (paused: boolean) => {
    await api<void>(`${pipelineUrl(dagId)}/pause`, { method: "POST", body: { paused } });
    onChanged();
  });
  return { run, pause, started };
}

type Acts = ReturnType<typeof useActions>;

interface ActionsProps {
  pipeline: Pipeline;
  status: Status | undefined;
  why: string | null;
  acts: Acts;
}

/** Run now, pause, edit; whoever may not is told why. */
export function Actions({ pipeline, status, why, acts }: ActionsProps) {
  const [asking, setAsking] = useState(false);
  const paused = status?.paused ?? null;
  const asleep = status && !status.parsed ? words.notParsed : null;
  const params = paramsOf(pipeline.config);
  const run = (values: Record<string, unknown>) => acts.run.run(values, paused === true).then(() => setAsking(false));
  return (
    <>
      <GatedButton
        colorPalette="brand"
        loading={acts.run.busy}
        onClick={() => (params.length > 0 ? setAsking(true) : void run({}))}
        size="sm"
        why={pipeline.may_run ? asleep : strings.pipeline.needsRun}
      >
        {paused ? words.resumeAndRun : words.run}
      </GatedButton>
      {asking && (
        <RunParams
          busy={acts.run.busy}
          onClose={() => setAsking(false)}
          onRun={(values) => void run(values)}
          params={params}
        />
      )}
      {paused !== null && (
        <GatedButton
          loading={acts.pause.busy}
          onClick={() => void acts.pause.run(!paused)}
          size="sm"
          variant="outline"
          why={pipeline.may_run ? null : why ?? strings.pipeline.needsRun}
        >
          {paused ? words.resume : words.pause}
        </GatedButton>
      )}
      {why === null ? (
        <Button asChild size="sm" variant="outline">
          <RouterLink to={paths.edit(pipeline.file)}>{words.edit}</RouterLink>
        </Button>
      ) : (
        <GatedButton size="sm" variant="outline" why={why}>
          {words.edit}
        </GatedButton>
      )}
    </>
  );
}

/** What Airflow and the last action say. */
export function Told({ pipeline, status, why, acts }: ActionsProps) {
  return (
    <>
      {acts.run.error && <Failure error={acts.run.error} />}
      {acts.pause.error && <Failure error={acts.pause.error} />}
      {why && <Note status="info" text={why} />}
      {status?.import_error && <Note status="error" text={words.importError(status.import_error)} />}
      {status && !status.import_error && !status.parsed && <Note status="info" text={words.notParsed} />}
      {status?.parsed && !status.current && !status.import_error && <Note status="info" text={words.notCurrent} />}
      {status?.paused && <Note status="warning" text={words.isPaused} />}
      {acts.started && (
        <Alert.Root mb={3} role="status" status="success">
          <Alert.Indicator />
          <Alert.Title>
            {words.started}{" "}
            <Link asChild>
              <RouterLink to={paths.airflow.run(pipeline.dag_id, acts.started.run_id)}>{acts.started.run_id}</RouterLink>
            </Link>
          </Alert.Title>
        </Alert.Root>
      )}
    </>
  );
}

function Note({ status, text }: { status: "info" | "warning" | "error"; text: string }) {
  return (
    <Alert.Root mb={3} status={status}>
      <Alert.Indicator />
      <Alert.Description overflowWrap="anywhere" whiteSpace="pre-wrap">
        {text}
      </Alert.Description>
    </Alert.Root>
  );
}
