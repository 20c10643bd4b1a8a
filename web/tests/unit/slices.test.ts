// What takes long at a million samples is cut into steps, so that a page answers between them.

import { expect, test } from "vitest";
import { parseProfile } from "../../src/data/read";
import { computeSteps } from "../../src/model/computed";
import { binFiltered, binThreads, mapSeconds } from "../../src/model/density";
import { select, weigh, weighFilter, type Filter } from "../../src/model/filters";
import { gilByFunction } from "../../src/model/gil";
import { Names } from "../../src/model/names";
import { compileSearch, searchTree } from "../../src/model/search";
import { buildSource } from "../../src/model/source";
import { innermostPython, SourceHeat } from "../../src/model/source_heat";
import { finish, type Steps } from "../../src/model/steps";
import { succeed } from "../../src/model/successor";
import { calleesOf, callersOf, sumBy, totalsOf } from "../../src/model/sums";
import { buildTree } from "../../src/model/tree";
import { initialState } from "../../src/state";
import { millionData } from "../million";

/** Milliseconds of processor time; what else runs on the machine is not in it, but this process's collector and compiler are. */
const LONGEST = 200;

test("no step of a million samples takes long", () => {
  const data = millionData();
  const profile = parseProfile(data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer);
  const names = new Names(profile), source = buildSource(profile), state = initialState(names);
  const selection = select(source, names, [], null);
  const self = weigh(source, selection), tree = buildTree(source, names, state, self);
  const known = { profile, names, source, selection, self, tree };
  const heat = new SourceHeat(source, names, finish(innermostPython(source, names)), self, totalsOf(source, self));
  const filter: Filter = { by: "function", value: "17", not: false };
  const row = (entry: number) => names.functionRow(entry);
  const works: Record<string, () => Steps<unknown>> = {
    filter: () => computeSteps(known, { ...state, filters: [filter] }, state),
    "other data": () => succeed(names, profile, () => state),
    window: () => computeSteps(known, { ...state, window: [10e9, 30e9] }, state),
    lines: () => computeSteps(known, { ...state, lines: true }, state),
    "time order": () => computeSteps(known, { ...state, order: "time", window: [10e9, 11e9] }, state),
    inverted: () => computeSteps(known, { ...state, order: "inverted", window: [10e9, 11e9] }, state),
    gil: () => gilByFunction({ ...source }, names),
    share: () => weighFilter(source, names, filter),
    functions: () => sumBy(tree, names, 0, profile.function_name.length, row),
    callers: () => callersOf(tree, names, 41 * 5 % 3000),
    callees: () => calleesOf(tree, names, 41 * 5 % 3000),
    search: () => searchTree(tree, names, false, compileSearch("method_17", false).test as (text: string) => boolean),
    overview: () => binFiltered(source, names, [filter], 600),
    lanes: () => binThreads(source, profile.threads.length, 600, selection),
    seconds: () => mapSeconds(source, 50, selection),
    files: () => heat.files(), "lines of a file": () => heat.lines(profile.function_file[1]), calls: () => heat.calls(profile.function_file[1], 5),
  };
  const measure = (begin: () => Steps<unknown>) => {
    const steps = begin();
    let most = 0, count = 0;
    for (let isDone = false; !isDone; count++) {
      const before = process.cpuUsage();
      isDone = steps.next().done === true;
      const { user, system } = process.cpuUsage(before);
      most = Math.max(most, (user + system) / 1000);
    }
    return { most: Math.round(most), count };
  };
  const longest = Object.entries(works).map(([name, begin]) => {
    let measured = measure(begin);
    // The first time its code may have been compiled, and a collection may come at any.
    for (let again = 0; again < 3 && measured.most > LONGEST; again++) measured = measure(begin);
    return { name, ...measured };
  });
  console.log(`figure: longest step of a million samples, ms of CPU and steps: ${longest.map(({ name, most, count }) => `${name} ${most}/${count}`).join(", ")}`);
  expect(longest.filter(({ most }) => most > LONGEST)).toEqual([]);
}, 600_000);
