import { Heading, Stack } from "@chakra-ui/react";
import { strings } from "../../strings";
import { Bar } from "../../ui/Charts";
import { DataTable } from "../../ui/DataTable";
import { money } from "./Usage";
import type { Used } from "./shapes";

const words = strings.settings.usage;

/** What each of several used, with bars to compare them. */
export function UsedTable({ title, rows }: { title: string; rows: Used[] }) {
  const tokens = (one: Used) => one.prompt_tokens + one.completion_tokens;
  const sorted = [...rows].sort((one, other) => tokens(other) - tokens(one));
  const most = sorted[0] ? tokens(sorted[0]) : 0;
  const count = (value: number) => value.toLocaleString("en");
  return (
    <Stack as="section" gap={2}>
      <Heading as="h2" size="sm">
        {title}
      </Heading>
      <DataTable
        columns={[
          { name: "key", header: words.name, cell: (one) => one.key },
          { name: "bar", header: "", cell: (one) => <Bar color="blue.solid" most={most} value={tokens(one)} />, width: "30%" },
          { name: "requests", header: words.requests, numeric: true, cell: (one) => count(one.requests) },
          { name: "prompt", header: words.prompt, numeric: true, cell: (one) => count(one.prompt_tokens) },
          { name: "completion", header: words.completion, numeric: true, cell: (one) => count(one.completion_tokens) },
          { name: "cost", header: words.cost, numeric: true, cell: (one) => money(one.cost) },
        ]}
        keyOf={(one) => one.key}
        label={title}
        rows={sorted}
      />
    </Stack>
  );
}
