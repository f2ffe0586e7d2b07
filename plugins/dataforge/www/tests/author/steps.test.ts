import assert from "node:assert/strict";
import { test } from "node:test";
import { after, type Job } from "../../src/pages/author/job";
import { effectsOf, type Step } from "../../src/pages/author/steps";

const step = (name: string, type: string, rows: Record<string, number>[], over: Partial<Step> = {}): Step => ({
  name,
  type,
  columns: Object.fromEntries(Object.keys(rows[0] ?? {}).map((key) => [key, "BIGINT"])),
  row_count: rows.length,
  added: [],
  removed: [],
  retyped: [],
  rows,
  ...over,
});
const CONFIG = { source: { type: "csv" }, transforms: [{ type: "filter" }, { type: "derive" }, { type: "sort" }] };

test("each step tells rows and values that it changed", () => {
  const [source, filtered, derived, sorted] = effectsOf(CONFIG, [
    step("source", "source", [{ a: 1 }, { a: 2 }, { a: 3 }]),
    step("1", "filter", [{ a: 2 }, { a: 3 }]),
    step("2", "derive", [{ a: 2, b: 4 }, { a: 9, b: 6 }], { added: ["b"] }),
    step("3", "sort", [{ a: 9, b: 6 }, { a: 2, b: 4 }]),
  ]);
  assert.equal(source, null);
  assert.deepEqual([filtered?.rows, filtered?.changed.size], [-1, 0]);
  assert.deepEqual([...(derived?.changed ?? [])].sort(), ["0 b", "1 a", "1 b"]);
  assert.equal(derived?.altered, 1);
  assert.deepEqual([sorted?.rows, sorted?.changed.size], [0, 0]);
});

test("a step is held against the step that it reads, not the one above it", () => {
  const config = {
    sources: { one: { type: "csv" }, two: { type: "csv" } },
    transforms: [{ type: "limit", input: "two", count: 1 }],
  };
  const found = effectsOf(config, [
    step("one", "source", [{ a: 1 }]),
    step("two", "source", [{ a: 1 }, { a: 2 }, { a: 3 }]),
    step("1", "limit", [{ a: 1 }]),
  ]);
  assert.deepEqual(found.map((one) => one?.rows), [undefined, undefined, -2]);
});

test("a job's words gather, and its end brings the result", () => {
  const job: Job = { id: "1", kind: "generate", state: "queued", words: "", since: 0, online: true, result: null, error: null };
  const events = [
    { number: 2, kind: "running", data: {} },
    { number: 3, kind: "text", data: { text: "{" } },
    { number: 4, kind: "text", data: { text: "}" } },
    { number: 5, kind: "done", data: { status: "valid" } },
  ];
  const done = events.reduce(after, job);
  assert.deepEqual([done.state, done.words, done.result], ["done", "{}", { status: "valid" }]);
});
