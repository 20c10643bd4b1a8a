// A page that viperf wrote, against the folded stacks that it wrote of the same file and its report of that: VIPERF_PAGE,
// VIPERF_FOLDED, VIPERF_REPORT. One of stacks that take the GIL, against viperf's report of them: VIPERF_GIL_PAGE,
// VIPERF_GIL_JSON.

import { readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { closeBrowser, downloadText, executable, fact, openFile } from "./open";

const { VIPERF_PAGE: file = "", VIPERF_FOLDED: foldedFile = "", VIPERF_REPORT: reportFile = "" } = process.env;
if (!file || !reportFile) console.warn("skipped: VIPERF_PAGE, VIPERF_FOLDED and VIPERF_REPORT name no page, so none that viperf wrote was read");

/** A function of `viperf report --json`. */
interface Function {
  kind: string;
  name: string;
  file: string;
  first_line: number;
  own: { samples: number };
  total: { samples: number };
}

/** Of a row of the table: only Python functions have a line. */
const isPython = (where: string) => /:\d+$/.test(where);

interface Line {
  frames: string[];
  count: number;
}

describe.skipIf(!executable || !file)("a recorded page", () => {
  afterAll(closeBrowser);
  const text = file ? readFileSync(foldedFile, "utf8") : "";
  const lines: Line[] = text.trim().split("\n").filter(Boolean).map((line) => {
    const at = line.lastIndexOf(" ");
    return { frames: line.slice(0, at).split(";"), count: Number(line.slice(at + 1)) };
  });
  const total = lines.reduce((sum, { count }) => sum + count, 0);

  test("exports the very stacks that viperf folds", async () => {
    const { page, close } = await openFile(file, { address: "threads=0&lines=1&interpreter=0" });
    const folded = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=folded]");
    });
    expect(folded === text || folded.split("\n").slice(0, 3)).toEqual(true);
    await close();
  });

  test("finds for every well-known name the share that the stacks have", async () => {
    const { page, close } = await openFile(file, { address: "threads=0&lines=1&interpreter=0" });
    const names = new Map<string, number>();
    for (const { frames, count } of lines) {
      for (const name of new Set(frames.slice(1).filter((frame) => frame.endsWith("_[p]")).map((frame) => frame.split(" (")[0]))) {
        if (/^[\w.]+$/.test(name)) names.set(name, (names.get(name) ?? 0) + count);
      }
    }
    const wanted = [...names].sort((a, b) => b[1] - a[1]).slice(0, 5);
    expect(wanted.length).toBeGreaterThan(0);
    for (const [name] of wanted) {
      const matching = lines.filter(({ frames }) => frames.slice(1).some((frame) => frame.startsWith(`${name} (`)));
      const share = matching.reduce((sum, { count }) => sum + count, 0) / total;
      await page.evaluate((search) => { location.hash = `threads=0&lines=1&interpreter=0&regex=1&search=${encodeURIComponent(search)}`; }, `^${name} \\(`);
      await expect.poll(() => fact(page, "searchShare")).toBe(share.toFixed(6));
    }
    await close();
  });

  test("its table has the self time of every Python function", async () => {
    const { page, close } = await openFile(file, { address: "tab=table&interpreter=0" });
    const csv = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=csv]");
    });
    const own = new Map<string, number>();
    for (const { frames, count } of lines) {
      const leaf = frames.at(-1) ?? "";
      // Not every line is known.
      const key = leaf.replace(/(:\d+)?\)_\[p\]$/, "");
      if (key !== leaf) own.set(key, (own.get(key) ?? 0) + count);
    }
    const shown = new Map<string, number>();
    for (const [, name, where, self] of csv.matchAll(/^"([^"]*)","([^"]*)","(\d+)"/gm)) {
      const key = `${name} (${where.replace(/:\d+$/, "")}`;
      if (Number(self) > 0 && (isPython(where) || own.has(key))) shown.set(key, (shown.get(key) ?? 0) + Number(self));
    }
    expect(own.size).toBeGreaterThan(0);
    expect(shown).toEqual(own);
    await close();
  });

  test.skipIf(!reportFile)("its table has the Python functions with time of their own that viperf report has, no more and no less, with the same figures", async () => {
    const { functions } = JSON.parse(readFileSync(reportFile, "utf8")) as { functions: Function[] };
    const sums = (rows: (readonly [string, number, number])[]) => {
      const byName = new Map<string, [number, number][]>();
      // The report names what has time of its own.
      for (const [key, own, all] of rows) if (own > 0) byName.set(key, [...byName.get(key) ?? [], [own, all]]);
      for (const same of byName.values()) same.sort(([one, whole], [other, wholeOther]) => one - other || whole - wholeOther);
      return byName;
    };
    const reported = sums(functions.filter(({ kind }) => kind === "python").map(({ name, file: path, first_line, own, total: all }) => [`${name} (${path}:${first_line})`, own.samples, all.samples]));
    expect(reported.size).toBeGreaterThan(0);
    const { page, close } = await openFile(file, { address: "tab=table&interpreter=0" });
    const csv = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=csv]");
    });
    const shown = sums([...csv.matchAll(/^"([^"]*)","([^"]*)","(\d+)","(\d+)"/gm)].filter(([, , where]) => isPython(where)).map(([, name, where, own, all]) => [`${name} (${where})`, Number(own), Number(all)]));
    expect(shown).toEqual(reported);
    await close();
  });
});

const { VIPERF_GIL_PAGE: gilPage = "", VIPERF_GIL_JSON: gilFile = "" } = process.env;
if (!gilPage) console.warn("skipped: VIPERF_GIL_PAGE and VIPERF_GIL_JSON name no page, so no time of taking the GIL was compared");

interface Reported {
  name: string;
  split: { gil_wait: { samples: number } } | null;
}

describe.skipIf(!executable || !gilPage)("time in taking the GIL", () => {
  afterAll(closeBrowser);

  test("is that of viperf report, in the table and in the details", async () => {
    const { functions } = JSON.parse(readFileSync(gilFile, "utf8")) as { functions: Reported[] };
    const reported = new Map(functions.flatMap(({ name, split }) => split && split.gil_wait.samples > 0 ? [[name, split.gil_wait.samples]] : []));
    expect(reported.size).toBeGreaterThan(2);
    const { page, close } = await openFile(gilPage, { address: "tab=table&sort=gil" });
    const csv = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=csv]");
    });
    const shown = [...csv.matchAll(/^"([^"]*)",.*,"(\d+)"$/gm)].map(([, name, gil]) => [name, Number(gil)] as const).filter(([, gil]) => gil > 0);
    expect(new Map(shown)).toEqual(reported);
    expect(await page.locator("#table-scroll .column-gil").isVisible()).toBe(true);
    await page.click("#details-button");
    const rows = await page.locator("#gil tr").evaluateAll((all) => all.map((row) => [row.children[0].textContent?.split(" ")[0], parseInt(row.children[1].textContent ?? "")] as const));
    expect(new Map(rows)).toEqual(reported);
    await close();
  });
});
