import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pinnedAt, touchesPinned } from "../../src/draft/form/context";
import { converted, shownKeys, variantOf, variantsOf } from "../../src/draft/form/variants";
import { options, schemaAt, tag } from "../../src/draft/schema/resolve";
import type { Json, JsonObject } from "../../src/draft/types";

const SCHEMA = JSON.parse(readFileSync("../../../docs/pipeline.schema.json", "utf8")) as JsonObject;
const place = (...path: string[]) =>
  schemaAt(SCHEMA, { source: { type: "csv" }, transforms: [{ type: "join" }, { type: "fill_null" }] }, path) ?? {};
const ids = (...path: string[]) => variantsOf(SCHEMA, place(...path)).map(({ id }) => id);

test("each place has the kinds of value that its schema allows", () => {
  assert.deepEqual(ids("catchup"), ["truth"]);
  assert.deepEqual(ids("execution"), ["choice"]);
  assert.deepEqual(ids("owner"), ["text"]);
  assert.deepEqual(ids("default_args", "retry_delay"), ["text", "number"]);
  assert.deepEqual(ids("transforms", "0", "on"), ["list", "map"]);
  assert.deepEqual(ids("transforms", "1", "columns", "a"), ["truth", "number", "text"]);
  assert.deepEqual(ids("schema_contract"), ["object Schema contract", "choice"]);
  assert.ok(ids("destination").includes("object duckdb") && ids("destination").includes("list"));
});

test("the kind of a value is found again", () => {
  const found = (value: Json, ...path: string[]) => variantOf(SCHEMA, variantsOf(SCHEMA, place(...path)), value)?.id;
  assert.equal(found({ type: "parquet" }, "destination"), "object parquet");
  assert.equal(found([{ type: "parquet" }], "destination"), "list");
  assert.equal(found({ type: "parquett" }, "destination"), undefined);
  assert.equal(found("freeze", "schema_contract"), "choice");
  assert.equal(found({ asset: "a" }, "schedule"), "object Asset ref");
  assert.equal(found(5, "execution"), "choice");
});

test("another kind keeps what both have", () => {
  const variants = variantsOf(SCHEMA, place("destination"));
  const to = (id: string, value: Json) =>
    converted(SCHEMA, value, variants.find((each) => each.id === id) ?? variants[0]!);
  const duckdb = { type: "duckdb", table: "t", write_disposition: "merge" };
  assert.deepEqual(to("object sql", { ...duckdb, keep: 1 }), {
    type: "sql",
    connection: "",
    table: "t",
    write_disposition: "merge",
  });
  assert.deepEqual(to("list", duckdb), [duckdb]);
  assert.deepEqual(to("object duckdb", [duckdb]), duckdb);
});

test("what is needed or set is shown, the rest waits", () => {
  const join = options(SCHEMA, { $ref: "#/$defs/TransformConfig" }).find((each) => tag(SCHEMA, each) === "join") ?? {};
  const { shown, more } = shownKeys(join, { type: "join", how: "left" }, []);
  assert.deepEqual(shown, ["with", "on", "how"]);
  assert.ok(more.includes("suffix") && !more.includes("type"));
  assert.ok(!shownKeys(SCHEMA, {}, []).more.includes("schedule_interval"));
});

test("a pin holds what lies in it", () => {
  const pinned = { schedule: "@daily", "/source": { type: "csv" } };
  assert.deepEqual(pinnedAt(pinned, "/schedule"), { value: "@daily", own: true });
  assert.deepEqual(pinnedAt(pinned, "/source/type"), { value: "csv", own: false });
  assert.equal(pinnedAt(pinned, "/sources"), undefined);
  assert.ok(touchesPinned({ "/source/path": "a" }, "/source"));
});
