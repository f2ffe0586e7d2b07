import { Badge, Box, HStack, Input, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useQuery } from "../../api/use";
import type { JsonObject } from "../../draft";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Empty, Loaded } from "../../ui/states";
import { pipelineUrl } from "./links";
import type { LineageColumn, Pipeline } from "./shapes";

const words = strings.pipeline.lineage;

/** Where each column of the destination comes from, and which steps touch it on the way. */
export function Lineage({ pipeline }: { pipeline: Pipeline }) {
  const lineage = useQuery<{ columns: LineageColumn[] }>(`${pipelineUrl(pipeline.dag_id)}/lineage`);
  const [sought, setSought] = useState("");
  return (
    <Loaded query={lineage}>
      {({ columns }) =>
        columns.length === 0 ? (
          <Empty title={words.empty} />
        ) : (
          <Stack gap={3}>
            <Input
              aria-label={words.search}
              maxW="320px"
              onChange={(event) => setSought(event.target.value)}
              placeholder={words.search}
              type="search"
              value={sought}
            />
            <Columns rows={columns.filter((one) => matches(one, sought))} steps={names(pipeline.config)} />
          </Stack>
        )
      }
    </Loaded>
  );
}

function Columns({ rows, steps }: { rows: LineageColumn[]; steps: string[] }) {
  return (
    <DataTable
      columns={[
        { name: "column", header: words.column, cell: (one) => <Text fontWeight="semibold">{one.column}</Text> },
        { name: "type", header: words.type, cell: (one) => <Text color="fg.muted">{one.type}</Text> },
        { name: "from", header: words.from, cell: (one) => <From column={one} /> },
        { name: "steps", header: words.steps, cell: (one) => <Steps indices={one.steps} steps={steps} /> },
      ]}
      empty={words.noMatch}
      keyOf={(one) => one.column}
      label={words.title}
      rows={rows}
    />
  );
}

function From({ column }: { column: LineageColumn }) {
  if (column.from.length === 0) return <Text color="fg.muted">{words.made}</Text>;
  return column.from.map((from) => (
    <Box key={`${from.source} ${from.column}`}>
      <Text as="span" color="fg.muted">{`${from.source} `}</Text>
      {from.column}
    </Box>
  ));
}

function Steps({ indices, steps }: { indices: number[]; steps: string[] }) {
  return (
    <HStack gap={1} wrap="wrap">
      {indices.map((step) => (
        <Badge key={step} variant="surface">{`${step + 1} ${steps[step] ?? ""}`}</Badge>
      ))}
    </HStack>
  );
}

const matches = (one: LineageColumn, sought: string): boolean =>
  [one.column, ...one.from.flatMap((from) => [from.source, from.column])]
    .join(" ")
    .toLowerCase()
    .includes(sought.trim().toLowerCase());

const names = (config: JsonObject): string[] =>
  ((config.transforms ?? []) as readonly JsonObject[]).map((step) => String(step.type ?? ""));
