// Stacks that are deeper than the window: the root is what is seen first, wherever it stands.

import type { Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

/** Whether the whole of the root's row is in the window. */
async function seesRoot(page: Page): Promise<boolean> {
  await settled(page);
  return await page.evaluate(() => {
    const { graph } = (globalThis as unknown as { viperf: { graph: { bounds(node: number): { top: number }; height: number } } }).viperf;
    const { top } = graph.bounds(0);
    return top >= 0 && top + 20 <= graph.height;
  });
}

describe.skipIf(!executable)("deep stacks", () => {
  afterAll(closeBrowser);

  test.each(["top", "bottom"])("open at their root, %s, and stay there in another view or window", async (root) => {
    const stack = Array.from({ length: 120 }, (_, at) => `p:level_${at}@/srv/a.py:${at + 1}`);
    const file = writePage("deep", pageOf(dataOf(Array.from({ length: 20 }, () => ({ stack })))));
    const { page, close } = await openFile(file, { address: `root=${root}` });
    expect(await seesRoot(page)).toBe(true);
    await page.setViewportSize({ width: 900, height: 700 });
    await expect.poll(() => page.evaluate(() => (globalThis as unknown as { viperf: { graph: { width: number } } }).viperf.graph.width)).toBeLessThan(901);
    expect(await seesRoot(page)).toBe(true);
    await page.click("#table-tab");
    await page.click("#graph-tab");
    expect(await seesRoot(page)).toBe(true);
    for (let turn = 0; turn < 2; turn++) {
      await page.click("#table-tab");
      await page.keyboard.press("i");
      await page.click("#graph-tab");
      expect(await seesRoot(page)).toBe(true);
    }
    await page.keyboard.press("i");
    expect(await seesRoot(page)).toBe(true);
    await page.keyboard.press("i");
    expect(await seesRoot(page)).toBe(true);
    await close();
  });
});
