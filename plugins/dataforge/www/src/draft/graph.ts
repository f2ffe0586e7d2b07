/** A pipeline as a picture: its nodes, what each reads, and where each stands. */

import type { Json, JsonObject } from "./types";
import { isList, isObject, under } from "./json/value";

export type NodeKind = "source" | "transform" | "check" | "destination";

export interface GraphNode {
  readonly pointer: string;
  readonly kind: NodeKind;
  /** The component's `type`; "" if it has none. */
  readonly type: string;
  /** Its name, or "Transform 2". */
  readonly title: string;
  /** What it does in a few words: its path, table, condition, … */
  readonly summary: string;
  /** Pointers of the nodes whose rows it reads. */
  readonly reads: readonly string[];
}

/** Nodes in the order of the config. */
export function graphOf(config: JsonObject | null): GraphNode[] {
  if (!config) return [];
  const sources = sourceNodes(config);
  const names = new Map(sources.map((node) => [node.title, node.pointer]));
  let last = sources[0]?.pointer;
  const transforms = items(config.transforms).map((step, index): GraphNode => {
    const pointer = `/transforms/${index}`;
    const input = typeof step.input === "string" ? names.get(step.input) : last;
    const reads = [input, ...withNames(step.with).map((name) => names.get(name)), ...queried(step, names)];
    const title = typeof step.name === "string" ? step.name : `Transform ${index + 1}`;
    const node = nodeOf("transform", pointer, title, step, [...new Set(reads.filter((each) => each !== undefined))]);
    if (typeof step.name === "string") names.set(step.name, pointer);
    last = pointer;
    return node;
  });
  // Checks all see the rows of the last step; they are drawn as the gates that these pass one after the other.
  const checks = items(config.checks).map((check, index) => {
    const before = index ? `/checks/${index - 1}` : last;
    return nodeOf("check", `/checks/${index}`, `Check ${index + 1}`, check, before === undefined ? [] : [before]);
  });
  const gate = checks.at(-1)?.pointer ?? last;
  return [...sources, ...transforms, ...checks, ...destinationNodes(config, gate === undefined ? [] : [gate])];
}

/** The pointers of the nodes whose columns a place can name: a step's inputs, else what it gives itself. */
export function inputsAt(config: JsonObject | null, pointer: string): readonly string[] {
  const nodes = graphOf(config);
  const node = nodes.find((each) => pointer === each.pointer || pointer.startsWith(`${each.pointer}/`));
  if (!node) return [];
  if (node.kind === "source") return [node.pointer];
  if (node.kind === "transform") return node.reads;
  const last = nodes.filter(({ kind }) => kind === "transform").at(-1) ?? nodes[0];
  return last ? [last.pointer] : [];
}

const items = (value: Json | undefined): readonly JsonObject[] =>
  isList(value) ? value.map((each) => (isObject(each) ? each : {})) : [];

const withNames = (value: Json | undefined): readonly string[] =>
  typeof value === "string" ? [value] : isList(value) ? value.filter((each) => typeof each === "string") : [];

/** Named inputs that a step's SQL query mentions. */
function queried(step: JsonObject, names: ReadonlyMap<string, string>): string[] {
  const query = step.type === "sql" && typeof step.query === "string" ? step.query : "";
  const words = new Set(query.match(/[A-Za-z_][\w]*/g) ?? []);
  return [...names].filter(([name]) => words.has(name)).map(([, pointer]) => pointer);
}

function sourceNodes(config: JsonObject): GraphNode[] {
  if (isObject(config.source)) return [nodeOf("source", "/source", "source", config.source, [])];
  if (!isObject(config.sources)) return [];
  return Object.entries(config.sources).map(([name, source]) =>
    nodeOf("source", under("/sources", name), name, isObject(source) ? source : {}, []),
  );
}

function destinationNodes(config: JsonObject, reads: readonly string[]): GraphNode[] {
  const { destination } = config;
  if (isObject(destination)) return [nodeOf("destination", "/destination", "destination", destination, reads)];
  const several = items(destination);
  return several.map((each, index) =>
    nodeOf("destination", `/destination/${index}`, `Destination ${index + 1}`, each, reads),
  );
}

const nodeOf = (
  kind: NodeKind,
  pointer: string,
  title: string,
  body: JsonObject,
  reads: readonly string[],
): GraphNode => ({
  pointer,
  kind,
  type: typeof body.type === "string" ? body.type : "",
  title,
  summary: summaryOf(body),
  reads,
});

const TELLING = [
  "where",
  "expression",
  "query",
  "path",
  "table",
  "endpoint",
  "with",
  "columns",
  "by",
  "keys",
  "column",
  "count",
];

/** What a component is about, in a few words. */
export function summaryOf(body: JsonObject): string {
  const key = TELLING.find((each) => body[each] !== undefined && body[each] !== null);
  const rest = Object.keys(body).filter((each) => !["type", "name", "input", "severity"].includes(each));
  const value = body[key ?? rest[0] ?? ""];
  if (value === undefined) return "";
  const words = isObject(value)
    ? Object.keys(value).join(", ")
    : isList(value)
      ? value.map(plain).join(", ")
      : plain(value);
  return words.replaceAll(/\s+/g, " ").trim();
}

const plain = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

export interface PlacedNode extends GraphNode {
  readonly x: number;
  readonly y: number;
}
export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly path: string;
}
export interface Picture {
  readonly nodes: readonly PlacedNode[];
  readonly edges: readonly Edge[];
  readonly width: number;
  readonly height: number;
}

export const NODE = { width: 208, height: 60, gapX: 20, gapY: 36, margin: 6 } as const;

/** Part of a long edge that passes a row between other nodes. */
interface Lane {
  readonly lane: string;
}
const LANE = 12;
const widthOf = (slot: GraphNode | Lane): number => ("lane" in slot ? LANE : NODE.width);

/** Lay nodes out in rows from top to bottom: each below everything that it reads. */
export function draw(nodes: readonly GraphNode[]): Picture {
  const row = new Map<string, number>();
  for (const node of nodes) {
    const above = node.reads.map((pointer) => row.get(pointer) ?? 0);
    row.set(node.pointer, above.length ? Math.max(...above) + 1 : 0);
  }
  const rowOf = (pointer: string): number => row.get(pointer) ?? 0;
  const rows: (GraphNode | Lane)[][] = Array.from({ length: Math.max(0, ...row.values()) + 1 }, () => []);
  for (const node of nodes) rows[rowOf(node.pointer)]?.push(node);
  for (const node of nodes) {
    for (const from of node.reads) {
      for (let y = rowOf(from) + 1; y < rowOf(node.pointer); y++) rows[y]?.push({ lane: `${from} ${node.pointer}` });
    }
  }
  const across = (slots: readonly (GraphNode | Lane)[]): number =>
    slots.reduce((sum, slot) => sum + widthOf(slot), (slots.length - 1) * NODE.gapX);
  const width = Math.max(NODE.width, ...rows.map(across)) + 2 * NODE.margin;
  const placed: PlacedNode[] = [];
  const lanes = new Map<string, Point[]>();
  rows.forEach((slots, index) => {
    const y = NODE.margin + index * (NODE.height + NODE.gapY);
    let x = (width - across(slots)) / 2;
    for (const slot of slots) {
      if ("lane" in slot) lanes.set(slot.lane, [...(lanes.get(slot.lane) ?? []), { x: x + LANE / 2, y }]);
      else placed.push({ ...slot, x, y });
      x += widthOf(slot) + NODE.gapX;
    }
  });
  const at = new Map(placed.map((node) => [node.pointer, node]));
  const edges = placed.flatMap((node) =>
    node.reads.flatMap((from): Edge[] => {
      const start = at.get(from);
      return start
        ? [{ from, to: node.pointer, path: curve(start, lanes.get(`${from} ${node.pointer}`) ?? [], node) }]
        : [];
    }),
  );
  const height = rows.length * (NODE.height + NODE.gapY) - NODE.gapY + 2 * NODE.margin;
  return { nodes: placed, edges, width, height };
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** From the bottom of a node, straight through the lanes of the rows between, to the top of another. */
function curve(from: Point, lanes: readonly Point[], to: Point): string {
  let [x, y] = [from.x + NODE.width / 2, from.y + NODE.height];
  let path = `M${x},${y}`;
  for (const next of [...lanes, { x: to.x + NODE.width / 2, y: to.y }]) {
    const bend = (next.y - y) / 2;
    path += ` C${x},${y + bend} ${next.x},${next.y - bend} ${next.x},${next.y}`;
    [x, y] = [next.x, next.y + NODE.height];
    if (lanes.includes(next)) path += ` V${y}`;
  }
  return path;
}
