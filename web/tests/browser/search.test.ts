// Search by keys in every view, round and round; and what the window is called meanwhile.

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

const MAIN = "p:<module>@/srv/app.py:3", WORK = "p:work@/srv/app.py:9", LOAD = "p:load@/srv/db.py:7", DEFLATE = "n:deflate@libz.so";

describe.skipIf(!executable)("search", () => {
  let page: Page;
  let close: () => Promise<void>;

  beforeAll(async () => {
    const stacks: [stack: string[], count: number][] = [[[MAIN, WORK, DEFLATE], 30], [[MAIN, LOAD, DEFLATE], 20], [[MAIN, DEFLATE], 10], [[MAIN, WORK], 40], [[MAIN, WORK, "n:deflate_fast@libz.so"], 5]];
    const samples = stacks.flatMap(([stack, count]) => Array.from({ length: count }, (): SampleText => ({ stack })));
    ({ page, close } = await openFile(writePage("search", pageOf(dataOf(samples.map((sample, at) => ({ ...sample, time: at * 1e7 })))))));
  });
  afterAll(async () => {
    await close();
    await closeBrowser();
  });

  const result = () => settled(page).then(() => page.locator("#search-result").innerText());
  const said = () => settled(page).then(() => page.locator("#announcer").innerText());
  const focused = () => page.evaluate(() => document.activeElement?.querySelector(".row-name, .tree-text")?.textContent ?? "");
  /** The row that a step has led to while the focus was elsewhere. */
  const marked = (list: string) => page.locator(`#${list} [aria-current] :is(.row-name, .tree-text)`).evaluateAll((all) => all.map((row) => row.textContent).join());
  const blur = () => page.evaluate(() => (document.activeElement as HTMLElement).blur());
  const title = () => settled(page).then(() => page.title());
  const search = async (text: string) => {
    await page.keyboard.press("/");
    await page.keyboard.type(text);
    await settled(page);
  };

  test("goes round in the flame graph, and tells which of how many", async () => {
    await search("deflate");
    expect(await result()).toMatch(/ in 4 matches$/);
    const seen = [];
    for (let time = 0; time < 5; time++) {
      await page.keyboard.press("Enter");
      seen.push((await result()).replace(/.* in /, ""));
    }
    expect(seen).toEqual(["1 of 4 matches", "2 of 4 matches", "3 of 4 matches", "4 of 4 matches", "1 of 4 matches"]);
    expect(await said()).toBe("match 1 of 4: deflate (libz.so)");
    await page.keyboard.press("Shift+Enter");
    expect(await result()).toContain("4 of 4");
    await blur();
    await page.keyboard.press("n");
    expect(await result()).toContain("1 of 4");
    await page.keyboard.press("N");
    expect(await said()).toContain("match 4 of 4: deflate_fast");
    await blur();
    await page.keyboard.press("r");
  });

  test("goes through the rows of the table and the sandwich, and opens the call tree", async () => {
    for (const [key, container] of [["3", "table-scroll"], ["2", "sandwich-list"]]) {
      await page.keyboard.press(key);
      await search("load|deflate");
      await page.click("#search-regex");
      await settled(page);
      await page.focus("#search");
      // The focus stays in the field, and with it the next Enter.
      const field = [];
      for (let time = 0; time < 4; time++) {
        await page.keyboard.press("Enter");
        field.push(`${await marked(container)}, ${await said()}`);
      }
      expect([container, ...field]).toEqual([container, "deflate, row 1 of 3", "deflate_fast, row 2 of 3", "load, row 3 of 3", "deflate, row 1 of 3"]);
      for (const id of ["next", "next", "next", "previous"]) await page.click(`#search-${id}`);
      expect([container, await marked(container), await said()]).toEqual([container, "load", "row 3 of 3"]);
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("search-previous");
      await page.click("#search-next");
      await blur();
      const names = [];
      for (let time = 0; time < 3; time++) {
        await page.keyboard.press("n");
        names.push(await focused());
      }
      expect(names).toEqual(["deflate_fast", "load", "deflate"]);
      expect(await page.locator(`#${container} [aria-current]`).count()).toBe(0);
      await page.keyboard.press("N");
      expect(await said()).toBe("row 3 of 3");
      await page.click("#search-regex");
      await page.click("#reset");
      await blur();
    }
    await page.keyboard.press("4");
    await search("deflate_fast");
    for (let time = 0; time < 2; time++) {
      await page.keyboard.press("Enter");
      expect([await marked("tree-scroll"), await said()]).toEqual(["deflate_fast", "match 1 of 1: deflate_fast (libz.so)"]);
    }
    await blur();
    await page.keyboard.press("n");
    expect(await focused()).toBe("deflate_fast");
    // The call tree has its own order, whatever that of the graph is.
    for (const order of ["time", "inverted"]) {
      await page.fill("#search", "");
      await blur();
      await page.keyboard.press("o");
      await search("load");
      await page.keyboard.press("Enter");
      expect([order, await marked("tree-scroll"), await result()]).toEqual([order, "load", expect.stringMatching(/ in 1 of 1 match$/)]);
    }
    await page.click("#reset");
    await blur();
  });

  test("has buttons that say what they go to", async () => {
    const buttons = () => settled(page).then(() => page.locator("#search-next, #search-previous").evaluateAll((all) =>
      all.map((each) => `${each.getAttribute("title")}${(each as HTMLButtonElement).disabled ? ", disabled" : ""}`)));
    await page.keyboard.press("5");
    expect(await buttons()).toEqual(["Previous hot line (N)", "Next hot line (n)"]);
    await page.keyboard.press("6");
    expect(await buttons()).toEqual(["Previous match (N), disabled", "Next match (n), disabled"]);
    await page.keyboard.press("1");
    expect(await buttons()).toEqual(["Previous match (N), disabled", "Next match (n), disabled"]);
    await search("deflate");
    expect(await buttons()).toEqual(["Previous match (N)", "Next match (n)"]);
    await page.click("#reset");
    await blur();
  });

  test("goes through the boxes of a comparison", async () => {
    await page.keyboard.press("7");
    await search("deflate");
    await page.keyboard.press("Enter");
    await expect.poll(result).toMatch(/^1 of \d matches$/);
    await page.keyboard.press("Shift+Enter");
    expect(await result()).toMatch(/^(\d) of \1 matches$/);
    await page.click("#reset");
    await page.click("#graph-tab");
    await blur();
  });

  test("and what is looked at are in the window's title", async () => {
    expect(await title()).toBe("made up – viperf");
    await search("deflate");
    expect(await title()).toBe("“deflate” – made up – viperf");
    await page.keyboard.press("Escape");
    await page.keyboard.press("3");
    expect(await title()).toBe("Functions – made up – viperf");
    await page.locator("#table-scroll .rows-space > div").filter({ hasText: "load" }).click();
    expect(await title()).toBe("load – Sandwich – made up – viperf");
    await page.keyboard.press("5");
    await page.click("#source-files >> text=db.py");
    expect(await title()).toMatch(/^db\.py(:\d+)? – Source – made up – viperf$/);
    await page.keyboard.press("1");
    await page.evaluate(() => { (globalThis as unknown as { viperf: { zoom(node: number): void } }).viperf.zoom(1); });
    expect(await title()).toMatch(/^python3.* – made up – viperf$/);
    await page.goBack();
    await expect.poll(title).toBe("made up – viperf");
  });
});
