// The page's statistics against those of `viperf diff`: a recording of two versions of a program, with what
// `viperf diff --json --all` said of it, is in golden/comparison.json; VIPERF_DIFF_PAGE and VIPERF_DIFF_JSON (and
// VIPERF_DIFF_TIME_JSON, by time) name another.

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { parseProfile } from "../../src/data/read";
import { functionRows, GroupTree, KIND_KEYS, stackRows } from "../../src/model/compare/groups";
import { compareSteps, type Change, type Compared, type DiffRow } from "../../src/model/compare/rows";
import { countInterval, difference, shareInterval, width } from "../../src/model/compare/interval";
import { sidesOfRecordings, sidesOfWindows, type Normalization, type Side } from "../../src/model/compare/sides";
import { select } from "../../src/model/filters";
import { Names } from "../../src/model/names";
import { buildSource, type Source } from "../../src/model/source";
import { finish } from "../../src/model/steps";
import { profileOf } from "../made_up";

interface Golden {
  /** The page's data as it is in the page. */
  data: string;
  samples: Report;
  time: Report;
}

type Figures = { base_samples: number; new_samples: number; base: number; new: number; low: number; high: number };
interface Report {
  functions_compared: number;
  /** In the golden file only those that could be judged, and some of the others. */
  functions: { kind: string; name: string; verdict: string; self: Figures; total: Figures }[];
  stacks: { verdict: string; self: Pick<Figures, "base_samples" | "new_samples"> }[];
}

function read(): Golden {
  const { VIPERF_DIFF_PAGE: page, VIPERF_DIFF_JSON: samples = "", VIPERF_DIFF_TIME_JSON: time = "" } = process.env;
  if (!page) return JSON.parse(readFileSync(new URL("golden/comparison.json", import.meta.url), "utf8")) as Golden;
  const data = /id="profile">([^<]+)</.exec(readFileSync(page, "utf8"))?.[1] ?? "";
  const report = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Report;
  return { data, samples: report(samples), time: report(time) };
}

const golden = read();
const bytes = gunzipSync(Buffer.from(golden.data, "base64"));
const profile = parseProfile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
const names = new Names(profile);
const source = buildSource(profile);
const SHOWN = { native: true, kernel: true, interpreter: false };

/** Every row that one side has. */
function compareRows(sides: [Side, Side], of: Source, normalization: Normalization, compared: Compared): DiffRow[] {
  const judged = finish(compareSteps(sides, of.samples, normalization, compared));
  return Array.from({ length: judged.rows }, (_, row) => row).filter((row) => judged.has(row)).map((row) => judged.row(row));
}

function figures({ baseSamples, newSamples, base, after, interval }: Change): number[] {
  return [baseSamples, newSamples, base, after, interval.low, interval.high];
}

/** A page has times in microseconds, so a sample at the border of two blocks may be in the other one. */
function expectNear(seen: number[], { base_samples, new_samples, base, new: after, low, high }: Figures, what: string): void {
  expect([what, seen[0], seen[1]]).toEqual([what, base_samples, new_samples]);
  [base, after].forEach((value, at) => expect(Math.abs(seen[2 + at] - value), what).toBeLessThan(1e-6));
  const wide = high - low;
  [low, high].forEach((value, at) => expect(Math.abs(seen[4 + at] - value), `${what}: ${seen.join(" ")}`).toBeLessThan(1e-6 + wide * 0.02));
}

describe.each(["samples", "time"] as Normalization[])("a comparison by %s", (normalization) => {
  const sides = sidesOfRecordings(profile, select(source, names, [], null), null);
  const tree = finish(GroupTree.steps(source, names, SHOWN));
  const key = (kind: string, name: string, { self, total }: { self: Figures; total: Figures }) =>
    [kind, name, self.base_samples, self.new_samples, total.base_samples, total.new_samples].join("\n");

  test("has the functions of viperf diff, with their figures, intervals and verdicts", () => {
    const rows = compareRows(sides, source, normalization, functionRows(tree));
    const functionOf = (group: number) => profile.function_group.indexOf(group);
    const keyOf = (row: DiffRow) => key(KIND_KEYS[profile.function_kind[functionOf(row.of)]], profile.strings[profile.function_name[functionOf(row.of)]], {
      self: { base_samples: row.own.baseSamples, new_samples: row.own.newSamples } as Figures,
      total: { base_samples: row.total.baseSamples, new_samples: row.total.newSamples } as Figures,
    });
    const seen = new Map(rows.map((row) => [keyOf(row), row]));
    const { functions } = golden[normalization];
    expect(rows.length).toBe(golden[normalization].functions_compared);
    expect(functions.length).toBeGreaterThan(50);
    for (const expected of functions) {
      const row = seen.get(key(expected.kind, expected.name, expected));
      expect(row, `${expected.kind} ${expected.name}`).toBeDefined();
      if (!row) continue;
      expectNear(figures(row.own), expected.self, expected.name);
      expectNear(figures(row.total), expected.total, expected.name);
      const isClear = [expected.self, expected.total].every(({ low, high }) => Math.min(Math.abs(low), Math.abs(high)) > (high - low) * 0.05);
      if (isClear) expect([expected.name, row.verdict]).toEqual([expected.name, expected.verdict]);
    }
    // Of a recording of something else, who knows.
    if (!process.env.VIPERF_DIFF_PAGE) expect(functions.some(({ verdict }) => verdict === "grew" || verdict === "appeared")).toBe(true);
  });

  test("has its stacks", () => {
    const rows = compareRows(sides, source, normalization, stackRows(tree)).filter(({ own }) => own.baseSamples + own.newSamples > 0);
    const sum = (all: Report["stacks"]) => all.map(({ self }) => `${self.base_samples} ${self.new_samples}`).sort();
    const { stacks } = golden[normalization];
    expect(rows.map(({ own }) => `${own.baseSamples} ${own.newSamples}`).sort()).toEqual(sum(stacks));
    const changed = stacks.filter(({ verdict }) => verdict !== "unchanged" && verdict !== "too-few-samples");
    const seen = rows.filter(({ verdict }) => verdict !== "unchanged" && verdict !== "too-few-samples");
    expect(seen.map(({ own }) => `${own.baseSamples} ${own.newSamples}`).sort()).toEqual(sum(changed));
  });
});

test("the published example comes out, and the tables of the normal and of Student's distribution", () => {
  const estimate = (count: number, of: number) => ({ value: count / of, interval: shareInterval(count, of, 1.95996) });
  const { low, high } = difference(estimate(48, 80), estimate(56, 70));
  expect(low).toBeCloseTo(0.0524, 4);
  expect(high).toBeCloseTo(0.3339, 4);
  expect(width(0.05, null)).toBeCloseTo(1.95996, 3);
  expect(width(0.001, 60)).toBeCloseTo(3.4602, 2);
  expect(countInterval(0, 1.96).high).toBeCloseTo(3.84, 2);
});

test("two stretches of one recording are told apart, and a stretch is no change from itself", () => {
  const known = profileOf(Array.from({ length: 4000 }, (_, at) => ({
    time: at * 1e6, stack: ["p:main@/a.py:1", at % 10 < (at < 2000 ? 3 : 6) ? "p:hot@/a.py:5" : "p:cold@/a.py:9", ...at >= 2000 && at % 10 === 9 ? ["n:late@lib.so"] : []],
  })));
  const tree = finish(GroupTree.steps(known.source, known.names, SHOWN));
  const verdicts = (first: [number, number], second: [number, number]) => {
    const sides = sidesOfWindows(known.profile, known.source, null, [first, second]);
    return Object.fromEntries(compareRows(sides, known.source, "samples", functionRows(tree))
      .map(({ of, verdict, own }) => [known.names.functionName(of), [verdict, Math.round((own.after - own.base) * 100)]]));
  };
  expect(verdicts([0, 2e9], [2e9, 4e9])).toEqual({ main: ["unchanged", 0], hot: ["grew", 30], cold: ["shrank", -30], late: ["appeared", 10] });
  expect(verdicts([2e9, 4e9], [0, 2e9]).late).toEqual(["vanished", -10]);
  expect(Object.values(verdicts([0, 1e9], [1e9, 2e9])).every(([verdict]) => verdict === "unchanged")).toBe(true);
});
