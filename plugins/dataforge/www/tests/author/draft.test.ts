import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, contentOf, isUnsaved, nameOf, reduce, restored, started, valueOf, type Action, type Draft } from "../../src/pages/author/draft";

const all = (draft: Draft, ...actions: Action[]): Draft => actions.reduce(reduce, draft);
const typed = (text: string, at: number): Action => ({ type: "typed", text, at });
const BASE = { digest: "d1", text: "{}" };

test("what is typed in one go is undone in one go, and done again", () => {
  const draft = all(started("a"), typed("ab", 5_000), typed("abc", 5_400), typed("abcd", 9_000));
  assert.deepEqual(draft.past, ["a", "abc"]);
  const undone = all(draft, { type: "undo" }, { type: "undo" });
  assert.deepEqual([undone.text, undone.future], ["a", ["abcd", "abc"]]);
  assert.equal(all(undone, { type: "redo" }).text, "abc");
  assert.equal(all(undone, { type: "undo" }).text, "a");
});

test("typing after an undo forgets what was undone", () => {
  const draft = all(started("a"), typed("ab", 5_000), { type: "undo" }, typed("ax", 5_100));
  assert.deepEqual([draft.text, draft.past, draft.future], ["ax", ["a"], []]);
});

test("a proposal fills an empty draft at once and waits for a decision otherwise", () => {
  const proposal = { text: '{"dag_id": "x"}', from: "generate" } as const;
  const filled = all(EMPTY, { type: "proposed", proposal });
  assert.deepEqual([filled.text, filled.proposal], [proposal.text, null]);
  const waiting = all(started("{}"), { type: "proposed", proposal });
  assert.deepEqual([waiting.text, waiting.proposal], ["{}", proposal]);
  assert.deepEqual(all(waiting, { type: "decided", text: null }).proposal, null);
  const taken = all(waiting, { type: "decided", text: proposal.text });
  assert.deepEqual([taken.text, taken.past], [proposal.text, ["{}"]]);
});

test("a config in force is no unsaved draft before something of it is changed", () => {
  const draft = started("{}", "a.json", BASE);
  assert.equal(isUnsaved(draft), false);
  const pinned = all(draft, { type: "pinned", pointer: "schedule", value: "@daily" });
  assert.equal(isUnsaved(pinned), true);
  assert.equal(isUnsaved(all(pinned, { type: "pinned", pointer: "schedule", value: undefined })), false);
  const saved = all(pinned, { type: "saved", id: "1", etag: '"e"', content: contentOf(pinned) });
  assert.equal(isUnsaved(saved), false);
  assert.equal(isUnsaved(all(draft, { type: "chatted", chat: "c" })), false);
  assert.equal(isUnsaved(all(saved, typed("{ }", 9))), true);
});

test("what was changed while it was saved stays unsaved", () => {
  const before = all(started("{}"), typed("{ }", 1));
  const after = all(before, typed("{  }", 5_000), { type: "saved", id: "1", etag: null, content: contentOf(before) });
  assert.equal(isUnsaved(after), true);
});

test("a kept draft keeps the digest that it was made from, whatever is in force now", () => {
  const kept = { id: "1", name: "a.json", file: "a.json", base: "d0", text: "{ }", chat: "c", pinned: { owner: "me" } };
  const draft = restored(kept, '"e"', BASE);
  assert.deepEqual([draft.base, draft.chat, draft.pinned], [{ digest: "d0", text: "{}" }, "c", { owner: "me" }]);
  assert.equal(isUnsaved(draft), false);
});

test("a draft is named by its file, else by its DAG", () => {
  assert.equal(nameOf(started('{"dag_id": "sales"}')), "sales");
  assert.equal(nameOf(started("{", "a/b.json")), "a/b.json");
  assert.equal(nameOf(started("{")), "new");
});

test("a pinned value is JSON where it is JSON, else the words", () => {
  assert.deepEqual(["3", '["a"]', "@daily", "0 6 * * *", "true"].map(valueOf), [3, ["a"], "@daily", "0 6 * * *", true]);
});
