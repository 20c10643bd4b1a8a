// The comparison of two recordings, and of two stretches of one: every control, and what it does to figures and boxes.

import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { boxCentre, closeBrowser, downloadText, executable, openFile, settled, writePage } from "./open";

/** A thousand samples of each side; `grown` has 20 and 40 %, `steady` 50 and 50 %, `gone` 30 %, `fresh` 10 %. */
function samples(): SampleText[] {
  const leaf = (share: number, side: number) => side === 0
    ? share < 2 ? "grown" : share < 7 ? "steady" : "gone"
    : share < 4 ? "grown" : share < 9 ? "steady" : "fresh";
  return Array.from({ length: 2000 }, (_, at): SampleText => {
    const side = at % 2;
    const pid = side === 0 ? 10 : 20;
    // Shares in an order without bursts.
    const share = (at >> 1) * 7 % 10;
    return { process: "app", pid, side, time: at * 1e6, stack: ["p:main@/srv/app.py:3", `p:${leaf(share, side)}@/srv/app.py:${10 + side}`] };
  });
}

const side = (name: string) => ({ name, target: `python3 ${name}`, hostname: "machine", started_unix_ms: 0, duration_ns: 2e9, rate_hz: 999 });
const comparison = { normalize: "samples" as const, sides: [side("old <b>.viperf"), side("new.viperf")] as [ReturnType<typeof side>, ReturnType<typeof side>] };

interface Shown {
  name: string;
  verdict: string;
  own: number;
}

async function shown(page: Page): Promise<Shown[]> {
  await settled(page);
  return await page.evaluate(() => {
    const { viperf } = globalThis as unknown as { viperf: { difference: { csvRows(): (string | number)[][] } } };
    return viperf.difference.csvRows().slice(1).map((row) => ({ name: String(row[0]), verdict: String(row[2]), own: Math.round(Number(row[5]) * 1000) / 1000 }));
  });
}

async function boxVerdict(page: Page, name: string): Promise<string | undefined> {
  await settled(page);
  return await page.evaluate((wanted) => {
    const { difference, names } = (globalThis as unknown as { viperf: {
      names: { name(entry: number): string };
      difference: { tree: { size: number; entry: Int32Array }; box(node: number): { verdict: string } | null };
    } }).viperf;
    for (let node = 0; node < difference.tree.size; node++) if (names.name(difference.tree.entry[node]) === wanted) return difference.box(node)?.verdict;
    return undefined;
  }, name);
}

describe.skipIf(!executable)("the difference of two recordings", () => {
  let page: Page;
  let close: () => Promise<void>;
  beforeAll(async () => {
    ({ page, close } = await openFile(writePage("difference", pageOf(dataOf(samples(), { comparison })))));
  });
  afterAll(async () => { await close(); });
  const hash = () => page.evaluate(() => decodeURIComponent(location.hash.slice(1)));

  test("opens on what changed, with names that are no HTML", async () => {
    expect(await page.locator("main > section:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual(["difference-panel"]);
    expect(await page.locator("#target").innerText()).toBe("old <b>.viperf → new.viperf");
    expect(await shown(page)).toEqual([
      { name: "gone", verdict: "vanished", own: -0.3 }, { name: "grown", verdict: "grew", own: 0.2 }, { name: "fresh", verdict: "appeared", own: 0.1 },
    ]);
    expect(await page.locator("#changes-count").innerText()).toBe("3 of 5 functions changed beyond chance");
    expect(await page.locator("#changes-scroll [role=row]:not(.table-head)").first().innerText()).toContain("−30.0");
  });

  test("boxes of runs with other numbers are one, and each has a verdict; noise has none", async () => {
    for (const [name, verdict] of [["gone", "vanished"], ["grown", "grew"], ["fresh", "appeared"], ["steady", "unchanged"], ["main", "unchanged"]]) {
      expect([name, await boxVerdict(page, name)]).toEqual([name, verdict]);
    }
  });

  test("the tooltip tells both shares, the difference and its interval", async () => {
    const { x, y } = await boxCentre(page, "grown", "difference");
    await page.mouse.move(x, y);
    const text = (await page.locator("#tooltip").innerText()).replace(/\s+/g, " ");
    expect(text).toContain("Total 20.0 % 40.0 % +20.0");
    expect(text).toMatch(/grew The total's change lies from \+\d+\.\d+ to \+\d+\.\d+\./);
  });

  test("zoom, keys and the menu work in its graph", async () => {
    const { x, y } = await boxCentre(page, "grown", "difference");
    await page.mouse.click(x, y);
    expect(await page.locator("#path [aria-current]").innerText()).toBe("grown");
    await page.locator("#path button").first().click();
    await page.focus("#difference-graph");
    for (const key of ["ArrowDown", "ArrowDown"]) await page.keyboard.press(key);
    expect(await page.locator("#announcer").innerText()).toMatch(/^app: 100 % before, 100 % after, no change/);
    await page.keyboard.press("m");
    expect(await page.locator("#context-menu").isVisible()).toBe(true);
    await page.keyboard.press("Escape");
  });

  test("by time, by width, in other colours, stacks, and with what chance explains", async () => {
    await page.check("input[name=normalize][value=time]");
    await settled(page);
    expect(await page.locator("#difference-method").innerText()).toContain("one CPU");
    // A sample is a millisecond, of 2 s on each side.
    expect((await shown(page))[0]).toEqual({ name: "gone", verdict: "vanished", own: -0.15 });
    await page.check("input[name=normalize][value=samples]");
    const width = async (name: string) => await settled(page).then(() => page.evaluate((wanted) => {
      const { difference: { tree }, names } = (globalThis as unknown as { viperf: {
        names: { name(entry: number): string }; difference: { tree: { size: number; entry: Int32Array; total: Float64Array } };
      } }).viperf;
      for (let node = 0; node < tree.size; node++) if (names.name(tree.entry[node]) === wanted) return Math.round(tree.total[node] * 1000) / 1000;
      return 0;
    }, name));
    expect([await width("grown"), await width("gone"), await width("fresh")]).toEqual([0.3, 0.15, 0.05]);
    await page.selectOption("#boxWidth", "base");
    expect([await width("grown"), await width("gone"), await width("fresh")]).toEqual([0.2, 0.3, 0]);
    await page.selectOption("#boxWidth", "new");
    expect([await width("grown"), await width("gone"), await width("fresh")]).toEqual([0.4, 0, 0.1]);
    await page.selectOption("#boxWidth", "both");
    const swatches = () => page.locator("#legend .swatch").evaluateAll((all) => all.map((one) => (one as HTMLElement).style.backgroundColor).join());
    const before = await swatches();
    await page.selectOption("#changeColors", "orange-purple");
    expect(await swatches()).not.toBe(before);
    expect(await hash()).toContain("changeColors=orange-purple");
    await page.check("#chance");
    expect((await shown(page)).map(({ name, verdict }) => `${name} ${verdict}`)).toContain("steady unchanged");
    await page.uncheck("#chance");
    await page.check("input[name=changes][value=stacks]");
    expect((await shown(page)).map(({ name }) => name)).toEqual(["gone", "grown", "fresh"]);
    await page.check("input[name=changes][value=functions]");
  });

  test("filters, search, side filter and export hold here, too", async () => {
    await page.fill("#search", "fresh");
    expect((await shown(page)).map(({ name }) => name)).toEqual(["fresh"]);
    await page.fill("#search", "nothing like it");
    await settled(page);
    expect(await page.locator("#changes-none").innerText()).toContain("matches the search");
    await page.fill("#search", "");
    const csv = await downloadText(page, async () => {
      // In one go, before anything is drawn: the menu never opens with what has no place here.
      expect(await page.evaluate(() => {
        document.querySelector<HTMLElement>("#export-menu summary")?.click();
        return [...document.querySelectorAll<HTMLElement>("[data-on]")].filter(({ offsetHeight }) => offsetHeight > 0).map(({ dataset }) => dataset.export);
      })).toEqual(["svg", "png", "changes"]);
      await page.click("[data-export=changes]");
    });
    expect(csv.split("\n")[1]).toMatch(/^"gone","\/srv\/app.py","vanished","0.3","0","-0.3"/);
    await page.click("#filter-menu summary");
    await page.selectOption("#filter-sort", "recording");
    await page.click(".filter-value >> text=new.viperf");
    await expect.poll(() => page.locator("#changes-count").innerText()).toContain("One side has no samples");
    await page.click(".chip-close");
    await settled(page);
    // The list is drawn anew when the chips above it go away, perhaps between two halves of a click.
    await page.locator("#changes-scroll [role=row]:not(.table-head)").nth(1).evaluate((row) => (row as HTMLElement).click());
    expect(await page.locator("#sandwich-title strong").innerText()).toBe("grown");
    await page.goBack();
    await expect.poll(hash).not.toContain("sandwich");
    await page.click("#details-button");
    expect(await page.locator("#details").innerText()).toContain("old <b>.viperf");
    await page.keyboard.press("Escape");
  });
});

describe.skipIf(!executable)("the difference of two stretches of time", () => {
  afterAll(closeBrowser);
  test("is that of the halves until others are chosen, by dragging or by keys, and can be swapped", async () => {
    const made = Array.from({ length: 4000 }, (_, at): SampleText => ({ time: at * 1e6, stack: ["p:main@/a.py:1", at * 7 % 10 < (at < 2000 ? 3 : 6) ? "p:hot@/a.py:5" : "p:cold@/a.py:9"] }));
    const { page, close } = await openFile(writePage("stretches", pageOf(dataOf(made, {}))));
    await page.click("#difference-tab");
    expect((await shown(page)).map(({ name, own }) => [name, own])).toEqual([["hot", 0.3], ["cold", -0.3]]);
    await page.click("#swap-windows");
    expect((await shown(page)).find(({ name }) => name === "hot")?.own).toBe(-0.3);
    expect(await page.evaluate(() => location.hash)).toContain("windowA=1.999500-3.999000");
    await page.goBack();
    await expect.poll(() => page.evaluate(() => location.hash)).not.toContain("windowA");
    const strip = await page.locator("#window-b").boundingBox();
    if (!strip) throw new Error("no strip");
    await page.mouse.move(strip.x + strip.width * 0.25, strip.y + 10);
    await page.mouse.down();
    await page.mouse.move(strip.x + strip.width * 0.5, strip.y + 10, { steps: 3 });
    await page.mouse.up();
    expect(await page.locator("#window-b-text").innerText()).toMatch(/^1\.0\d s – 2\.0\d s$|^0\.99 s – 2\.00 s$|^1\.00 s – 2\.00 s$/);
    expect(await shown(page)).toEqual([]);
    expect(await page.locator("#changes-none").innerText()).toContain("Nothing changed");
    await page.focus("#window-b");
    for (let step = 0; step < 30; step++) await page.keyboard.press("ArrowRight");
    expect((await shown(page)).map(({ name }) => name)).toEqual(["hot", "cold"]);
    // A stretch that is chosen for every view can be either side.
    await page.evaluate(() => { location.hash = "tab=timeline&window=2.5-3.5"; });
    await page.click("[aria-label^='Compare: this is A']");
    await page.evaluate(() => { location.hash = `${location.hash.slice(1)}&window=0.5-1.5`; });
    // The address is read when its event comes, and the chip has the same buttons before.
    await page.waitForFunction(() => document.querySelector("#chips .chip-text")?.textContent?.startsWith("0.5"));
    await page.click("[aria-label^='Compare: this is B']");
    expect(await page.locator("#window-a-text").innerText()).toBe("2.50 s – 3.50 s");
    expect(await page.locator("#window-b-text").innerText()).toBe("0.50 s – 1.50 s");
    expect((await shown(page)).find(({ name }) => name === "hot")?.own).toBe(-0.3);
    await close();
  });
});

const { VIPERF_DIFF_PAGE: file = "", VIPERF_DIFF_JSON: report = "" } = process.env;
if (!file) console.warn("skipped: VIPERF_DIFF_PAGE and VIPERF_DIFF_JSON name no comparison, so none that viperf wrote was read");

describe.skipIf(!executable || !file)("a comparison that viperf wrote", () => {
  afterAll(closeBrowser);
  test("shows the functions that viperf diff tells", async () => {
    const { functions } = JSON.parse(readFileSync(report, "utf8")) as { functions: { name: string; verdict: string; self: { change: number } }[] };
    const { page, close } = await openFile(file, { address: "chance=1" });
    // A reason stands in brackets on the page.
    const key = ({ name, own }: { name: string; own: number }) => `${name.replace(/^\[(\w+: .*)\]$/, "$1")} ${(own || 0).toFixed(2)}`;
    const seen = (await shown(page)).map(key).sort();
    expect(seen).toEqual(functions.map(({ name, self }) => key({ name, own: Math.round(self.change * 1000) / 1000 })).sort());
    await close();
  });
});
