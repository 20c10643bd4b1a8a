// A phone's width: everything can be reached, and nothing is wider than the screen.

import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf } from "../made_up";
import { closeBrowser, executable, openFile, writePage } from "./open";

describe.skipIf(!executable)("a phone", () => {
  afterAll(closeBrowser);

  test("has room for every view and menu", async () => {
    const stack = ["n:_start@python3", `p:${"long_name_".repeat(30)}@/srv/${"folder/".repeat(30)}a.py:3`, "k:vfs_read"];
    const file = writePage("phone", pageOf(dataOf(Array.from({ length: 50 }, (_, at) => ({ stack, tid: at % 5 + 1, time: at * 1e7 })))));
    const { page, close } = await openFile(file, { width: 390, height: 844 });
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
    for (const tab of ["sandwich", "table", "tree", "source", "timeline", "difference", "graph"]) {
      await page.click(`#${tab}-tab`);
      expect([tab, await fits()]).toEqual([tab, true]);
    }
    for (const menu of ["filter-menu", "view-menu", "export-menu"]) {
      await page.click(`#${menu} summary`);
      const box = await page.locator(`#${menu} .menu-panel`).boundingBox();
      expect([menu, box && box.x >= 0 && box.x + box.width <= 390]).toEqual([menu, true]);
      await page.keyboard.press("Escape");
    }
    await close();
  });
});
