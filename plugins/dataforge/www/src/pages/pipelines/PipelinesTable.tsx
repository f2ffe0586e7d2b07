import { Badge, Box, Flex, Link as Anchor, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { Link } from "react-router-dom";
import { paths } from "../../paths";
import { strings } from "../../strings";
import { LetterBadge } from "../../ui/badges";
import { type Column, DataTable } from "../../ui/DataTable";
import { Findings } from "../../ui/Findings";
import { Pager } from "../../ui/Pager";
import { ago } from "../../ui/Time";
import { Actions } from "./Actions";
import type { Listed } from "./listing";
import { LastRuns } from "./LastRuns";
import { Validity } from "./Validity";

const words = strings.pipelines;
const SIZE = 50;

interface PipelinesTableProps {
  pipelines: Listed[];
  reload: () => void;
}

export function PipelinesTable({ pipelines, reload }: PipelinesTableProps) {
  const [open, setOpen] = useState<string | null>(null);
  const [asked, setAsked] = useState(0);
  const offset = asked < pipelines.length ? asked : 0;
  const columns: Column<Listed>[] = [
    { name: "pipeline", header: words.pipeline, cell: (one) => <Name pipeline={one} /> },
    {
      name: "validity",
      header: words.validity,
      cell: (one) => (
        <Validity
          isOpen={open === one.dag_id}
          onToggle={() => setOpen(open === one.dag_id ? null : one.dag_id)}
          pipeline={one}
        />
      ),
    },
    { name: "runs", header: words.runs, cell: (one) => <LastRuns pipeline={one} /> },
    { name: "fresh", header: words.fresh, cell: (one) => freshness(one) },
    { name: "guarantee", header: words.guarantee, cell: (one) => <Guarantee pipeline={one} /> },
    {
      name: "schedule",
      header: words.schedule,
      cell: (one) => (
        <Box maxW="11rem" overflowWrap="anywhere" whiteSpace="normal">
          {schedule(one)}
        </Box>
      ),
    },
    { name: "owner", header: words.owner, cell: (one) => one.owner },
    {
      name: "actions",
      header: words.actions,
      cell: (one) => <Actions onStarted={reload} pipeline={one} />,
    },
  ];
  return (
    <Stack gap={2}>
      <DataTable
        below={(one) =>
          open === one.dag_id && (
            <Box maxW="4xl" whiteSpace="normal">
              {one.import_error && (
                <Text as="pre" fontFamily="mono" fontSize="xs" mb={2} whiteSpace="pre-wrap">
                  {one.import_error}
                </Text>
              )}
              <Findings findings={one.findings} />
            </Box>
          )
        }
        columns={columns}
        keyOf={(one) => one.dag_id}
        label={words.title}
        rows={pipelines.slice(offset, offset + SIZE)}
      />
      <Pager offset={offset} onMove={setAsked} size={SIZE} total={pipelines.length} />
    </Stack>
  );
}

function Name({ pipeline }: { pipeline: Listed }) {
  return (
    <Box maxW="24rem" minW="12rem" whiteSpace="normal">
      <Anchor asChild colorPalette="brand" fontWeight="medium" variant="underline">
        <Link to={paths.pipeline(pipeline.dag_id)}>{pipeline.dag_id}</Link>
      </Anchor>
      {pipeline.paused && (
        <Badge ml={2} variant="outline">
          {words.paused}
        </Badge>
      )}
      <Text color="fg.muted" fontSize="xs">
        {pipeline.description}
      </Text>
      <Text fontSize="xs">
        {pipeline.sources.join(", ")} → {pipeline.destinations.join(", ")}
      </Text>
    </Box>
  );
}

function Guarantee({ pipeline }: { pipeline: Listed }) {
  return (
    <Flex gap={1}>
      {pipeline.delivery.map((one) => (
        <LetterBadge key={one.destination} letter={one.letter} reason={one.reason} />
      ))}
    </Flex>
  );
}

const freshness = ({ freshness_seconds: seconds }: Listed) =>
  seconds === null || seconds === undefined ? strings.common.never : ago(-seconds);

/** A schedule as it is written; one by assets, and what else is no text, in words or as JSON. */
function schedule({ schedule }: Listed): string {
  if (schedule === null) return words.byHand;
  if (typeof schedule === "string") return schedule;
  const asset = (schedule as { asset?: unknown }).asset;
  return typeof asset === "string" ? words.after(asset) : JSON.stringify(schedule);
}
