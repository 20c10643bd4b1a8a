import { expect, test } from "vitest";
import { readAddress, writeAddress, type State } from "../../src/state";
import { profileOf } from "../made_up";

const { names, state: initial } = profileOf([{ process: "a:b&c", stack: ["k:a", "k:b"] }]);

test("an address holds the whole state and nothing that the page opens with", () => {
  const state: State = {
    ...initial, tab: "table", search: "a&b=c#", regex: true, order: "size", root: "bottom", color: "self", threads: false, lines: true,
    native: false, minimum: 0.001, filters: [{ by: "process", value: "a:b&c", not: false }, { by: "cpu", value: "0", not: true }],
    transforms: [{ deed: "hide", row: 1 }, { deed: "collapse", row: 0 }], window: [1_500_000_000, 2_000_000_000], zoom: [1, 2, 3], chosen: 1,
    group: "module", sort: "kernel", ascending: true, windowA: [0, 1_000_000_000], windowB: [2_000_000_000, 3_500_000_000], normalize: "time",
    boxWidth: "new", changeColors: "orange-purple", changes: "stacks", chance: true, file: "/srv/a&b.py", line: 7,
  };
  expect(readAddress(writeAddress(state, initial, names), initial, names)).toEqual(state);
  // In the order of time a zoom is a node of the tree, of which there may be more than there are names.
  const timed: State = { ...state, order: "time", zoom: [names.size + 7] };
  expect(readAddress(writeAddress(timed, initial, names), initial, names)).toEqual(timed);
  expect(writeAddress(initial, initial, names)).toBe("");
});

test("what an address asks for that is not there is passed over", () => {
  const hostile = "tab=__proto__&order=constructor&regex=yes&only=evil:1&only=function:99999&without=&change=focus:-1&change=drop:0"
    + "&window=5-1&zoom=zzzzzz&function=1e9&minimum=-4&color=kind%00&sort=toString";
  expect(readAddress(hostile, initial, names)).toEqual(initial);
});
