import { DataList, HStack, Link, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { Link as RouterLink } from "react-router-dom";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { LetterBadge, StateBadge, ValidityBadge } from "../../ui/badges";
import { Time } from "../../ui/Time";
import { showAs } from "./links";
import type { Pipeline, Run } from "./shapes";

const words = strings.pipeline.facts;

/** What one wants to know first: whether it is valid, what it promises, whose it is, when it runs; ways into Airflow. */
export function Facts({ pipeline, last }: { pipeline: Pipeline; last: Run | undefined }) {
  const { dag_id: dagId } = pipeline;
  return (
    <DataList.Root
      borderRadius="md"
      borderWidth="1px"
      display="grid"
      gap={4}
      gridTemplateColumns={{ base: "repeat(2, minmax(0, 1fr))", md: "repeat(5, minmax(0, 1fr))" }}
      mb={5}
      orientation="vertical"
      p={4}
      size="sm"
    >
      <Fact name={words.validity}>
        <ValidityBadge findings={pipeline.findings} valid={pipeline.valid} />
      </Fact>
      <Fact name={words.owner}>{pipeline.owner || words.nobody}</Fact>
      <Fact name={words.schedule}>{pipeline.schedule === null ? words.byHand : scheduleText(pipeline.schedule)}</Fact>
      {last && (
        <Fact name={words.lastRun}>
          <HStack rowGap={0} wrap="wrap">
            <StateBadge state={last.state} />
            {last.start && <Time at={last.start} />}
          </HStack>
        </Fact>
      )}
      <Fact name={words.file}>{pipeline.file}</Fact>
      <Fact name={words.guarantee} wide>
        {pipeline.delivery.map((one) => (
          <Text key={one.destination}>
            <LetterBadge letter={one.letter} reason={one.reason} /> {one.words}
            <Text as="span" color="fg.muted">{` – ${one.reason}`}</Text>
          </Text>
        ))}
      </Fact>
      <Fact name={words.airflow} wide>
        <HStack gap={4} wrap="wrap">
          <Way onGo={() => showAs("grid")} to={paths.airflow.dag(dagId)}>
            {words.grid}
          </Way>
          <Way onGo={() => showAs("graph")} to={paths.airflow.dag(dagId)}>
            {words.graph}
          </Way>
          <Way to={paths.airflow.runs(dagId)}>{words.runs}</Way>
          {last && <Way to={logsOf(dagId, last)}>{words.logs}</Way>}
        </HStack>
      </Fact>
    </DataList.Root>
  );
}

function Fact({ name, children, wide = false }: { name: string; children: ReactNode; wide?: boolean }) {
  return (
    <DataList.Item gridColumn={wide ? "1 / -1" : undefined}>
      <DataList.ItemLabel>{name}</DataList.ItemLabel>
      <DataList.ItemValue alignItems="start" flexDirection="column" gap={1} overflowWrap="anywhere">
        {children}
      </DataList.ItemValue>
    </DataList.Item>
  );
}

function Way({ to, onGo, children }: { to: string; onGo?: () => void; children: ReactNode }) {
  return (
    <Link asChild textDecoration="underline">
      <RouterLink onClick={onGo} to={to}>
        {children}
      </RouterLink>
    </Link>
  );
}

const scheduleText = (schedule: unknown): string => (typeof schedule === "string" ? schedule : JSON.stringify(schedule));

/** The log of the task that failed, or of the last one. */
function logsOf(dagId: string, run: Run): string {
  const task = run.stages.find((one) => one.state === "failed") ?? run.stages.at(-1);
  return task ? paths.airflow.task(dagId, run.run_id, task.task_id) : paths.airflow.run(dagId, run.run_id);
}
