import { describe, expect, test } from "vitest";
import { addLanes, binThreads, highestBin, mapSeconds } from "../../src/model/density";
import { select } from "../../src/model/filters";
import { finish } from "../../src/model/steps";
import { profileOf, type SampleText } from "../made_up";

const SAMPLES: SampleText[] = [
  { time: 0, tid: 1, stack: ["p:f@/a.py:1"] }, { time: 0.9e9, tid: 1, stack: ["p:f@/a.py:1", "n:c@l.so"] },
  { time: 1.1e9, tid: 2, stack: ["k:read"] }, { time: 2.02e9, tid: 2, stack: ["e:unknown"] },
];

describe("lanes", () => {
  const { source, names, profile } = profileOf(SAMPLES);
  const lanes = finish(binThreads(source, profile.threads.length, 2, select(source, names, [], null)));

  test("each thread has its samples, by kind and time, and the last lane has all", () => {
    expect([...lanes[0].bins]).toEqual([1, 0, 1, 0, 0, 0, 0, 0]);
    expect([...lanes[1].bins]).toEqual([0, 0, 0, 0, 0, 1, 0, 1]);
    expect(lanes[2].total).toBe(4);
    expect([...addLanes(lanes.slice(0, 2), 2).bins]).toEqual([...lanes[2].bins]);
    expect(highestBin(lanes[2], 2)).toBe(2);
  });
});

describe("the second-by-second map", () => {
  test("has a column per second and a row per part of it", () => {
    const { source, names } = profileOf(SAMPLES);
    const map = finish(mapSeconds(source, 10, select(source, names, [], null)));
    expect([map.columns, map.step, map.highest]).toEqual([3, 1, 1]);
    expect([...map.cells.keys()].filter((cell) => map.cells[cell] > 0)).toEqual([0, 9, 11, 20]);
  });

  test("lays seconds over each other where there are too many", () => {
    const { source, names } = profileOf([...SAMPLES, { time: 20_000e9, tid: 1, stack: ["k:read"] }], { time_unit_ns: 1e6 });
    const map = finish(mapSeconds(source, 10, select(source, names, [], null)));
    expect([map.step, map.columns]).toEqual([3, 6667]);
    expect([...map.cells.slice(0, 10)]).toEqual([2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
  });
});
