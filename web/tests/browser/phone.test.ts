// A phone's width: everything can be reached and used by touch, and nothing is wider than the screen.

import type { Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

const STACK = ["n:_start@python3", `p:${"long_name_".repeat(30)}@/srv/${"folder/".repeat(30)}a.py:3`, "k:vfs_read"];

/** A finger that goes from one point to another. */
async function drag(page: Page, from: { x: number; y: number }, to: { x: number; y: number }): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", points: { x: number; y: number }[]) =>
    devtools.send("Input.dispatchTouchEvent", { type, touchPoints: points });
  await touch("touchStart", [from]);
  for (let step = 1; step <= 8; step++) await touch("touchMove", [{ x: from.x + (to.x - from.x) * step / 8, y: from.y + (to.y - from.y) * step / 8 }]);
  await touch("touchEnd", []);
  await devtools.detach();
  await settled(page);
}

describe.skipIf(!executable)("a phone", () => {
  afterAll(closeBrowser);

  test("has room for every view and menu", async () => {
    const file = writePage("phone", pageOf(dataOf(Array.from({ length: 50 }, (_, at) => ({ stack: STACK, tid: at % 5 + 1, time: at * 1e7 })))));
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

  test.each([[390, 844], [320, 568]])("of %d by %d has room for the names of lanes, and a finger chooses a stretch of time", async (width, height) => {
    const names = ["gunicorn: worker [shop.wsgi]", "python3 manage.py runserver"];
    const file = writePage("lanes", pageOf(dataOf(Array.from({ length: 600 }, (_, at) =>
      ({ process: names[at % 2], pid: 41000 + at % 2, tid: 41000 + at % 4, stack: STACK, time: at * 1e7 })))));
    const { page, close } = await openFile(file, { width, height, hasTouch: true, address: "tab=timeline" });
    await page.waitForSelector(".lane");
    const lanes = () => page.locator(".lane").evaluateAll((all) => all.map((lane) => {
      const [name, canvas] = [".lane-name", ".lane-canvas"].map((part) => lane.querySelector(part) as HTMLElement);
      const { left, right, bottom } = canvas.getBoundingClientRect();
      return { hasRoom: name.clientWidth >= 200, isInside: left >= 0 && right <= innerWidth && bottom <= lane.getBoundingClientRect().bottom, width: right - left };
    }));
    for (const lane of await lanes()) expect(lane).toEqual({ hasRoom: true, isInside: true, width: width - 20 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    const window = () => page.evaluate(() => /window=([\d.]+)-([\d.]+)/.exec(location.hash)?.slice(1).map((second) => Math.round(Number(second))) ?? null);
    const across = async (selector: string, from: number, to: number) => {
      const box = await page.locator(selector).first().boundingBox();
      if (!box) throw new Error(`${selector} is not shown`);
      const at = (part: number) => ({ x: box.x + box.width * part, y: box.y + box.height / 2 });
      await drag(page, at(from), at(to));
    };
    await across(".lane-canvas", 0.2, 0.7);
    expect(await window()).toEqual([1, 4]);
    await page.click(".chip-close >> nth=-1");
    expect(await window()).toBe(null);
    await across("#overview", 0.5, 1);
    expect(await window()).toEqual([3, 6]);
    await close();
  });
});
