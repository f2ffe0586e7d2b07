import assert from "node:assert/strict";
import { test } from "node:test";
import { fixes } from "../../src/draft/fixes";
import type { Finding } from "../../src/draft/types";

const finding = (over: Partial<Finding>): Finding => ({
  code: "x",
  severity: "error",
  message: "",
  line: 1,
  column: 1,
  pointer: "",
  suggestion: null,
  ...over,
});
const applied = (text: string, over: Partial<Finding>): [string, string][] =>
  fixes(text, finding(over)).map((fix) => [fix.label, fix.text]);

test("a misspelt key is renamed, one without a likeness removed", () => {
  const unknown = { code: "unknown-key", message: "unknown key 'schedul'", pointer: "/schedul" };
  const text = '{"schedul": "@daily", "dag_id": "a"}';
  assert.deepEqual(applied(text, { ...unknown, suggestion: "did you mean 'schedule'?" }), [
    ["Use schedule", '{"schedule": "@daily", "dag_id": "a"}'],
  ]);
  assert.deepEqual(applied(text, { ...unknown, suggestion: "known: a, b" }), [["Remove schedul", '{"dag_id": "a"}']]);
});

test("a misspelt value and a misspelt word of an expression are replaced", () => {
  const suggestion = "did you mean 'left'?";
  assert.deepEqual(
    applied('{"how": "lefft"}', { message: "'lefft' is not one of 'inner', 'left'", pointer: "/how", suggestion }),
    [["Use left", '{"how": "left"}']],
  );
  const column = { message: "column 'amout' is not there", pointer: "/where", suggestion: "did you mean 'amount'?" };
  assert.deepEqual(applied('{"where": "amout > 1 and amouts < amout"}', column), [
    ["Use amount", '{"where": "amount > 1 and amouts < amount"}'],
  ]);
});

test("a misspelt column that is a key is renamed", () => {
  const column = {
    message: "column 'amout' is not there",
    pointer: "/columns/amout",
    suggestion: "did you mean 'amount'?",
  };
  assert.deepEqual(applied('{"columns": {"amout": "double"}}', column), [
    ["Use amount", '{"columns": {"amount": "double"}}'],
  ]);
});

test("what is to be added is added", () => {
  const suggestion = 'add "dead_letters": {"max_share": 0.01}';
  assert.deepEqual(applied('{"a": 1}', { pointer: "/checks/0", suggestion }), [
    ["Add dead_letters", '{"a": 1, "dead_letters": {"max_share": 0.01}}'],
  ]);
});

test("each of two ways is offered", () => {
  const text = '{"destination": {"write_disposition": "replace", "cursor_field": "at"}}';
  const suggestion = "set write_disposition to 'merge' or 'append', or remove 'cursor_field'";
  const labels = applied(text, { pointer: "/destination/write_disposition", suggestion }).map(([label]) => label);
  assert.deepEqual(labels, ["Use merge", "Use append", "Remove cursor_field"]);
});

test("the few allowed values are offered, a long list is not", () => {
  const refused = { message: "'x' is not one of", pointer: "/a" };
  assert.deepEqual(
    applied('{"a": "x"}', { ...refused, allowed: ["b", "c"] }).map(([label]) => label),
    ["Use b", "Use c"],
  );
  assert.deepEqual(applied('{"a": "x"}', { ...refused, allowed: [..."bcdefghi"] }), []);
});

test("the second of two equal keys is taken out", () => {
  const found = { code: "duplicate-key", pointer: "/a", column: 10, suggestion: "keep one of them" };
  assert.deepEqual(applied('{"a": 1, "a": 2}', found), [["Remove this one", '{"a": 1}']]);
});

test("slips of syntax are mended where they stand", () => {
  const mended = (text: string, column: number, suggestion: string, code = "syntax-error") =>
    applied(text, { column, suggestion, code })[0]?.[1];
  assert.equal(mended('{"a": 1,}', 8, "remove the comma"), '{"a": 1}');
  assert.equal(mended('{"a": True}', 7, "JSON writes true"), '{"a": true}');
  assert.equal(mended('{"a": \'b "c\'}', 7, "replace ' by \""), '{"a": "b \\"c"}');
  assert.equal(mended('{"a": NaN}', 7, "write null or a number"), '{"a": null}');
  assert.equal(mended('{"a": 007}', 8, "remove the leading zeros"), '{"a": 7}');
  assert.equal(mended('{"a": @daily}', 7, "texts stand in double quotes"), '{"a": "@daily"}');
  assert.equal(mended('{"a": 1} b', 10, "remove it", "trailing-data"), '{"a": 1}\n');
  assert.equal(mended('{"a": "\\d"}', 8, "write \\\\ for one \\"), '{"a": "\\\\d"}');
});

test("advice that needs a decision offers nothing", () => {
  assert.deepEqual(applied('{"a": 1}', { pointer: "/a", suggestion: "choose another name" }), []);
  assert.deepEqual(applied("{", { suggestion: null }), []);
});
