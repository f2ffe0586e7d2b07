import { Text } from "@chakra-ui/react";
import { useState } from "react";
import { ApiProblem } from "../../api/client";
import { type Query, useQuery } from "../../api/use";
import { strings } from "../../strings";
import { Page } from "../../ui/Page";
import { Empty, Loaded } from "../../ui/states";
import { UrlTabs } from "../../ui/UrlTabs";
import { Actions, Told, useActions } from "./Actions";
import { DeadLetters } from "./DeadLetters";
import { Facts } from "./Facts";
import { Lineage } from "./Lineage";
import { Overview } from "./Overview";
import { Revisions } from "./Revisions";
import { Runs, useRuns } from "./Runs";
import { Sql } from "./Sql";
import { pipelineUrl } from "./links";
import type { Pipeline, Status } from "./shapes";

const words = strings.pipeline;
const EVERY_MS = 10_000;

/** One pipeline: what it is, what it did, and what can be done about it. */
export function PipelinePage({ dagId }: { dagId: string }) {
  const pipeline = useQuery<Pipeline>(pipelineUrl(dagId));
  if (isMissing(pipeline.error)) {
    return (
      <Page title={dagId}>
        <Empty title={words.missing}>
          <Text color="fg.muted">{words.missingHelp}</Text>
        </Empty>
      </Page>
    );
  }
  if (pipeline.data) return <Whole pipeline={pipeline.data} query={pipeline} />;
  return (
    <Page title={dagId}>
      <Loaded query={pipeline}>{() => null}</Loaded>
    </Page>
  );
}

interface WholeProps {
  pipeline: Pipeline;
  query: Query<Pipeline>;
}

function Whole({ pipeline, query }: WholeProps) {
  const { dag_id: dagId } = pipeline;
  const why = pipeline.may_edit ? null : words.needsEdit;
  const status = useStatus(pipeline);
  const runs = useRuns(dagId);
  const changed = () => {
    query.reload();
    status.reload();
    runs.reload();
  };
  const acts = useActions(dagId, changed);
  return (
    <Page
      actions={<Actions acts={acts} pipeline={pipeline} status={status.data} why={why} />}
      subtitle={pipeline.description}
      title={dagId}
    >
      <Loaded query={query}>{() => null}</Loaded>
      <Loaded query={status}>{() => null}</Loaded>
      <Told acts={acts} pipeline={pipeline} status={status.data} why={why} />
      <Facts last={runs.data?.runs[0]} pipeline={pipeline} />
      <UrlTabs
        label={dagId}
        tabs={[
          { name: "overview", title: words.tabs.overview, content: () => <Overview pipeline={pipeline} /> },
          { name: "runs", title: words.tabs.runs, content: () => <Runs {...{ pipeline, runs, why }} onChanged={changed} /> },
          { name: "letters", title: words.tabs.letters, content: () => <DeadLetters dagId={dagId} why={why} /> },
          { name: "lineage", title: words.tabs.lineage, content: () => <Lineage pipeline={pipeline} /> },
          { name: "revisions", title: words.tabs.revisions, content: () => <Revisions {...{ pipeline, why }} onChanged={changed} /> },
          { name: "sql", title: words.tabs.sql, content: () => <Sql dagId={dagId} /> },
        ]}
      />
    </Page>
  );
}

/** What Airflow has made of the config; asked for again until it has read the one that is in force. */
function useStatus({ dag_id: dagId, digest }: Pipeline): Query<Status> {
  const [every, setEvery] = useState<number>();
  const status = useQuery<Status>(`${pipelineUrl(dagId)}/status?digest=${digest}`, { every });
  const wanted = status.data && !status.data.current && !status.data.import_error ? EVERY_MS : undefined;
  if (wanted !== every) setEvery(wanted);
  return status;
}

/** Airflow shows the tab on every DAG, also on those that no config made. */
const isMissing = (error: Error | undefined): boolean => error instanceof ApiProblem && error.code === "unknown-pipeline";
