// Time in taking the GIL: the case of crates/profile/src/function_statistics.rs, and what it becomes in a table.

import { expect, test } from "vitest";
import { select, weigh, type Filter } from "../../src/model/filters";
import { gilBy, gilByFunction, gilNodes } from "../../src/model/gil";
import { finish } from "../../src/model/steps";
import { buildTree } from "../../src/model/tree";
import type { State } from "../../src/state";
import { profileOf, type SampleText } from "../made_up";

const EVAL = "i:eval@python3", MAIN = "p:main@/a.py:1", WORK = "p:work@/a.py:5", DEFLATE = "n:deflate@libz.so", TAKE = "n:take_gil.lto_priv.0@python3";
const WAIT = "n:pthread_cond_timedwait@libc.so.6", LOCK = "n:PyThread_acquire_lock@python2.7";

function of(stacks: [stack: string[], count: number][]) {
  return profileOf(stacks.flatMap(([stack, count]) => Array.from({ length: count }, (): SampleText => ({ stack }))));
}

function sums({ names, source, state }: ReturnType<typeof of>, changes: Partial<State> = {}, filters: Filter[] = []) {
  const self = weigh(source, select(source, names, filters, null));
  const tree = buildTree(source, names, { ...state, ...changes }, self);
  const nodes = finish(gilNodes(source, names));
  if (!nodes) return null;
  const found = (top: number) => Object.fromEntries([...finish(gilBy(source, names, nodes, self, tree, top, (entry) => names.functionRow(entry)))]
    .map(([row, amount]) => [names.functionName(row), amount]));
  return { found, tree };
}

test("is that of the innermost Python function, whatever the leaf, as viperf report has it", () => {
  const made = of([
    [[EVAL, MAIN, EVAL, WORK], 1], [[EVAL, MAIN, WORK, EVAL], 2], [[MAIN, WORK, DEFLATE], 4], [[MAIN, WORK, DEFLATE, "k:read"], 8],
    [[MAIN, WORK, TAKE], 16], [[MAIN, WORK, TAKE, "k:read"], 32], [[MAIN, WORK, "e:native: unreadable stack"], 64],
    [[MAIN, DEFLATE, MAIN, "k:read"], 128], [[DEFLATE], 256], [[MAIN, TAKE, WORK, "k:read"], 1], [[TAKE], 1], [[MAIN, TAKE, "e:cut"], 1],
  ]);
  expect(sums(made)?.found(0)).toEqual({ work: 48 });
  expect(finish(gilByFunction(made.source, made.names)).map(([row, amount]) => [made.names.functionName(row), amount])).toEqual([["work", 48]]);
});

test("is told from other locks by who asks", () => {
  const made = of([
    [[MAIN, WAIT], 1], [[MAIN, EVAL, WAIT], 2], [[MAIN, "n:[python3.11+0x4f9316]@python3.11", WAIT], 4],
    [[MAIN, "n:wait_for_work@libgomp.so.1", WAIT], 8], [[WORK, LOCK], 1], [[WORK, "n:lock_acquire@libpython2.7.so.1.0", LOCK], 16], [[WAIT], 32],
  ]);
  expect(sums(made)?.found(0)).toEqual({ main: 7, work: 1 });
});

test("is what the filters, the zoom and hidden frames leave", () => {
  const made = of([[[MAIN, TAKE], 3], [[MAIN, WORK, TAKE, "k:futex"], 5], [[MAIN, DEFLATE, WORK, TAKE], 7]]);
  expect(sums(made)?.found(0)).toEqual({ main: 3, work: 12 });
  expect(sums(made, { native: false, kernel: false })?.found(0)).toEqual({ main: 3, work: 12 });
  expect(sums(made, {}, [{ by: "running", value: "kernel", not: false }])?.found(0)).toEqual({ work: 5 });
  const { tree, found } = sums(made) ?? {};
  const inside = tree?.entry.findIndex((entry, node) => made.names.name(entry) === "work" && tree.total[node] === 7) ?? -1;
  expect(found?.(inside)).toEqual({ work: 7 });
  const hidden = made.names.profile.function_name.findIndex((_, row) => made.names.functionName(row) === "work");
  expect(sums(made, { transforms: [{ deed: "hide", row: hidden }] })?.found(0)).toEqual({ main: 15 });
});

test("is not looked for where nothing takes the GIL", () => {
  expect(sums(of([[[MAIN, WORK, DEFLATE], 3]]))).toBe(null);
});

test("is not known where the data does not say what takes the GIL", () => {
  const made = of([[[MAIN, WORK, TAKE], 3]]);
  delete made.names.profile.function_gil;
  expect(sums(made)).toBe(null);
});

test("of boxes that are too small is their callers', and not at all outside a focus", () => {
  const made = of([[[MAIN, DEFLATE], 900], [[MAIN, WORK, TAKE], 2], [[MAIN, DEFLATE, WORK, TAKE, "k:futex"], 3], [[WORK, TAKE], 1]]);
  const { tree, found } = sums(made, { minimum: 0.01 }) ?? {};
  expect(Array.from(tree?.entry ?? [], (entry) => made.names.name(entry))).not.toContain("work");
  expect(found?.(0)).toEqual({ main: 5 });
  const inside = tree?.entry.findIndex((entry) => made.names.name(entry) === "deflate") ?? -1;
  expect(found?.(inside)).toEqual({});
  const row = made.names.profile.function_name.findIndex((_, at) => made.names.functionName(at) === "main");
  expect(sums(made, { minimum: 0.01, transforms: [{ deed: "focus", row }] })?.found(0)).toEqual({ main: 5 });
});
