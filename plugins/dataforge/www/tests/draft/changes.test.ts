import assert from "node:assert/strict";
import { test } from "node:test";
import { compare } from "../../src/draft/changes";
import type { JsonObject } from "../../src/draft/types";

const BEFORE: JsonObject = {
  dag_id: "orders",
  schedule: "@daily",
  source: { type: "csv", path: "orders.csv" },
  transforms: [
    { type: "filter", where: "amount > 0" },
    { type: "derive", columns: { day: "cast(at as date)" } },
    { type: "sort", by: ["day"] },
  ],
  destination: { type: "duckdb", table: "orders" },
};

const told = (before: JsonObject, after: JsonObject): string[] =>
  compare(before, after).changes.map(({ op, pointer, from }) => `${op} ${from ? `${from} -> ` : ""}${pointer}`);

test("equal configs have no changes, whatever the order of keys", () => {
  assert.deepEqual(told(BEFORE, Object.fromEntries(Object.entries(BEFORE).reverse())), []);
});

test("changed, added and removed keys are told one by one", () => {
  const { schedule: _, ...rest } = BEFORE;
  const after = { ...rest, tags: ["a"], destination: { type: "duckdb", table: "sales", primary_key: ["id"] } };
  assert.deepEqual(told(BEFORE, after), [
    "remove /schedule",
    "change /destination/table",
    "add /destination/primary_key",
    "add /tags",
  ]);
});

test("a step put in front changes none of the others", () => {
  const steps = BEFORE.transforms as JsonObject[];
  const after = { ...BEFORE, transforms: [{ type: "limit", count: 9 }, ...steps] };
  assert.deepEqual(told(BEFORE, after), ["add /transforms/0"]);
});

test("a changed step among moved numbers is told by its key", () => {
  const [filter, derive, sort] = BEFORE.transforms as [JsonObject, JsonObject, JsonObject];
  const after = { ...BEFORE, transforms: [derive, { ...sort, by: ["day desc"] }] };
  assert.deepEqual(told(BEFORE, after), [
    "remove /transforms/0",
    "remove /transforms/2/by/0",
    "add /transforms/1/by/0",
  ]);
  assert.equal(filter.type, "filter");
});

test("a step that only moved is one change", () => {
  const [filter, derive, sort] = BEFORE.transforms as [JsonObject, JsonObject, JsonObject];
  const after = { ...BEFORE, transforms: [sort, filter, derive] };
  const { changes, result } = compare(BEFORE, after);
  assert.deepEqual(
    changes.map(({ op, from, pointer }) => [op, from, pointer]),
    [["move", "/transforms/2", "/transforms/0"]],
  );
  assert.deepEqual(result(new Set(changes.map(({ id }) => id))), after);
  assert.deepEqual(result(new Set()), BEFORE);
});

test("another type is one change of the whole component", () => {
  const after = { ...BEFORE, source: { type: "postgres", connection: "shop", table: "orders" } };
  assert.deepEqual(told(BEFORE, after), ["change /source"]);
});

test("one destination that becomes a list is one change", () => {
  assert.deepEqual(told(BEFORE, { ...BEFORE, destination: [BEFORE.destination ?? null] }), ["change /destination"]);
});

test("all accepted is the new config, none the old, and each alone is itself", () => {
  const after: JsonObject = {
    dag_id: "orders",
    description: "Paid orders",
    source: { type: "csv", path: "paid.csv", delimiter: ";" },
    transforms: [
      { type: "cast", columns: { amount: "double" } },
      { type: "filter", where: "amount > 1" },
      { type: "sort", by: ["day", "amount"] },
    ],
    destination: { type: "duckdb", table: "paid" },
  };
  const { changes, result } = compare(BEFORE, after);
  assert.deepEqual(result(new Set(changes.map(({ id }) => id))), after);
  assert.deepEqual(result(new Set()), BEFORE);
  assert.equal(new Set(changes.map(({ id }) => id)).size, changes.length);
  for (const change of changes) {
    const alone = result(new Set([change.id]));
    assert.equal(compare(BEFORE, alone).changes.length, 1, change.id);
    const without = result(new Set(changes.filter((each) => each !== change).map(({ id }) => id)));
    assert.equal(compare(without, after).changes.length, 1, change.id);
  }
});

test("the first draft of an empty config is told key by key", () => {
  assert.deepEqual(told({}, { dag_id: "a", source: { type: "csv" } }), ["add /dag_id", "add /source"]);
});
