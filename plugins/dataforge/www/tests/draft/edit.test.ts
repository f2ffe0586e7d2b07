import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { edits, retext } from "../../src/draft/json/edit";
import type { Json } from "../../src/draft/types";

const CONFIG = `{
  "dag_id": "rain",

  "source": {"type": "csv",   "path": "rain.csv"},
  "transforms": [
    {"type": "filter", "where": "mm > 0"},
    {
      "type": "derive",
      "columns": {
        "day": "cast(date as date)"
      }
    },
    {"type": "sort", "by": ["day"]}
  ],
  "destination": {"type": "duckdb", "table": "rain"},
  "tags": []
}
`;

test("a value is replaced and every other character stays", () => {
  const text = edits.set(CONFIG, "/source/path", "snow.csv");
  assert.equal(text, CONFIG.replace("rain.csv", "snow.csv"));
});

test("a new key stands on a line of its own where the others do", () => {
  const text = edits.set(CONFIG, "/schedule", "@daily");
  assert.equal(text, CONFIG.replace('"tags": []\n', '"tags": [],\n  "schedule": "@daily"\n'));
});

test("a new key stands on the line of the others where they share one", () => {
  const text = edits.set(CONFIG, "/transforms/2/limit", 3);
  assert.equal(text, CONFIG.replace('"by": ["day"]}', '"by": ["day"], "limit": 3}'));
});

test("removing the first, a middle and the last key leaves no comma behind", () => {
  assert.equal(edits.remove(CONFIG, "/dag_id"), CONFIG.replace('\n  "dag_id": "rain",\n', ""));
  assert.equal(
    edits.remove(CONFIG, "/source"),
    CONFIG.replace('\n\n  "source": {"type": "csv",   "path": "rain.csv"},', ""),
  );
  assert.equal(edits.remove(CONFIG, "/tags"), CONFIG.replace(',\n  "tags": []', ""));
});

test("a step is inserted, removed and moved with its formatting", () => {
  const inserted = edits.insert(CONFIG, "/transforms", 1, { type: "limit", count: 5 });
  assert.equal(inserted, CONFIG.replace('"mm > 0"},\n', '"mm > 0"},\n    {"type": "limit", "count": 5},\n'));
  assert.equal(edits.remove(inserted, "/transforms/1"), CONFIG);
  const moved = edits.move(CONFIG, "/transforms", 1, 0);
  assert.ok(
    moved.includes(
      '[\n    {\n      "type": "derive",\n      "columns": {\n        "day": "cast(date as date)"\n      }\n    },\n    {"type": "filter"',
    ),
  );
  assert.equal(edits.move(moved, "/transforms", 0, 1), CONFIG);
});

test("an item goes into an empty list, and a key into what is missing", () => {
  assert.equal(edits.insert(CONFIG, "/tags", 0, "weather"), CONFIG.replace("[]", '["weather"]'));
  assert.equal(edits.set("{}", "/default_args/retries", 2), '{"default_args": {"retries": 2}}');
});

test("a renamed key keeps its place and its value's formatting", () => {
  const text = edits.rename(CONFIG, "/transforms/1/columns", "fields");
  assert.equal(text, CONFIG.replace('"columns"', '"fields"'));
});

test("a key with a slash and a tilde is found", () => {
  assert.equal(edits.set('{"a/b": {"~": 1}}', "/a~1b/~0", 2), '{"a/b": {"~": 2}}');
});

test("__proto__ is a key like any other", () => {
  assert.equal(edits.set('{"__proto__": {"a": 1}}', "/__proto__/a", 2), '{"__proto__": {"a": 2}}');
});

test("windows line ends and tabs are kept", () => {
  const text = '{\r\n\t"a": 1,\r\n\t"b": 2\r\n}\r\n';
  assert.equal(edits.set(text, "/c", 3), '{\r\n\t"a": 1,\r\n\t"b": 2,\r\n\t"c": 3\r\n}\r\n');
});

test("a long object on one line is broken into lines", () => {
  const text = edits.set(CONFIG, "/transforms/0/name", "x".repeat(90));
  assert.deepEqual(JSON.parse(text).transforms[0], { type: "filter", where: "mm > 0", name: "x".repeat(90) });
  assert.ok(
    text.split("\n").every((line) => line.length <= 110),
    text,
  );
});

test("numbers that JavaScript can't hold stay as written", () => {
  const text = '{"id": 12345678901234567890, "share": 1.0, "n": 1}';
  assert.equal(edits.set(text, "/n", 2), '{"id": 12345678901234567890, "share": 1.0, "n": 2}');
});

test("a text that is no JSON is laid out anew", () => {
  assert.equal(retext("{", { a: 1 }), '{\n  "a": 1\n}\n');
});

// Random edits of the shipped examples: the text always says what the value says, and an edit taken back is no change.
test("random edits of real configs give the text of their value", () => {
  const folder = "../../../configs";
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  assert.ok(names.length > 5);
  let seed = 7;
  const random = (below: number): number => ((seed = (seed * 48271) % 2147483647), seed % below);
  for (const name of names) {
    const start = readFileSync(`${folder}/${name}`, "utf8");
    assert.equal(retext(start, JSON.parse(start)), start);
    let text = start;
    for (let count = 0; count < 60; count++) {
      const value = JSON.parse(text) as Json;
      const next = mutated(value, random);
      const changed = retext(text, next);
      assert.deepEqual(JSON.parse(changed), next, `${name} ${count}`);
      assert.deepEqual(JSON.parse(retext(changed, value)), value);
      text = changed;
    }
  }
});

function mutated(value: Json, random: (below: number) => number): Json {
  const fresh: Json[] = [
    1,
    "text",
    null,
    { type: "limit", count: random(9) },
    ["a", "b"],
    {},
    "long ".repeat(random(30)),
  ];
  const other = fresh[random(fresh.length)] ?? null;
  if (Array.isArray(value) && value.length && random(3)) {
    const copy = [...(value as Json[])];
    const at = random(copy.length);
    const action = random(4);
    if (action === 0) copy.splice(at, 1);
    else if (action === 1) copy.splice(at, 0, other);
    else if (action === 2) copy.push(...copy.splice(at, 1));
    else copy[at] = mutated(copy[at] ?? null, random);
    return copy;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value);
    const at = random(entries.length + 1);
    const entry = entries[at];
    if (!entry) return { ...value, [`key ${random(99)}`]: other };
    if (random(5) === 0) return Object.fromEntries(entries.filter((each) => each !== entry));
    return Object.fromEntries(entries.map(([key, each]) => [key, each === entry[1] ? mutated(each, random) : each]));
  }
  return other;
}
