import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { complete, hoverAt } from "../../src/draft/schema/complete";
import { helpOf, labelOf, starterObject } from "../../src/draft/schema/help";
import { allowedOf } from "../../src/draft/schema/help";
import { options, schemaAt, tag } from "../../src/draft/schema/resolve";
import type { JsonObject, Known } from "../../src/draft/types";

const SCHEMA = JSON.parse(readFileSync("../../../docs/pipeline.schema.json", "utf8")) as JsonObject;
const CONFIG = {
  dag_id: "a",
  source: { type: "csv", path: "a.csv" },
  transforms: [
    { type: "filter", where: "x > 1" },
    { type: "join", with: "b", on: { x: "y" } },
  ],
  destination: [{ type: "duckdb", table: "t" }],
} as JsonObject;
const KNOWN: Known = {
  connections: [{ id: "shop", type: "postgres" }],
  columns: { "/source": { id: "bigint", amount: "double" }, "/transforms/0": { id: "bigint", total: "double" } },
};

const offered = (marked: string, known = KNOWN): string[] => {
  const found = complete(SCHEMA, marked.replace("|", ""), marked.indexOf("|"), known);
  return found?.items.map(({ label }) => label) ?? [];
};
const accepted = (marked: string, label: string): string => {
  const text = marked.replace("|", "");
  const found = complete(SCHEMA, text, marked.indexOf("|"), KNOWN);
  const item = found?.items.find((each) => each.label === label);
  assert.ok(found && item, `${label} is not offered`);
  return text.slice(0, found.from) + item.insert + text.slice(found.to);
};

test("the schema of a place is chosen by the type of its component", () => {
  assert.equal(schemaAt(SCHEMA, CONFIG, ["transforms", "0", "where"])?.["x-sql"], "expression");
  assert.equal(
    schemaAt(SCHEMA, CONFIG, ["transforms", "0", "on"]),
    schemaAt(SCHEMA, CONFIG, ["transforms", "1", "on"]),
  );
  assert.match(String(schemaAt(SCHEMA, CONFIG, ["destination", "0", "table"])?.description), /./);
  assert.equal(schemaAt(SCHEMA, CONFIG, ["nothing"]), undefined);
});

test("every component of the schema can be started", () => {
  for (const kind of ["SourceConfig", "TransformConfig", "CheckConfig", "DestinationConfig"]) {
    const all = options(SCHEMA, { $ref: `#/$defs/${kind}` });
    assert.ok(all.length >= 6);
    for (const option of all) assert.equal(starterObject(SCHEMA, option).type, tag(SCHEMA, option));
  }
});

test("help tells kind, limits, choices and default", () => {
  const retries = schemaAt(SCHEMA, CONFIG, ["default_args", "retries"]) ?? {};
  const help = helpOf(SCHEMA, retries);
  assert.deepEqual([help.kind, help.limits, help.default], ["whole number", "0 to 100", 3]);
  assert.deepEqual(allowedOf(SCHEMA, schemaAt(SCHEMA, CONFIG, ["execution"]) ?? {}), ["staged", "fused"]);
  assert.equal(labelOf("dag_id"), "DAG id");
  assert.equal(labelOf("write_disposition"), "Write disposition");
});

test("keys that are there already are not offered again", () => {
  const keys = offered('{"dag_id": "a", |}');
  assert.ok(keys.includes("schedule") && keys.includes("source"));
  assert.ok(!keys.includes("dag_id") && !keys.includes("schedule_interval"));
});

test("a component asks for its type first, then for its own keys", () => {
  assert.deepEqual(offered('{"source": {|}}'), ["type"]);
  const keys = offered('{"source": {"type": "csv", |}}');
  assert.ok(keys.includes("delimiter") && !keys.includes("endpoint"));
});

test("types, choices and truth values are offered", () => {
  assert.ok(offered('{"transforms": [{"type": "|"}]}').includes("aggregate"));
  assert.ok(offered('{"transforms": [{"type": |').includes("aggregate"));
  assert.deepEqual(offered('{"catchup": |}'), ["true", "false"]);
  assert.deepEqual(offered('{"execution": "|"}'), ["staged", "fused"]);
  assert.ok(offered('{"destination": {"type": "duckdb", "write_disposition": "|"}}').includes("merge"));
});

test("whole steps are offered in a list of steps", () => {
  assert.equal(accepted('{"transforms": [|]}', "filter"), '{"transforms": [{"type": "filter", "where": ""}]}');
  assert.ok(offered('{"transforms": [{"type": "limit", "count": 1}, |]}').includes("sort"));
});

test("connections, columns and inputs are offered where they are asked for", () => {
  assert.deepEqual(offered('{"source": {"type": "postgres", "connection": "|"}}').slice(0, 1), ["shop"]);
  const source = '{"source": {"type": "csv", "path": "a"}, "transforms": [{"type": "filter", "where": "id > 1"}, ';
  assert.deepEqual(offered(`${source}{"type": "select", "columns": ["|"]}]}`).slice(0, 2), ["id", "total"]);
  assert.deepEqual(offered(`${source}{"type": "filter", "where": "to|"}]}`), ["id", "total"]);
  assert.ok(offered('{"sources": {"a": {}, "b": {}}, "transforms": [{"type": "join", "with": "|"}]}').includes("b"));
});

test("what is chosen replaces the word that was begun", () => {
  assert.equal(accepted('{"execution": "fu|"}', "fused"), '{"execution": "fused"}');
  assert.equal(accepted('{"execution":|}', "fused"), '{"execution": "fused"}');
  assert.equal(accepted('{"sche|": null}', "schedule"), '{"schedule": null}');
  assert.equal(accepted('{"catch|"}', "catchup"), '{"catchup": false}');
});

test("hover explains keys, and types as their component", () => {
  const text = '{"source": {"type": "csv", "path": "a.csv"}}';
  const hover = (word: string) => hoverAt(SCHEMA, text, text.indexOf(word) + 1);
  assert.match(String(hover("path")?.schema.description), /./);
  assert.match(String(hover('"csv"')?.schema.description), /csv/i);
  assert.equal(hoverAt(SCHEMA, text, 0), null);
});
