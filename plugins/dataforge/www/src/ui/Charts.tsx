import { Box, Button, Flex, HStack, Heading, Text, chakra } from "@chakra-ui/react";
import { useId, useState } from "react";
import { strings } from "../strings";
import { DataTable } from "./DataTable";

const words = strings.charts;

/** One measure of a chart: its name, a colour token, and its values in the order of the chart's labels. */
export interface Series {
  name: string;
  color: string;
  values: (number | null)[];
}

interface ChartProps {
  title: string;
  labels: string[];
  series: Series[];
  format?: (value: number) => string;
  /** The bars of a label on each other, and not side by side. */
  stacked?: boolean;
}

type Drawn = Required<ChartProps>;

const HEIGHT = 140;
/** Fewer bars than this don't get wider. */
const FEW = 8;
const plain = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: 1 });

/** Bars side by side or on each other; the same numbers as a table for whoever wants to read them. */
export function BarChart({ title, labels, series, format = plain, stacked = false }: ChartProps) {
  const [asTable, setAsTable] = useState(false);
  const id = useId();
  const drawn = { title, labels, series, format, stacked };
  return (
    <Box aria-labelledby={id} as="figure" borderRadius="md" borderWidth="1px" minW={0} p={4}>
      <Flex align="start" gap={2} justify="space-between" mb={2} wrap="wrap">
        <Heading as="h3" id={id} size="sm">
          {title}
        </Heading>
        <Button aria-pressed={asTable} onClick={() => setAsTable(!asTable)} size="2xs" variant="ghost">
          {asTable ? words.asChart : words.asTable}
        </Button>
      </Flex>
      {asTable ? <Numbers {...drawn} /> : <Picture {...drawn} />}
    </Box>
  );
}

function Picture(drawn: Drawn) {
  const top = topOf(drawn);
  return (
    <>
      <HStack columnGap={4} mb={3} rowGap={1} wrap="wrap">
        {drawn.series.map((one) => (
          <HStack gap={1} key={one.name}>
            <Box aria-hidden bg={one.color} borderRadius="2px" boxSize="10px" />
            <Text color="fg.muted" fontSize="xs">
              {one.name}
            </Text>
          </HStack>
        ))}
      </HStack>
      <Flex gap={2}>
        <Flex aria-hidden direction="column" h={`${HEIGHT}px`} justify="space-between" textAlign="end">
          {[top, top / 2, 0].map((tick) => (
            <Text color="fg.muted" fontSize="2xs" key={tick} lineHeight="1" whiteSpace="nowrap">
              {drawn.format(tick)}
            </Text>
          ))}
        </Flex>
        <Box flex="1" minW={0}>
          <Plot {...drawn} top={top} />
          <Flex aria-hidden gap={2} justify="space-between" mt={1}>
            {[drawn.labels[0], drawn.labels.length >= FEW ? drawn.labels.at(-1) : ""].map((label, at) => (
              <Text color="fg.muted" fontSize="2xs" key={at} truncate>
                {label}
              </Text>
            ))}
          </Flex>
        </Box>
      </Flex>
    </>
  );
}

/** Widths are shares of the space there is: the picture fits any screen without being measured. */
function Plot({ title, labels, series, format, stacked, top }: Drawn & { top: number }) {
  const slot = 100 / Math.max(labels.length, FEW);
  const said = `${title}. ${words.described(labels.length, series.map((one) => one.name))}`;
  return (
    <chakra.svg aria-label={said} height={`${HEIGHT}px`} overflow="visible" role="img" width="100%">
      {[0, 0.5, 1].map((part) => (
        <chakra.line key={part} stroke="border" x1="0" x2="100%" y1={part * HEIGHT} y2={part * HEIGHT} />
      ))}
      {labels.map((label, at) => (
        <g key={`${label} ${at}`}>
          <title>{[label, ...series.map((one) => `${one.name}: ${shown(one.values[at], format)}`)].join("\n")}</title>
          <rect fill="transparent" height={HEIGHT} width={`${slot}%`} x={`${at * slot}%`} y="0" />
          {bars(series, at, top, slot, stacked).map(({ name, color, ...place }) => (
            <chakra.rect fill={color} key={name} rx="1" {...place} />
          ))}
        </g>
      ))}
    </chakra.svg>
  );
}

function Numbers({ title, labels, series, format }: Drawn) {
  return (
    <DataTable
      columns={[
        { name: "label", header: "", cell: (at) => labels[at] },
        ...series.map((one) => ({
          name: one.name,
          header: one.name,
          numeric: true,
          cell: (at: number) => shown(one.values[at], format),
        })),
      ]}
      keyOf={(at) => at}
      label={title}
      maxH="240px"
      rows={labels.map((_, at) => at)}
    />
  );
}

/** A bar beside its number, for tables whose rows are to be compared. */
export function Bar({ value, most, color }: { value: number; most: number; color: string }) {
  return (
    <Box aria-hidden bg="bg.muted" borderRadius="2px" minW="80px" mt="5px">
      <Box bg={color} borderRadius="2px" h="10px" w={`${most ? (100 * value) / most : 0}%`} />
    </Box>
  );
}

function bars(series: Series[], at: number, top: number, slot: number, stacked: boolean) {
  const width = (slot * 0.7) / (stacked ? 1 : series.length);
  let under = 0;
  return series.map((one, nth) => {
    const height = ((one.values[at] ?? 0) / top) * HEIGHT;
    const x = at * slot + slot * 0.15 + (stacked ? 0 : nth * width);
    const y = HEIGHT - height - (stacked ? under : 0);
    under += height;
    return { name: one.name, color: one.color, x: `${x}%`, y, width: `${width}%`, height };
  });
}

/** The end of the axis: the highest bar, rounded up to 1, 2 or 5 times a power of ten. */
function topOf({ series, labels, stacked }: Drawn): number {
  const values = (nth: number) => series.map((one) => one.values[nth] ?? 0);
  const sum = (all: number[]) => all.reduce((one, other) => one + other, 0);
  const most = Math.max(0, ...labels.map((_, nth) => (stacked ? sum(values(nth)) : Math.max(...values(nth)))));
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 5, 10].find((step) => step * power >= most) ?? 10) * power;
}

const shown = (value: number | null | undefined, format: (value: number) => string): string =>
  value === null || value === undefined ? "–" : format(value);
