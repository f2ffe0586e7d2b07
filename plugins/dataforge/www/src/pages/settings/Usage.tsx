import { Grid, HStack, NativeSelect, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useQuery } from "../../api/use";
import { strings } from "../../strings";
import { BarChart } from "../../ui/Charts";
import { Empty, Loaded } from "../../ui/states";
import { UsedTable } from "./UsedTable";
import type { Me, Used } from "./shapes";

const words = strings.settings.usage;
const SPANS = [7, 30, 90, 365];

/** What the language models used: by day, by model, and for whoever looks after all of it, by user. */
export function Usage({ me }: { me: Me }) {
  const [days, setDays] = useState(30);
  const span = `from=${day(days - 1)}&to=${day(0)}`;
  const byDay = useQuery<{ rows: Used[] }>(`/usage?by=day&${span}`);
  const byModel = useQuery<{ rows: Used[] }>(`/usage?by=model&${span}`);
  const byUser = useQuery<{ rows: Used[] }>(me.may_admin ? `/usage?by=user&${span}` : null);
  return (
    <Stack gap={5}>
      <HStack wrap="wrap">
        <Text fontSize="sm" id="usage-span">
          {words.span}
        </Text>
        <NativeSelect.Root maxW="180px" size="sm">
          <NativeSelect.Field
            aria-labelledby="usage-span"
            onChange={(event) => setDays(Number(event.target.value))}
            value={days}
          >
            {SPANS.map((one) => (
              <option key={one} value={one}>
                {words.days(one)}
              </option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
        <Text color="fg.muted" fontSize="sm">
          {me.may_admin ? words.all : words.own}
        </Text>
      </HStack>
      <Loaded query={byDay}>{({ rows }) => <Days days={days} rows={rows} />}</Loaded>
      <Loaded query={byModel}>{({ rows }) => rows.length > 0 && <UsedTable rows={rows} title={words.byModel} />}</Loaded>
      <Loaded query={byUser}>{({ rows }) => rows.length > 0 && <UsedTable rows={rows} title={words.byUser} />}</Loaded>
    </Stack>
  );
}

function Days({ rows, days }: { rows: Used[]; days: number }) {
  if (rows.length === 0) return <Empty description={words.emptyHelp} title={words.empty} />;
  const labels = Array.from({ length: days }, (_, at) => day(days - 1 - at));
  const of = new Map(rows.map((one) => [one.key, one]));
  const values = (read: (one: Used) => number) => labels.map((label) => (of.has(label) ? read(of.get(label) as Used) : 0));
  return (
    <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "repeat(2, minmax(0, 1fr))" }}>
      <BarChart
        labels={labels}
        series={[
          { name: words.prompt, color: "blue.solid", values: values((one) => one.prompt_tokens) },
          { name: words.completion, color: "purple.solid", values: values((one) => one.completion_tokens) },
        ]}
        stacked
        title={words.tokens}
      />
      <BarChart
        format={money}
        labels={labels}
        series={[{ name: words.cost, color: "orange.solid", values: values((one) => one.cost) }]}
        title={words.money}
      />
    </Grid>
  );
}

export const money = (value: number): string => (value === 0 ? "0" : value.toPrecision(value < 1 ? 2 : 4));

/** A day in UTC, as the server counts them. */
const day = (ago: number): string => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
