import { Button, Flex, Link as Anchor, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link } from "react-router-dom";
import { type Forms, api, newKey } from "../../api/client";
import { useAct } from "../../api/use";
import { paths } from "../../paths";
import { strings } from "../../strings";
import type { Listed } from "./listing";

const words = strings.pipelines;

interface ActionsProps {
  pipeline: Listed;
  onStarted: () => void;
}

/** What can be done with a pipeline from the list; Airflow says who may. */
export function Actions({ pipeline, onStarted }: ActionsProps) {
  const { dag_id: dagId, paused } = pipeline;
  const [run, setRun] = useState<string>();
  const start = useAct(async () => {
    const path = `/pipelines/${encodeURIComponent(dagId)}/runs`;
    const begun = await api<Forms["RunForm"]>(path, { method: "POST", body: { unpause: paused === true }, key: newKey() });
    setRun(begun.run_id);
    onStarted();
  });
  return (
    <>
      <Flex gap={1}>
        {pipeline.may_edit && (
          <Button asChild size="xs" variant="outline">
            <Link aria-label={words.editOf(dagId)} to={paths.edit(pipeline.file)}>
              {words.edit}
            </Link>
          </Button>
        )}
        {pipeline.may_run && pipeline.parsed && (
          <Button
            aria-label={paused ? words.unpauseAndRunOf(dagId) : words.runOf(dagId)}
            loading={start.busy}
            onClick={() => void start.run()}
            size="xs"
            variant="outline"
          >
            {paused ? words.unpauseAndRun : words.runNow}
          </Button>
        )}
        {pipeline.parsed && (
          <Button asChild size="xs" variant="ghost">
            <Link aria-label={words.inAirflowOf(dagId)} to={paths.airflow.dag(dagId)}>
              {words.inAirflow}
            </Link>
          </Button>
        )}
      </Flex>
      <Text aria-live="polite" fontSize="xs">
        {run && (
          <>
            {words.started(dagId)}{" "}
            <Anchor asChild variant="underline">
              <Link to={paths.airflow.run(dagId, run)}>{words.follow}</Link>
            </Anchor>
          </>
        )}
      </Text>
      {start.error && (
        <Text color="fg.error" fontSize="xs" maxW="16rem" role="alert">
          {start.error.message}
        </Text>
      )}
    </>
  );
}
