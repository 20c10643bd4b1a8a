// The source view: index, figures, expressions, calls, and source text that is hostile.

import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { boxCentre, closeBrowser, executable, openFile, writePage } from "./open";

const installed = "/v/lib/python3.12/site-packages/django/db.py";
function samples(): SampleText[] {
  return Array.from({ length: 100 }, (_, at): SampleText => {
    const base = ["n:_start@python3", "i:eval@python3", "p:<module>@/srv/app.py:2"];
    if (at < 40) return { stack: [...base, "p:work@/srv/app.py:5"], range: [5, 12, 20] };
    if (at < 70) return { stack: [...base, "p:work@/srv/app.py:5", "n:deflate@libz.so"], range: [5, 14, 19] };
    if (at < 90) return { stack: [...base, `p:query@${installed}:7`, "n:read@libc.so", "k:vfs_read"] };
    return { stack: [...base, "p:loads@/usr/lib/python3.12/json/__init__.py:3"] };
  });
}

const text = "import zlib\nmain()\n\ndef work(data):\n\treturn zlib.compress(data)\n";
const sources = [{ path: "/srv/app.py", text, changed_since: false }];
const lineText = (page: Page, line: number) => page.locator(`[data-line="${line}"]`).innerText();
const parts = async (page: Page, line: number) => (await lineText(page, line)).split(/\n+/).map((part) => part.trim()).filter(Boolean);

interface Shown {
  number: number;
  self: number;
  total: number;
}

async function shownLines(page: Page): Promise<Shown[]> {
  return await page.evaluate(() => (globalThis as unknown as { viperf: { sourceView: { lines: { number: number; heat: { self: number; total: number } | null }[] } } })
    .viperf.sourceView.lines.filter(({ heat }) => heat).map(({ number, heat }) => ({ number, self: heat?.self ?? 0, total: heat?.total ?? 0 })));
}

describe.skipIf(!executable)("the source view", () => {
  afterAll(closeBrowser);

  test("gives the tooltip the text of its lines", async () => {
    const { page, close } = await openFile(writePage("tooltip", pageOf(dataOf(samples()), sources)));
    const { x, y } = await boxCentre(page, "work");
    // The text is read when it is first wanted; who looks again sees it.
    await expect.poll(async () => {
      await page.mouse.move(5, 5);
      await page.mouse.move(x, y);
      return await page.locator("#tooltip .lines").innerText();
    }).toMatch(/line 5\s+70\.0 %\s+40\.0 %\s+return zlib\.compress\(data\)/);
    await close();
  });

  test("lists files by whose they are, and shows figures, expressions, callers and callees", async () => {
    const { page, close } = await openFile(writePage("source", pageOf(dataOf(samples()), sources)));
    await page.click("#source-tab");
    await page.waitForSelector(".expression");
    expect(await page.locator(".list-heading").allInnerTexts()).toEqual(["Project", "Installed packages", "Standard library"]);
    expect(await page.locator("#source-title strong").innerText()).toBe("app.py");
    expect(await page.locator("#source-title").innerText()).toContain("total 100 % · self 70.0 %: Python 40.0 %, native 30.0 %");
    expect(await page.locator("#source-note").isVisible()).toBe(false);
    expect((await parts(page, 5)).slice(0, 5)).toEqual(["5", "70.0 %", "40.0 %", "30.0 %", "return zlib.compress(data)"]);
    expect((await parts(page, 2)).slice(0, 3)).toEqual(["2", "100 %", "main()"]);
    const expressions = page.locator("[data-line='5'] .expression");
    expect(await expressions.allInnerTexts()).toEqual(["b.", "compr", "e"]);
    expect(await expressions.nth(1).getAttribute("title")).toContain("native 30.0 %");
    await page.click("[data-line='5']");
    expect(await page.evaluate(() => location.hash)).toContain("line=5");
    expect(await page.locator("#source-calls").innerText()).toMatch(/Callers of line 5\s+70\.0 %\s+<module>\s+app\.py:2\s+Called from line 5\s+30\.0 %\s+deflate\s+libz\.so/);
    await page.click(".call >> text=<module>");
    expect(await page.locator("[data-line='2']").getAttribute("aria-selected")).toBe("true");
    await page.click(".call >> text=work");
    expect(await page.locator("[data-line='5']").getAttribute("aria-selected")).toBe("true");
    await page.click(".call >> text=deflate");
    expect(await page.locator("#sandwich-title strong").innerText()).toBe("deflate");
    await page.goBack();
    await page.click("#source-files >> text=db.py");
    expect(await page.locator("#source-note").innerText()).toContain("--source-root DIR");
    expect((await parts(page, 7)).slice(0, 3)).toEqual(["7", "20.0 %", "20.0 %"]);
    await page.fill("#search", "loads");
    expect(await page.locator("#source-files [role=option]").count()).toBe(1);
    await page.fill("#search", "");
    // The lines by own time, by a button and by keys, and only these.
    await page.click("#source-files >> text=app.py");
    await page.click("#line-next");
    expect(await page.locator("#line-place").innerText()).toBe("1 of 1");
    expect(await page.locator("[data-line='5']").getAttribute("aria-selected")).toBe("true");
    await page.check("#warm");
    expect(await page.locator("[data-line]").evaluateAll((all) => all.map((line) => (line as HTMLElement).dataset.line))).toEqual(["2", "5"]);
    expect(await page.evaluate(() => location.hash)).toContain("warm=1");
    await page.uncheck("#warm");
    expect(await page.locator("[data-line]").count()).toBe(5);
    await page.click("#graph-tab");
    const { x, y } = await boxCentre(page, "work");
    await page.mouse.click(x, y, { button: "right" });
    await page.click("#context-menu >> text=Open in source");
    expect(await page.locator("[data-line='5']").getAttribute("aria-selected")).toBe("true");
    await page.click("#reset");
    await close();
  });

  test("follows filters, and a file that was changed is told", async () => {
    const changed = [{ path: "/srv/app.py", text: "only one line", changed_since: true }];
    const { page, close } = await openFile(writePage("changed", pageOf(dataOf(samples()), changed)), { address: "tab=source&only=running%3Anative" });
    await page.waitForSelector("#source-note:not([hidden])");
    expect(await page.locator("#source-note").innerText()).toContain("changed after the recording");
    // The lines that the file has no more keep their figures.
    expect(await shownLines(page)).toEqual([{ number: 2, self: 0, total: 30 }, { number: 5, self: 30, total: 30 }]);
    await close();
  });

  test("source is text, whatever is in it", async () => {
    const hostile = [
      "<script>alert(1)</script><img src=x onerror=alert(2)>", "s = '\u202e evil \u2066'; \u05d0\u05d1 = 1", "nul\u0000 and \u001b[31m", "\ufffd was no UTF-8 \ud800",
      `x = "${"a".repeat(1_000_000)}"`, "\t\ttabs", "</script><!--",
    ].join("\n");
    const made = hostile.split("\n").map((_, at): SampleText => ({ stack: [`p:f@/srv/hostile.py:${at + 1}`], range: [at + 1, 1, 900_000] }));
    const { page, close } = await openFile(writePage("hostile-source", pageOf(dataOf(made), [{ path: "/srv/hostile.py", text: hostile, changed_since: false }])), { address: "tab=source" });
    await page.waitForSelector(".expression");
    expect(await page.locator("#source-lines script, #source-lines img").count()).toBe(0);
    expect(await lineText(page, 1)).toContain("<script>alert(1)</script>");
    expect(await lineText(page, 2)).toContain("\\u{202e} evil \\u{2066}");
    expect(await page.locator("[data-line='2'] code").evaluate((cell) => getComputedStyle(cell).unicodeBidi)).toBe("bidi-override");
    expect(await lineText(page, 3)).toContain("nul\\u{0} and \\u{1b}[31m");
    const long = await lineText(page, 5);
    expect(long.length).toBeLessThan(2_200);
    expect(long).toMatch(/… 998006 more characters/);
    expect(await page.locator("[data-line]").count()).toBe(7);
    await close();
  });
});

const { VIPERF_PAGE: file = "", VIPERF_SOURCE_JSON: report = "" } = process.env;
if (!report) console.warn("skipped: VIPERF_PAGE and VIPERF_SOURCE_JSON name no page with source, so none that viperf wrote was read");

describe.skipIf(!executable || !report)("the source view of a page that viperf wrote", () => {
  afterAll(closeBrowser);
  test("has the text and the figures of viperf report --source", async () => {
    const expected = JSON.parse(readFileSync(report, "utf8")) as { file: string; lines: { line: number; text: string; self: { samples: number }; total: { samples: number } }[] };
    const { page, close } = await openFile(file, { address: `tab=source&file=${encodeURIComponent(expected.file)}` });
    await expect.poll(() => page.locator("#source-note").isVisible()).toBe(false);
    const timed = expected.lines.filter(({ total }) => total.samples > 0);
    expect(timed.length).toBeGreaterThan(3);
    expect(await shownLines(page)).toEqual(timed.map(({ line, self, total }) => ({ number: line, self: self.samples, total: total.samples })));
    const texts = await page.evaluate(() => (globalThis as unknown as { viperf: { sourceView: { lines: { number: number; text: string }[] } } }).viperf.sourceView.lines.map((each) => each.text));
    for (const { line, text: content } of timed) expect([line, texts[line - 1]]).toEqual([line, content]);
    await close();
  });
});
