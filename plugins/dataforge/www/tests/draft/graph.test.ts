import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOfPreview } from "../../src/draft/columns";
import { draw, graphOf, inputsAt, NODE } from "../../src/draft/graph";
import type { JsonObject } from "../../src/draft/types";

const CONFIG = {
  sources: { flights: { type: "csv", path: "flights.csv" }, airlines: { type: "csv", path: "airlines.csv" } },
  transforms: [
    { type: "filter", input: "flights", where: "delay is not null", name: "late" },
    { type: "derive", input: "airlines", columns: { upper: "upper(name)" } },
    { type: "join", input: "late", with: "airlines", on: ["carrier"] },
    { type: "sql", query: "select * from input join late using (carrier)" },
  ],
  checks: [
    { type: "unique", columns: ["carrier"] },
    { type: "row_count", min: 1 },
  ],
  destination: [
    { type: "duckdb", table: "flights" },
    { type: "csv", path: "out.csv" },
  ],
} as JsonObject;

test("every node tells what it reads", () => {
  const reads = Object.fromEntries(graphOf(CONFIG).map((node) => [node.pointer, node.reads]));
  assert.deepEqual(reads, {
    "/sources/flights": [],
    "/sources/airlines": [],
    "/transforms/0": ["/sources/flights"],
    "/transforms/1": ["/sources/airlines"],
    "/transforms/2": ["/transforms/0", "/sources/airlines"],
    "/transforms/3": ["/transforms/2", "/transforms/0"],
    "/checks/0": ["/transforms/3"],
    "/checks/1": ["/checks/0"],
    "/destination/0": ["/checks/1"],
    "/destination/1": ["/checks/1"],
  });
});

test("a node says what it is about", () => {
  const summaries = graphOf(CONFIG).map(({ title, summary }) => `${title}: ${summary}`);
  assert.deepEqual(summaries.slice(0, 4), [
    "flights: flights.csv",
    "airlines: airlines.csv",
    "late: delay is not null",
    "Transform 2: upper",
  ]);
});

test("unfinished configs are drawn as far as they go", () => {
  assert.deepEqual(graphOf(null), []);
  assert.deepEqual(graphOf({ transforms: "x", sources: null, destination: 3 }), []);
  assert.deepEqual(
    graphOf({ transforms: [null, { type: 3 }] }).map(({ pointer }) => pointer),
    ["/transforms/0", "/transforms/1"],
  );
});

test("nodes stand below what they read, and none on another", () => {
  const picture = draw(graphOf(CONFIG));
  const at = new Map(picture.nodes.map((node) => [node.pointer, node]));
  for (const edge of picture.edges) assert.ok((at.get(edge.from)?.y ?? 0) < (at.get(edge.to)?.y ?? 0));
  assert.equal(new Set(picture.nodes.map(({ x, y }) => `${x} ${y}`)).size, picture.nodes.length);
  assert.ok(picture.nodes.every(({ x }) => x >= 0 && x + NODE.width <= picture.width));
  const long = picture.edges.find(({ from, to }) => from === "/sources/airlines" && to === "/transforms/2");
  assert.match(long?.path ?? "", / V/);
});

test("columns of a preview go to their nodes", () => {
  const steps = ["flights", "airlines", "late"].map((name) => ({ type: "csv", columns: { [name]: "bigint" } }));
  const columns = columnsOfPreview(CONFIG, steps);
  assert.deepEqual(Object.keys(columns), ["/sources/flights", "/sources/airlines", "/transforms/0"]);
});

test("a step names columns of its inputs, a destination those of the last step", () => {
  assert.deepEqual(inputsAt(CONFIG, "/transforms/2/on/0"), ["/transforms/0", "/sources/airlines"]);
  assert.deepEqual(inputsAt(CONFIG, "/destination/0/primary_key"), ["/transforms/3"]);
});
