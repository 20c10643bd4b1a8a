import { describe, expect, test } from "vitest";
import { compileFilters, fieldNames, select, weigh } from "../../src/model/filters";
import { packageOf } from "../../src/model/groups";
import { compileSearch, searchTree } from "../../src/model/search";
import { calleesOf, callersOf, sumBy, sumLines, totalsOf } from "../../src/model/sums";
import { finish } from "../../src/model/steps";
import { buildTimeTree } from "../../src/model/time_tree";
import { buildTree, findNode, findNodeFrom, findPath, pathTo, type Shape, type Tree } from "../../src/model/tree";
import { profileOf, type Known, type SampleText } from "../made_up";

/** The tree as text: name, total, self; children inside. */
function show({ names }: Known, tree: Tree, node = 0): string {
  const children = [];
  for (let child = tree.firstChild[node]; child < tree.firstChild[node + 1]; child++) children.push(show({ names } as Known, tree, child));
  const name = names.name(tree.entry[node]);
  const line = names.line(tree.entry[node]);
  return `${name}${line ? `:${line}` : ""} ${tree.total[node]}/${tree.self[node]}${children.length > 0 ? `(${children.join(" ")})` : ""}`;
}

function treeOf(known: Known, shape: Partial<Shape> = {}) {
  const self = weigh(known.source, select(known.source, known.names, [], null));
  return buildTree(known.source, known.names, { ...known.state, processes: false, threads: false, ...shape }, self);
}

const repeat = (times: number, sample: SampleText): SampleText[] => Array.from({ length: times }, () => sample);
const rowOf = ({ names, profile }: Known, name: string) =>
  [...profile.function_name.keys()].find((row) => names.functionName(row) === name) ?? -1;

const SIMPLE = [
  ...repeat(1, { stack: ["n:main@exe", "i:eval@exe", "p:f@/a.py:1", "p:g@/a.py:5"] }),
  ...repeat(4, { stack: ["n:main@exe", "i:eval@exe", "p:f@/a.py:2", "n:memcpy@libc.so", "k:fault"] }),
  ...repeat(2, { stack: ["n:main@exe", "i:eval@exe", "p:f@/a.py:2", "p:g@/a.py:6"] }),
];

describe("the tree", () => {
  test("joins lines, hides interpreter frames, and puts the largest first", () => {
    const known = profileOf(SIMPLE);
    expect(show(known, treeOf(known))).toBe("all 7/0(main 7/0(f 7/0(memcpy 4/0(fault 4/4) g 3/3)))");
  });

  test("shows a box per line, and interpreter frames, when asked", () => {
    const known = profileOf(SIMPLE);
    expect(show(known, treeOf(known, { lines: true, interpreter: true })))
      .toBe("all 7/0(main 7/0(eval 7/0(f:2 6/0(memcpy 4/0(fault 4/4) g:6 2/2) f:1 1/0(g:5 1/1))))");
  });

  test("gives the time of hidden kinds to their callers", () => {
    const known = profileOf(SIMPLE);
    expect(show(known, treeOf(known, { native: false, kernel: false }))).toBe("all 7/0(f 7/4(g 3/3))");
  });

  test("levels are processes, threads, frames; processes of one name can be one", () => {
    const known = profileOf([{ pid: 1, stack: ["k:a"] }, { pid: 2, tid: 3, stack: ["k:a"] }, { process: "sh", pid: 4, stack: ["k:a"] }]);
    expect(show(known, treeOf(known, { processes: true, threads: true })))
      .toBe("all 3/0(python3 (1) 1/0(main thread (1) 1/0(a 1/1)) python3 (2) 1/0(thread (3) 1/0(a 1/1)) sh (4) 1/0(main thread (4) 1/0(a 1/1)))");
    expect(show(known, treeOf(known, { processes: true, mergeProcesses: true })))
      .toBe("all 3/0(python3 (1) 2/0(a 2/2) sh (4) 1/0(a 1/1))");
  });

  test("leaves out boxes below the least share, and only them", () => {
    const known = profileOf([...repeat(99, { stack: ["k:a"] }), { stack: ["k:b"] }]);
    expect(show(known, treeOf(known, { minimum: 0.01 }))).toBe("all 100/0(a 99/99 b 1/1)");
    expect(show(known, treeOf(known, { minimum: 0.1 }))).toBe("all 100/0(a 99/99)");
  });

  test("finds by position, and by path", () => {
    const known = profileOf(SIMPLE);
    const tree = treeOf(known);
    const node = findNode(tree, 3, 4.5);
    expect(known.names.name(tree.entry[node])).toBe("g");
    expect(findPath(tree, pathTo(tree, node))).toBe(node);
    const deeper = treeOf(known, { native: false });
    expect(known.names.name(deeper.entry[findPath(deeper, pathTo(tree, node))])).toBe("g");
  });

  test("finds by position from any node on what a search of the whole level finds", () => {
    const { source, names, state } = profileOf(Array.from({ length: 400 }, (_, at): SampleText =>
      ({ stack: ["p:main@/a.py:1", `p:f${at * 7919 % 137}@/a.py:2`, `n:g${at % 5}@libz.so`] })));
    const tree = buildTree(source, names, { ...state, native: true }, weigh(source, select(source, names, [], null)));
    for (let depth = 0; depth < tree.height; depth++) {
      const [first, end] = [tree.levels[depth], tree.levels[depth + 1]];
      for (let from = first; from <= end; from += 3) {
        for (const value of [-1, 0, 0.5, 7, 133.25, 399, 400, 500]) expect(findNodeFrom(tree, from, end, value)).toBe(Math.max(from, findNode(tree, depth, value)));
      }
    }
  });

  test("weighs in nanoseconds when samples weigh differently", () => {
    const known = profileOf([{ weight: 5, stack: ["k:a"] }, { weight: 7, stack: ["k:a"] }]);
    expect(show(known, treeOf(known))).toBe("all 12/0(a 12/12)");
  });
});

describe("changes of stacks", () => {
  const known = profileOf([
    { stack: ["k:a", "k:f", "k:b", "k:f", "k:c"] }, { stack: ["k:f", "k:c"] }, { stack: ["k:a", "k:x"] },
  ]);
  const change = (deed: "focus" | "hide" | "recursion", name: string) => ({ deed, row: rowOf(known, name) });

  test("focus keeps what is below a function", () => {
    expect(show(known, treeOf(known, { transforms: [change("focus", "f")] }))).toBe("all 2/0(f 2/0(b 1/0(f 1/0(c 1/1)) c 1/1))");
    const twice = [change("focus", "f"), change("focus", "b")];
    expect(show(known, treeOf(known, { transforms: twice }))).toBe("all 1/0(b 1/0(f 1/0(c 1/1)))");
  });

  test("hide gives a function's time to its callers", () => {
    expect(show(known, treeOf(known, { transforms: [change("hide", "f")] }))).toBe("all 3/0(a 2/0(b 1/0(c 1/1) x 1/1) c 1/1)");
  });

  test("recursion is one box, whatever is between", () => {
    expect(show(known, treeOf(known, { transforms: [change("recursion", "f")] })))
      .toBe("all 3/0(a 2/0(f 1/0(c 1/1) x 1/1) f 1/0(c 1/1))");
  });

  test("a collapsed library is one box as long as the stack stays in it", () => {
    const mixed = profileOf([{ stack: ["n:a@l.so", "n:b@l.so", "p:f@/x.py:1", "n:c@l.so"] }]);
    const row = mixed.names.libraries.texts.indexOf("l.so");
    expect(show(mixed, treeOf(mixed, { transforms: [{ deed: "collapse", row }] }))).toBe("all 1/0(l.so 1/0(f 1/0(l.so 1/1)))");
  });
});

describe("the order of time", () => {
  const samples: SampleText[] = ["a", "a", "b", "a"].flatMap((name, at) => [
    { time: at * 1e6, tid: 1, stack: ["k:top", `k:${name}`] }, { time: at * 1e6 + 1000, tid: 2, stack: ["k:top"] },
  ]);
  const timed = (shape: Partial<Shape>) => {
    const known = profileOf(samples);
    const selection = select(known.source, known.names, [], null);
    const full = { ...known.state, processes: false, ...shape };
    const tree = buildTree(known.source, known.names, full, weigh(known.source, selection));
    return show(known, finish(buildTimeTree(known.source, tree, full, selection, () => 0)) as Tree);
  };

  test("a thread at a time, what runs on is one box", () => {
    expect(timed({ threads: true }))
      .toBe("all 8/0(main thread (1) 4/0(top 4/0(a 2/2 b 1/1 a 1/1)) thread (2) 4/0(top 4/4))");
  });

  test("all threads together when threads are no level", () => {
    expect(timed({ threads: false })).toBe("all 8/0(top 8/4(a 1/1 a 1/1 b 1/1 a 1/1))");
  });
});

describe("sums", () => {
  const known = profileOf([
    { stack: ["p:f@/a.py:1", "p:g@/a.py:9", "p:f@/a.py:2", "n:c@l.so"] }, { stack: ["p:f@/a.py:1", "k:s"] }, { stack: ["p:g@/a.py:9"] },
  ]);
  const tree = treeOf(known);
  const size = known.profile.function_name.length;

  test("what is inside itself counts once, and totals are split by what was running", () => {
    const sums = finish(sumBy(tree, known.names, 0, size, (entry) => known.names.functionRow(entry)));
    const of = (name: string) => sums.find(({ row }) => row === rowOf(known, name));
    expect(of("f")).toMatchObject({ self: 0, total: 2, python: 0, native: 1, kernel: 1 });
    expect(of("g")).toMatchObject({ self: 1, total: 2, python: 1, native: 1, kernel: 0 });
  });

  test("callers lead up, callees down, and both weigh as much as the function", () => {
    expect(show(known, finish(calleesOf(tree, known.names, rowOf(known, "f"))))).toBe("f 2/0(g 1/0(f 1/0(c 1/1)) s 1/1)");
    expect(show(known, finish(callersOf(tree, known.names, rowOf(known, "g"))))).toBe("g 2/1(f 1/1)");
  });

  test("lines of a function, each sample once per line", () => {
    const self = weigh(known.source, select(known.source, known.names, [], null));
    expect(sumLines(known.source, known.names, tree, { self, totals: totalsOf(known.source, self) }, rowOf(known, "f")))
      .toEqual([{ line: 1, self: 0, total: 2 }, { line: 2, self: 0, total: 1 }]);
  });
});

describe("filters", () => {
  const known = profileOf([
    { process: "a", pid: 1, tid: 1, cpu: 0, stack: ["p:f@/x/site-packages/django/a.py:1"] },
    { process: "a", pid: 2, tid: 2, cpu: 1, stack: ["p:f@/x/site-packages/django/a.py:1", "n:c@l.so"], complete: false },
    { process: "b", pid: 3, tid: 4, cpu: 1, stack: ["p:h@/h.py:1", "i:eval@exe"] },
  ]);
  const passing = (...filters: [by: string, value: string, not?: boolean][]) => {
    const test = finish(compileFilters(known.source, known.names, filters.map(([by, value, not = false]) => ({ by: by as "pid", value, not }))));
    return [0, 1, 2].filter((at) => test === null || test(at));
  };

  test("each sort finds its samples", () => {
    expect(passing(["process", "a"])).toEqual([0, 1]);
    expect(passing(["pid", "2"])).toEqual([1]);
    expect(passing(["thread", "4"])).toEqual([2]);
    expect(passing(["cpu", "1"])).toEqual([1, 2]);
    expect(passing(["library", "django"])).toEqual([0, 1]);
    expect(passing(["module", "/h.py"])).toEqual([2]);
    expect(passing(["function", String(rowOf(known, "c"))])).toEqual([1]);
    expect(passing(["walk", "incomplete"])).toEqual([1]);
    expect(passing(["running", "python"])).toEqual([0, 2]);
    expect(passing(["running", "native"])).toEqual([1]);
  });

  test("those of one sort are alternatives, sorts go together, exclusion wins", () => {
    expect(passing(["pid", "1"], ["pid", "3"])).toEqual([0, 2]);
    expect(passing(["process", "a"], ["cpu", "1"])).toEqual([1]);
    expect(passing(["process", "a"], ["pid", "2", true])).toEqual([0]);
  });

  test("a window takes its first instant and leaves its last", () => {
    const { from, to } = select(known.source, known.names, [], [1e6, 2e6]);
    expect([from, to]).toEqual([1, 2]);
  });
});

test("a search counts each path once, however many of its boxes match", () => {
  const known = profileOf([{ stack: ["k:read", "k:do_read"] }, { stack: ["k:write"] }]);
  const { test: matches } = compileSearch("READ".toLowerCase(), false);
  const steps = searchTree(treeOf(known), known.names, false, matches ?? (() => false));
  let step = steps.next();
  while (!step.done) step = steps.next();
  expect(step.value).toMatchObject({ value: 1, boxes: 2 });
  expect(step.value.tops).toHaveLength(1);
});

test("a search for text takes every character as itself, and a wrong expression says so", () => {
  expect(compileSearch("a.*[", false).test?.("xa.*[")).toBe(true);
  expect(compileSearch("a.*[", true).error).not.toBe("");
  expect(compileSearch("Read", false).test?.("read")).toBe(false);
});

test("files belong to packages, the standard library, or their folder", () => {
  expect(packageOf("/v/lib/python3.12/site-packages/django/db/query.py")).toBe("django");
  expect(packageOf("/v/lib/python3.12/site-packages/six.py")).toBe("six");
  expect(packageOf("/usr/lib/python3.12/json/encoder.py")).toBe("standard library");
  expect(packageOf("<frozen importlib._bootstrap>")).toBe("standard library");
  expect(packageOf("/srv/shop/views.py")).toBe("/srv/shop/");
  expect(packageOf("app.py")).toBe("app.py");
});

describe("fields of processes", () => {
  test("any field is a sort of filters of its own: values of one are alternatives, of two must both hold", () => {
    const known = profileOf([1, 2, 3, 4].map((pid) => ({ pid, stack: ["k:a"] })));
    const { strings, processes } = known.profile;
    const text = (value: string) => strings.push(value) - 1;
    const [web, db, blue] = ["web", "db", "blue <b>"].map(text);
    processes[0].placement = { pod: web, container_name: blue };
    processes[1].placement = { pod: db, container_name: blue };
    processes[2].placement = { pod: db };
    expect(fieldNames(known.names)).toEqual(["container_name", "pod"]);
    const passes = (...values: string[]) => {
      const test = finish(compileFilters(known.source, known.names, values.map((value) => ({ by: "field", value, not: false }))));
      return [0, 1, 2, 3].filter((at) => test?.(at));
    };
    expect(passes("pod=db")).toEqual([1, 2]);
    expect(passes("pod=db", "pod=web")).toEqual([0, 1, 2]);
    expect(passes("pod=db", "container_name=blue <b>")).toEqual([1]);
    expect(passes("constructor=x")).toEqual([]);
  });
});

describe("names of boxes", () => {
  const known = profileOf([1, 2, 3].flatMap((pid) => [{ pid, stack: ["k:a"] }, { pid, tid: pid + 10, stack: ["k:a"] }]));
  const { names, profile: { strings, processes, threads } } = known;
  const text = (value: string) => strings.push(value) - 1;
  const merged = () => names.name(names.process(0, true), true);

  test("a process is called by what it runs, its threads by names of their own only", () => {
    processes[0].title = text("talk.py");
    threads.find(({ tid }) => tid === 11)!.name = text("MainThread");
    expect([0, 1].map((row) => names.name(names.firstProcess + row))).toEqual(["talk.py (1)", "python3 (2)"]);
    expect(threads.map((_, row) => names.name(names.firstThread + row)))
      .toEqual(["main thread (1)", "MainThread (11)", "main thread (2)", "thread (12)", "main thread (3)", "thread (13)"]);
  });

  test("processes of one name together are called by what they run only if that is the same", () => {
    expect(merged()).toBe("python3");
    const same = profileOf([1, 2].map((pid) => ({ pid, stack: ["k:a"] })));
    const title = same.profile.strings.push("celery worker") - 1;
    for (const process of same.profile.processes) process.title = title;
    expect(same.names.name(same.names.process(0, true), true)).toBe("celery worker");
  });
});
