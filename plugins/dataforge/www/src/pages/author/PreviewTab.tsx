import { Badge, Box, Flex, Heading, NativeSelect, Stack, Text } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import type { Forms } from "../../api/client";
import { readConfig, type Json } from "../../draft";
import { strings } from "../../strings";
import { DataTable } from "../../ui/DataTable";
import { Failure, Loading } from "../../ui/states";
import { effectsOf, type Effect, type Step } from "./steps";
import type { Trial } from "./Trying";
import { usePost } from "./usePost";

const words = strings.author;
const AMOUNTS = [5, 10, 25, 50];

/** Sample rows after every step, and what each step changed; nothing is written. */
export function PreviewTab({ text, file, dagId, onSteps }: Trial & { onSteps: (steps: Step[]) => void }) {
  const [rows, setRows] = useState(10);
  const found = usePost<Forms["PreviewForm"]>("/preview", { text, file, dag_id: dagId, rows });
  const steps = found.data?.steps;
  useEffect(() => {
    if (steps) onSteps(steps);
  }, [steps, onSteps]);
  const effects = effectsOf(readConfig(text) ?? {}, steps ?? []);
  return (
    <Stack gap={5}>
      <Flex align="center" gap={2}>
        <NativeSelect.Root size="xs" w="auto">
          <NativeSelect.Field aria-label={words.sampleRows} onChange={(event) => setRows(Number(event.target.value))} value={rows}>
            {AMOUNTS.map((one) => (
              <option key={one} value={one}>
                {words.rowsEach(one)}
              </option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
        <Text color="fg.muted" fontSize="xs">{words.previewHelp}</Text>
      </Flex>
      {found.error && <Failure error={found.error} onRetry={found.reload} />}
      {found.loading && <Loading label={words.reading} />}
      {found.data?.notes.map((one) => <Text fontSize="sm" key={one}>{one}</Text>)}
      {steps?.map((step, at) => (
        <StepRows effect={effects[at] ?? null} key={step.name} step={step} />
      ))}
      {found.data && found.data.checks.length > 0 && <CheckResults checks={found.data.checks} />}
    </Stack>
  );
}

function StepRows({ step, effect }: { step: Step; effect: Effect | null }) {
  const cells = step.rows.map((row, at) => ({ row: row as Record<string, Json>, at }));
  const added = new Set(effect && step.added);
  return (
    <Box>
      <Flex align="baseline" gap={2} mb={2} wrap="wrap">
        <Heading as="h3" size="sm">{step.name}</Heading>
        <Text color="fg.muted" fontSize="sm">{words.rowsAfter(step.row_count)}</Text>
        {effect && <Effects effect={effect} step={step} />}
      </Flex>
      <DataTable
        columns={Object.entries(step.columns).map(([name, type]) => ({
          name,
          header: (
            <>
              {name} <Text as="span" color="fg.muted" fontSize="2xs" fontWeight="normal">{type}</Text>
              {added.has(name) && <Badge colorPalette="green" ms={1} size="xs">{words.new}</Badge>}
            </>
          ),
          cell: ({ row, at }) => <Cell changed={effect?.changed.has(`${at} ${name}`) ?? false} value={row[name]} />,
        }))}
        empty={words.noRows}
        keyOf={({ at }) => at}
        label={words.rowsOf(step.name)}
        maxH="20rem"
        rows={cells}
      />
    </Box>
  );
}

function Cell({ value, changed }: { value: Json | undefined; changed: boolean }) {
  const shown = value === null || value === undefined ? "null" : typeof value === "string" ? value : JSON.stringify(value);
  return (
    <Text as={changed ? "mark" : "span"} bg={changed ? "green.subtle" : undefined} color={value === null ? "fg.muted" : "fg"} fontSize="xs" whiteSpace="nowrap">
      {shown.length > 120 ? `${shown.slice(0, 120)}…` : shown}
    </Text>
  );
}

function Effects({ effect: { rows, altered }, step: { added, removed, retyped } }: { effect: Effect; step: Step }) {
  const isSame = !rows && !added.length && !removed.length && !retyped.length && !altered;
  if (isSame) return <Badge colorPalette="gray">{words.sameRows}</Badge>;
  return (
    <>
      {rows !== 0 && <Badge colorPalette={rows < 0 ? "orange" : "green"}>{words.rowsDelta(rows)}</Badge>}
      {added.length > 0 && <Badge colorPalette="green">+ {added.join(", ")}</Badge>}
      {removed.length > 0 && <Badge colorPalette="orange">− {removed.join(", ")}</Badge>}
      {retyped.length > 0 && <Badge colorPalette="blue">{retyped.join(", ")}</Badge>}
      {altered > 0 && <Badge colorPalette="blue">{words.cellsChanged(altered)}</Badge>}
    </>
  );
}

function CheckResults({ checks }: { checks: Forms["CheckForm"][] }) {
  return (
    <Box>
      <Heading as="h3" mb={2} size="sm">{words.checks}</Heading>
      <Stack gap={1}>
        {checks.map((one, at) => (
          <Flex fontSize="sm" gap={2} key={at}>
            <Badge colorPalette={one.passed ? "green" : "red"}>{one.passed ? words.passed : words.broken}</Badge>
            {words.checkOf(one.check, one.violations, one.checked)}
          </Flex>
        ))}
      </Stack>
    </Box>
  );
}
