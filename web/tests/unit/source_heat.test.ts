import { describe, expect, test } from "vitest";
import { select, weigh } from "../../src/model/filters";
import { cutLine, innermostPython, SourceHeat, type RangeHeat } from "../../src/model/source_heat";
import { finish } from "../../src/model/steps";
import { totalsOf } from "../../src/model/sums";
import { profileOf, type SampleText } from "../made_up";

function heatOf(samples: SampleText[]) {
  const { profile, names, source } = profileOf(samples);
  const selection = select(source, names, [], null);
  const self = weigh(source, selection);
  const heat = new SourceHeat(source, names, finish(innermostPython(source, names)), self, totalsOf(source, self));
  return { heat, selection, file: (path: string) => profile.strings.indexOf(path), names };
}

const main = "p:main@/srv/a.py:3", again = "p:main@/srv/a.py:4";

describe("heat of source lines", () => {
  test("own time is that of the innermost Python frame, told apart by what ran; totals count once", () => {
    const { heat, file } = heatOf([
      { stack: [main] }, { stack: [main, "i:eval@python3"] }, { stack: [main, "n:deflate@libz.so"] }, { stack: [main, "n:read@libc.so", "k:vfs_read"] },
      { stack: [main, "e:stack page not present"] }, { stack: [main, again, main, "p:f@/v/lib/python3.12/site-packages/x/y.py:9"] },
      { stack: ["n:deflate@libz.so"] },
    ]);
    const lines = finish(heat.lines(file("/srv/a.py")));
    expect(lines.get(3)).toEqual({ python: 2, native: 1, kernel: 1, self: 5, total: 6 });
    expect(lines.get(4)).toEqual({ python: 0, native: 0, kernel: 0, self: 0, total: 1 });
    expect(finish(heat.files()).map(({ origin, self, total }) => [origin, self, total])).toEqual([[0, 5, 6], [1, 1, 1]]);
  });

  test("a line's callers and callees are those directly above and below", () => {
    const { heat, file, names } = heatOf([
      { stack: [main, "i:eval@python3", "p:f@/srv/a.py:9", "n:deflate@libz.so"] }, { stack: [main, "p:f@/srv/a.py:9"] }, { stack: [again, "p:f@/srv/a.py:9", "p:g@/srv/b.py:1"] },
    ]);
    const { callers, callees } = finish(heat.calls(file("/srv/a.py"), 9));
    const shown = (calls: typeof callers) => calls.map(({ row, line, total }) => [names.functionName(row), line, total]);
    expect(shown(callers)).toEqual([["main", 3, 2], ["main", 4, 1]]);
    expect(shown(callees)).toEqual([["deflate", 0, 1], ["g", 1, 1]]);
    expect(shown(finish(heat.calls(file("/srv/a.py"), 3)).callees)).toEqual([["f", 9, 2]]);
  });

  test("expressions have the samples whose innermost Python frame was in them", () => {
    const { heat, file, selection } = heatOf([
      { stack: [main], range: [3, 5, 12] }, { stack: [main, "n:x@y.so"], range: [3, 5, 12] }, { stack: [main], range: [3, 7, 9] }, { stack: [main] },
    ]);
    const ranges = finish(heat.ranges(file("/srv/a.py"), selection)).map(({ column, endColumn, self, python, native }) => [column, endColumn, self, python, native]);
    expect(ranges).toEqual([[5, 12, 2, 1, 1], [7, 9, 1, 1, 0]]);
  });
});

describe("a line cut into expressions", () => {
  const range = (column: number, endColumn: number, line = 1, endLine = line): RangeHeat =>
    ({ line, endLine, column, endColumn, self: 1, python: 1, native: 0, kernel: 0, total: 0 });
  const cut = (text: string, ...ranges: RangeHeat[]) => cutLine(text, 1, ranges).map(({ text: piece, range: of }) => [piece, of ? ranges.indexOf(of) : -1]);

  test("the shortest expression that holds a place has it", () => {
    expect(cut("a = f(g(x))", range(5, 12), range(7, 11))).toEqual([["a = ", -1], ["f(", 0], ["g(x)", 1], [")", 0]]);
  });
  test("columns count bytes of UTF-8, not characters", () => {
    expect(cut("é = '🐍' + f()", range(15, 18))).toEqual([["é = '🐍' + ", -1], ["f()", 0]]);
  });
  test("an expression over several lines goes on to the end of its first", () => {
    expect(cut("x = f(", range(5, 2, 1, 3))).toEqual([["x = ", -1], ["f(", 0]]);
    expect(cut("    a,", range(5, 2, 0, 3))).toEqual([["    ", -1], ["a,", 0]]);
  });
  test("columns that the line does not have lead nowhere", () => {
    expect(cut("short", range(3, 999), range(400, 500))).toEqual([["sh", -1], ["ort", 0]]);
    expect(cut("", range(1, 5))).toEqual([]);
  });
});
