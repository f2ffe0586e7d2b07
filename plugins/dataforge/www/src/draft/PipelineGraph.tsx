import { Box, Flex, Table, Text } from "@chakra-ui/react";
import { useState } from "react";
import { strings } from "../strings";
import { draw, graphOf, inputsAt, NODE, type GraphNode, type PlacedNode } from "./graph";
import { within } from "./json/value";
import type { Columns, Finding, PipelineGraphProps } from "./types";

const words = strings.draft;
const NO_COLUMNS: Columns = {};
const palettes = { source: "blue", transform: "gray", check: "orange", destination: "green" } as const;

/** The pipeline as a picture: what reads what, and which columns the step gives that was pointed at last. */
export function PipelineGraph({
  config,
  columns = NO_COLUMNS,
  findings = [],
  selected = null,
  onSelect,
}: PipelineGraphProps) {
  const [pointed, setPointed] = useState<string | null>(null);
  const nodes = graphOf(config);
  if (!nodes.length) return <Text color="fg.muted">{words.graphEmpty}</Text>;
  const picture = draw(nodes);
  const titles = new Map(nodes.map((node) => [node.pointer, node.title]));
  const shown =
    nodes.find(({ pointer }) => pointer === (pointed ?? selected)) ?? nodes.find(({ pointer }) => pointer === selected);
  const columnsOf = (node: GraphNode) => columns[node.pointer] ?? columns[inputsAt(config, node.pointer)[0] ?? ""];
  const lit = shown?.pointer;
  return (
    <Flex align="start" direction={{ base: "column", lg: "row" }} gap={4}>
      <Box flex={1} maxW="full" minW={0} overflowX="auto" width="full">
        <svg
          aria-label={words.graph}
          height={picture.height}
          role="group"
          style={{ display: "block", margin: "0 auto" }}
          viewBox={`0 0 ${picture.width} ${picture.height}`}
          width={picture.width}
        >
          {picture.edges.map((edge) => (
            <path
              aria-hidden
              d={edge.path}
              fill="none"
              key={`${edge.from} ${edge.to}`}
              stroke={
                edge.from === lit || edge.to === lit
                  ? "var(--chakra-colors-fg-muted)"
                  : "var(--chakra-colors-border-emphasized)"
              }
              strokeWidth={edge.from === lit || edge.to === lit ? 2 : 1.5}
            />
          ))}
          {picture.nodes.map((node) => (
            <Node
              findings={findings.filter(({ pointer }) => within(pointer, node.pointer))}
              key={node.pointer}
              names={node.reads.map((pointer) => titles.get(pointer) ?? pointer)}
              node={node}
              onPoint={setPointed}
              onSelect={onSelect}
              selected={node.pointer === selected}
              columns={columns[node.pointer]}
            />
          ))}
        </svg>
        <Text color="fg.muted" fontSize="xs" mt={2}>
          {words.graphHint}
        </Text>
      </Box>
      {shown && <ColumnList columns={columnsOf(shown)} node={shown} own={columns[shown.pointer] !== undefined} />}
    </Flex>
  );
}

interface NodeProps {
  readonly node: PlacedNode;
  readonly names: readonly string[];
  readonly columns: Readonly<Record<string, string>> | undefined;
  readonly findings: readonly Finding[];
  readonly selected: boolean;
  readonly onPoint: (pointer: string) => void;
  readonly onSelect?: (pointer: string) => void;
}

function Node({ node, names, columns, findings, selected, onPoint, onSelect }: NodeProps) {
  const worst = findings.some(({ severity }) => severity === "error") ? "red" : findings.length ? "orange" : null;
  const color = (token: string): string => `var(--chakra-colors-${palettes[node.kind]}-${token})`;
  const edge = worst
    ? `var(--chakra-colors-${worst}-solid)`
    : selected
      ? "var(--chakra-colors-brand-solid)"
      : color("muted");
  const select = (): void => onSelect?.(node.pointer);
  const told = [
    `${nameOf(node)}: ${node.type}.`,
    node.summary && `${node.summary}.`,
    names.length > 0 && words.reads(names.join(", ")),
    columns && `${words.columns(Object.keys(columns).length)}: ${Object.keys(columns).join(", ")}.`,
    findings.length > 0 && `${words.findings(findings.length)}.`,
  ];
  return (
    <Box
      asChild
      _focusVisible={{ outline: "2px solid", outlineColor: "brand.focusRing", outlineOffset: "1px" }}
      cursor={onSelect ? "pointer" : "default"}
    >
      <g
        aria-label={told.filter(Boolean).join(" ")}
        aria-pressed={onSelect ? selected : undefined}
        onClick={select}
        onFocus={() => onPoint(node.pointer)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          select();
        }}
        onMouseEnter={() => onPoint(node.pointer)}
        role={onSelect ? "button" : "img"}
        tabIndex={0}
        transform={`translate(${node.x} ${node.y})`}
      >
        <rect
          fill={color("subtle")}
          height={NODE.height}
          rx="6"
          stroke={edge}
          strokeWidth={selected || worst ? 2 : 1}
          width={NODE.width}
        />
        <text fill={color("fg")} style={{ fontSize: 11 }} x="12" y="18">
          {cut(nameOf(node), 22)}
        </text>
        <text fill="var(--chakra-colors-fg)" style={{ fontSize: 14, fontWeight: 600 }} x="12" y="35">
          {cut(node.type || node.title, 22)}
        </text>
        <text fill="var(--chakra-colors-fg-muted)" style={{ fontSize: 11 }} x="12" y="51">
          {cut(node.summary, 32)}
        </text>
        <text
          fill={worst ? `var(--chakra-colors-${worst}-fg)` : "var(--chakra-colors-fg-muted)"}
          style={{ fontSize: 11 }}
          textAnchor="end"
          x={NODE.width - 10}
          y="18"
        >
          {findings.length
            ? words.findings(findings.length)
            : columns
              ? words.columns(Object.keys(columns).length)
              : ""}
        </text>
      </g>
    </Box>
  );
}

/** "Source orders", "Transform 2", "Transform late". */
function nameOf({ kind, title }: GraphNode): string {
  const word = words.nodeKinds[kind];
  return title.toLowerCase().startsWith(word.toLowerCase()) ? word + title.slice(word.length) : `${word} ${title}`;
}

const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function ColumnList({
  node,
  columns,
  own,
}: {
  node: GraphNode;
  columns: Readonly<Record<string, string>> | undefined;
  own: boolean;
}) {
  const name = nameOf(node);
  const title = !columns ? name : own ? words.columnsOf(name) : words.columnsRead(name);
  return (
    <Box
      aria-label={title}
      bg="bg"
      borderTopWidth={{ base: "1px", lg: 0 }}
      bottom={{ base: 0, lg: "auto" }}
      flexShrink={0}
      maxH={{ base: "40vh", lg: "80vh" }}
      overflowY="auto"
      position="sticky"
      pt={{ base: 2, lg: 0 }}
      role="region"
      tabIndex={0}
      top={{ base: "auto", lg: 4 }}
      width={{ base: "full", lg: "13rem" }}
    >
      <Text fontSize="sm" fontWeight="medium">
        {title}
      </Text>
      <Text color="fg.muted" fontSize="xs" overflowWrap="anywhere">
        {[node.type, node.summary].filter(Boolean).join(": ")}
      </Text>
      {!columns && (
        <Text color="fg.muted" fontSize="sm" mt={2}>
          {words.noColumns}
        </Text>
      )}
      {columns && (
        <Table.Root mt={2} size="sm">
          <Table.Header>
            <Table.Row>
              <Table.ColumnHeader>{words.columnName}</Table.ColumnHeader>
              <Table.ColumnHeader>{words.columnType}</Table.ColumnHeader>
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {Object.entries(columns).map(([column, type]) => (
              <Table.Row key={column}>
                <Table.Cell overflowWrap="anywhere">{column}</Table.Cell>
                <Table.Cell color="fg.muted">{type}</Table.Cell>
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      )}
    </Box>
  );
}
