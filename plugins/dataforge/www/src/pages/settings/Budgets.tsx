import { Heading, Stack, Text } from "@chakra-ui/react";
import { strings } from "../../strings";
import { Bar } from "../../ui/Charts";
import { DataTable } from "../../ui/DataTable";
import { Time } from "../../ui/Time";
import { money } from "./Usage";
import type { Me } from "./shapes";

const words = strings.settings.budgets;

type Budget = Me["budgets"][number];

/** What the language models may still use, for this person and for all. */
export function Budgets({ budgets }: { budgets: Budget[] }) {
  const amount = (one: Budget, value: number) => (one.unit === "money" ? money(value) : value.toLocaleString("en"));
  return (
    <Stack as="section" gap={2} mt={6}>
      <Heading as="h2" size="sm">
        {words.title}
      </Heading>
      <Text color="fg.muted" fontSize="sm">
        {budgets.length > 0 ? words.help : words.none}
      </Text>
      {budgets.length > 0 && (
        <DataTable
          columns={[
            { name: "of", header: words.of, cell: (one) => words.names[one.scope][one.unit] },
            { name: "bar", header: "", cell: (one) => <Bar color={barColor(one)} most={one.most} value={Math.min(one.used, one.most)} />, width: "25%" },
            { name: "used", header: words.used, numeric: true, cell: (one) => amount(one, one.used) },
            { name: "most", header: words.most, numeric: true, cell: (one) => amount(one, one.most) },
            { name: "left", header: words.left, numeric: true, cell: (one) => amount(one, one.left) },
            { name: "ends", header: words.ends, cell: (one) => <Time at={one.ends_at} /> },
          ]}
          keyOf={(one) => `${one.scope} ${one.unit}`}
          label={words.title}
          rows={budgets}
        />
      )}
    </Stack>
  );
}

const barColor = (one: Budget): string => (one.left === 0 ? "red.solid" : one.left < one.most / 10 ? "orange.solid" : "blue.solid");
