import assert from "node:assert/strict";
import { test } from "node:test";
import { offsetOf, rangeOf, readConfig } from "../../src/draft/json/read";
import { find, parse, placeAt, valueOf } from "../../src/draft/json/tree";
import { pathOf, pointerOf } from "../../src/draft/json/value";

const at = (marked: string) => {
  const place = placeAt(parse(marked.replace("|", "")), marked.indexOf("|"));
  return `${pointerOf(place.path)}${place.key ? " key" : ""}`;
};

test("a text is read like JSON.parse reads it", () => {
  const text = '{"a": [1, -2.5e3, "x\\n\\u00e9", true, null, {}], "b": {"c": []}, "a": 7}';
  assert.deepEqual(valueOf(parse(text)), JSON.parse(text));
});

test("the place at an offset is known, in broken texts too", () => {
  assert.equal(at('{"a": {"b": "c|"}}'), "/a/b");
  assert.equal(at('{"a": {"b|": 1}}'), "/a/b key");
  assert.equal(at('{"a": [1, {"b": |'), "/a/1");
  assert.equal(at('{"a": [1, tr|ue]}'), "/a/1");
  assert.equal(at('{"a" 1, "b": {"c": "|'), "/b/c");
  assert.equal(at("{a: [|], b: 1}"), "/a");
});

test("broken texts never hang or throw", () => {
  const text = '{"a": [1, {"b": "c\\"}"}, 2], "d": {"e": null}}';
  for (let from = 0; from < text.length; from++) {
    for (const to of [from, from + 1, from + 3]) valueOf(parse(text.slice(0, from) + text.slice(to)));
  }
  valueOf(parse("[".repeat(100_000)));
});

test("keys and values are found with their offsets", () => {
  const text = '{"a/b": {"c": [10, 20]}}';
  const found = find(parse(text), pathOf("/a~1b/c/1"));
  assert.equal(text.slice(found?.node.start, found?.node.end), "20");
  assert.equal(find(parse(text), ["a/b", "d"]), null);
});

test("lines and columns count characters", () => {
  const text = '{\r\n  "😀": 1,\n  "b": 2\n}';
  assert.equal(offsetOf(text, 1, 1), 0);
  assert.equal(text.slice(offsetOf(text, 2, 6)).startsWith(": 1"), true);
  assert.equal(text.slice(offsetOf(text, 3, 3)).startsWith('"b"'), true);
  assert.equal(offsetOf(text, 99, 1), text.length);
});

test("a finding underlines its key or its value", () => {
  const text = '{"schedul": "@daily", "n": [1, 2]}';
  const finding = { code: "x", severity: "error", message: "", suggestion: null, line: 1 } as const;
  const cut = (column: number, pointer: string) => {
    const { from, to } = rangeOf(text, { ...finding, column, pointer });
    return text.slice(from, to);
  };
  assert.equal(cut(2, "/schedul"), '"schedul"');
  assert.equal(cut(13, "/schedul"), '"@daily"');
  assert.equal(cut(28, "/n"), "[");
  assert.equal(cut(200, ""), "");
});

test("only an object is a config", () => {
  assert.deepEqual(readConfig('\ufeff{"a": 1}'), { a: 1 });
  assert.equal(readConfig("[1]"), null);
  assert.equal(readConfig("{"), null);
});
