import { Badge, Heading, List, Stack, Text } from "@chakra-ui/react";

import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Failure, Loading } from "../../ui/states";
import type { Trial } from "./Trying";
import { usePost } from "./usePost";

const words = strings.author;

interface Load {
  target: string;
  rows: number;
  created: boolean;
  inserted: number;
  updated: number;
  deleted: number;
  rejected: number;
  schema_changes: unknown[];
  schema_notes: string[];
}

interface Plan {
  read: Record<string, number>;
  loads: Load[];
  checks: { check: string; passed: boolean; message: string }[];
}

const COUNTS = ["rows", "inserted", "updated", "deleted", "rejected"] as const;

/** What a run would change now in its destinations; nothing is written. */
export function PlanTab({ text, file, dagId }: Trial) {
  const found = usePost<Plan>("/plan", { text, file, dag_id: dagId });
  return (
    <Stack gap={4}>
      <Text color="fg.muted" fontSize="sm">{words.planHelp}</Text>
      {found.error && <Failure error={found.error} onRetry={found.reload} />}
      {found.loading && <Loading label={words.planning} />}
      {found.data && (
        <>
          <Text fontSize="sm">
            {Object.entries(found.data.read).map(([source, rows]) => words.readFrom(source, rows)).join(" ")}
          </Text>
          <DataTable
            below={(one) => (one.schema_changes.length + one.schema_notes.length > 0 ? <Schema load={one} /> : null)}
            columns={[
              { name: "target", header: words.target, cell: (one) => <Target load={one} /> },
              ...COUNTS.map((name) => ({ name, header: words.counts[name], numeric: true, cell: (one: Load) => one[name].toLocaleString("en") })),
            ]}
            keyOf={(one) => one.target}
            label={words.tabs.plan}
            rows={found.data.loads}
          />
          {found.data.checks.length > 0 && <Heading as="h3" size="sm">{words.checks}</Heading>}
          <List.Root gap={1} listStyle="none">
            {found.data.checks.map((one, at) => (
              <List.Item fontSize="sm" key={at}>
                <Badge colorPalette={one.passed ? "green" : "red"} me={2}>{one.passed ? words.passed : words.broken}</Badge>
                {one.check}: {one.message}
              </List.Item>
            ))}
          </List.Root>
        </>
      )}
    </Stack>
  );
}

function Target({ load }: { load: Load }) {
  return (
    <Text minW="12rem" overflowWrap="anywhere" whiteSpace="normal">
      {load.target} {load.created && <Badge>{words.isNew}</Badge>}
    </Text>
  );
}

function Schema({ load }: { load: Load }) {
  const changes = load.schema_changes.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
  return <Text fontSize="xs">{words.schemaChanges} {[...changes, ...load.schema_notes].join("; ")}</Text>;
}
