// A profile that takes the place of another is what a page of its own would be, with what was chosen in the old one.

import { describe, expect, test } from "vitest";
import { computeAll } from "../../src/model/computed";
import { finish } from "../../src/model/steps";
import { succeed } from "../../src/model/successor";
import type { State } from "../../src/state";
import { profileOf, type SampleText } from "../made_up";

const old: SampleText[] = [
  { stack: ["p:main@/srv/app.py:1", "p:work@/srv/app.py:3"] }, { stack: ["p:main@/srv/app.py:1", "p:load@/srv/db.py:7", "n:deflate@libz.so"] },
];
/** Every number of the old one's has moved. */
const grown: SampleText[] = [{ process: "earlier", pid: 9, stack: ["p:other@/srv/other.py:1"] }, ...old, ...old];

describe("what follows a profile", () => {
  const before = profileOf(old), after = profileOf(grown);
  const rowOf = ({ names }: typeof before, name: string) => names.profile.function_name.findIndex((_, row) => names.functionName(row) === name);
  const fromScratch = (state: State) => finish(computeAll(after, state)).tree;

  test("has the filters and changes of stacks, by what they are called", () => {
    const asked: State = { ...before.state, filters: [{ by: "function", value: String(rowOf(before, "load")), not: false }], transforms: [{ deed: "hide", row: rowOf(before, "main") }] };
    const next = finish(succeed(before.names, after.profile, () => asked));
    expect(next.state.filters).toEqual([{ by: "function", value: String(rowOf(after, "load")), not: false }]);
    expect(next.state.transforms).toEqual([{ deed: "hide", row: rowOf(after, "main") }]);
    expect(next.tree.total[0]).toBe(2);
    expect(next.tree).toEqual(fromScratch(next.state));
  });

  test("is computed again for what was chosen meanwhile", () => {
    let asked: State = before.state;
    const steps = succeed(before.names, after.profile, () => asked);
    steps.next();
    for (let at = 0; at < 8; at++) steps.next();
    asked = { ...asked, native: false };
    const next = finish(steps);
    expect(next.state.native).toBe(false);
    expect(next.tree).toEqual(fromScratch(next.state));
  });

  test("has what was found and chosen meanwhile, for which nothing is computed again", () => {
    const count = (change: (at: number) => State) => {
      const counted = { steps: 0, state: before.state };
      const steps = succeed(before.names, after.profile, () => change(counted.steps));
      let step = steps.next();
      for (; !step.done; step = steps.next()) counted.steps++;
      return { ...counted, state: step.value.state };
    };
    const still = count(() => before.state);
    const chosen = { ...before.state, search: "deflate", chosen: rowOf(before, "deflate") };
    const changed = count((at) => at < 8 ? before.state : chosen);
    expect(changed.steps).toBe(still.steps);
    expect(changed.state).toEqual({ ...still.state, search: "deflate", chosen: rowOf(after, "deflate") });
    expect(rowOf(after, "deflate")).not.toBe(rowOf(before, "deflate"));
  });
});
