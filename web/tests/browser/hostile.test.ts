// Names that a target chose, in every place where the page shows a name.

import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { boxCentre, closeBrowser, downloadText, executable, fact, openFile, writePage } from "./open";

const RUN = "document.documentElement.dataset.owned=1";
const NAMES = [
  `<script>${RUN}</script>`, `<img src=x onerror="${RUN}">`, `"><svg onload=${RUN}>`, `javascript:${RUN}`, "\u202eevil\u2066", "a\nb\u0000c\u001b[31m",
  "x".repeat(10_000), "\ud800 lone", "🐍 日本語 e\u0301", "__proto__", "constructor", "${1+1}", "{{policy}}", "=1+1", "",
];

describe.skipIf(!executable)("hostile names", () => {
  afterAll(closeBrowser);
  const samples = NAMES.flatMap((name): SampleText[] => {
    const safe = name.replaceAll("@", "");
    return [{ process: name, pid: 7, stack: [`p:${safe}@${safe}`, `n:${safe}@${safe}`, `k:${safe}`, `e:${safe}`] }];
  });
  const data = dataOf(samples, { incomplete: Object.fromEntries(NAMES.map((name) => [name, 1])) });
  const hostile = pageOf(data);

  test("run nothing, in any view, menu, dialog or export", async () => {
    const { page, close } = await openFile(writePage("hostile", hostile));
    for (const tab of ["sandwich", "table", "tree", "source", "timeline", "difference", "graph"]) await page.click(`#${tab}-tab`);
    for (const color of ["library", "module", "self", "kind"]) {
      await page.click("#view-menu summary");
      await page.check(`input[name=color][value=${color}]`);
      await page.keyboard.press("Escape");
    }
    for (const sort of ["process", "thread", "library", "module", "function"]) {
      await page.click("#filter-menu summary");
      await page.selectOption("#filter-sort", sort);
      await page.locator(".filter-value").first().click();
    }
    await page.click("#reset");
    const { x, y } = await boxCentre(page, `${NAMES[0]} (7)`);
    await page.mouse.move(x, y);
    expect(await page.locator("#tooltip").innerText()).toContain(NAMES[0]);
    await page.mouse.click(x, y, { button: "right" });
    await page.keyboard.press("Escape");
    await page.click("#details-button");
    await page.click("#details button");
    await page.fill("#search", "<script>");
    expect(Number(await fact(page, "searchShare"))).toBeGreaterThan(0);
    const svg = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=svg]");
    });
    expect(svg).not.toContain("<script");
    const folded = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=folded]");
    });
    expect(folded.trim().split("\n")).toHaveLength(NAMES.length);
    expect(await page.evaluate(() => document.documentElement.dataset.owned)).toBeUndefined();
    expect(await page.locator("img, svg, script").count()).toBe(await page.locator("body > script").count());
    // Nothing makes the page wider than the window, however long a name is.
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await close();
  });

  test("do not run from an address, either", async () => {
    const address = `search=${encodeURIComponent(`<img src=x onerror=${RUN}>`)}&only=process:${encodeURIComponent(NAMES[0])}&zoom=<script>&tab=<script>&window=NaN-1`;
    const { page, close } = await openFile(writePage("hostile", hostile), { address });
    expect(await fact(page, "state")).toBe("ready");
    expect(await page.locator("#chips").innerText()).toContain(NAMES[0]);
    expect(await page.evaluate(() => document.documentElement.dataset.owned)).toBeUndefined();
    await close();
  });

  test("a data block that is cut off says so", async () => {
    const { page, close } = await openFile(writePage("cut", pageOf(data.subarray(0, data.length >> 1))));
    expect(await fact(page, "state")).toBe("failed");
    expect(await page.locator("#message").innerText()).toContain("cannot be read");
    await close().catch(() => undefined);
  });

  test("an empty profile says what to do", async () => {
    const { page, close } = await openFile(writePage("empty", pageOf(dataOf([]))));
    expect(await fact(page, "state")).toBe("empty");
    expect(await page.locator("#message").innerText()).toContain("No samples were taken");
    await close();
  });
});
