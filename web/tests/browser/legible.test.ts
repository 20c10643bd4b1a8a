// What is written can be read: contrast of texts on all that they stand on, texts that are not cut, times where they belong.

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

/** WCAG 2.2, 1.4.3, level AA. */
const LEAST = 4.5;

type Pixel = [number, number, number];

/** Luminance as WCAG has it, of sRGB from 0 to 255. */
function luminance(pixel: Pixel): number {
  const [red, green, blue] = pixel.map((channel) => channel / 255 <= 0.04045 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: Pixel, other: Pixel): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** Each pair as the browser mixes it: a ground, and on it a colour that may let it through. */
async function pixels(page: Page): Promise<{ name: string; text: Pixel; ground: Pixel }[]> {
  return await page.evaluate(() => {
    interface Palette { kinds: string[][]; matched: string[]; groups: string[][]; heat: string[]; text: string; place: string; faded: string; fadedText: string }
    const { viperf } = globalThis as unknown as { viperf: { colors: { palette: Palette }; difference: { table: { palette: Record<string, string | string[]> } } } };
    const { palette } = viperf.colors;
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
    const fill = (color: string): Pixel => {
      // What a canvas does not take for a colour leaves the one before as it is.
      context.fillStyle = "#010203";
      context.fillStyle = color;
      if (context.fillStyle === "#010203") throw new Error(`no colour: ${color}`);
      context.fillRect(0, 0, 1, 1);
      return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)] as Pixel;
    };

    const on = (name: string, ground: string, color: string) => ({ name: `${name} on ${ground}`, ground: fill(ground), text: fill(color) });
    const grounds = [palette.kinds, palette.matched, palette.groups, palette.heat, Object.values(viperf.difference.table.palette)].flat(2);
    const style = getComputedStyle(document.documentElement);
    const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
    return [
      ...grounds.flatMap((ground) => [on("name", ground, palette.text), on("place", ground, palette.place)]),
      on("what is not found", palette.faded, palette.fadedText),
      ...["ground", "graph", "raised", "hover", "accent-ground"].flatMap((ground) =>
        ["ink", "ink-soft", "accent", "danger"].map((ink) => on(ink, value(ground), value(ink)))),
    ];
  });
}

describe.skipIf(!executable)("what is written", () => {
  let file = "";
  beforeAll(() => {
    const stack = ["p:main@/srv/a.py:3", "p:load@/srv/a.py:9", "n:read@libc.so.6", "k:vfs_read"];
    file = writePage("legible", pageOf(dataOf(Array.from({ length: 1000 }, (_, at) => ({ process: "gunicorn", tid: at % 3 + 1, time: at * 8e6, stack: stack.slice(0, at < 500 ? 2 : 2 + at % 3) })))));
  });
  afterAll(closeBrowser);

  test.each(["light", "dark"] as const)("stands out from every colour below it, %s", async (colorScheme) => {
    for (const colors of ["red-blue", "orange-purple"]) {
      const { page, close } = await openFile(file, { colorScheme, address: `tab=difference&changeColors=${colors}` });
      await settled(page);
      const pairs = (await pixels(page)).map(({ name, text, ground }) => ({ name, contrast: contrast(text, ground) }));
      expect(pairs.length).toBeGreaterThan(150);
      expect(pairs.filter((pair) => !(pair.contrast >= LEAST))).toEqual([]);
      await close();
    }
  });

  /** `> 99.9 %`, `< 0.01 %`, `95.0 ms`: the widest that there are. */
  const widest = () => {
    const leaf = (at: number) => at % 210 === 0 ? ["p:rare@/srv/a.py:20"] : at === 1 ? [] : ["p:usual@/srv/a.py:30"];
    return writePage("widest", pageOf(dataOf(Array.from({ length: 20_000 }, (_, at) => ({
      time: at * 1e6, stack: at === 2 ? ["p:once@/srv/a.py:40"] : ["p:main@/srv/a.py:3", ...leaf(at)],
    })))));
  };

  test.each([[1440, "usual"], [390, "usual"], [1440, "widest"], [390, "widest"]])("is not cut where it is a number, at a width of %d, %s figures", async (width, figures) => {
    const { page, close } = await openFile(figures === "widest" ? widest() : file, { width, height: 844 });
    for (const tab of ["table", "tree", "sandwich", "source", "difference"]) {
      await page.click(`#${tab}-tab`);
      await settled(page);
      const cut = await page.locator(`#${tab}-panel`).evaluate((panel) => {
        const numbers = [...panel.querySelectorAll<HTMLElement>(".amount, .amount > *, .split, .figure, .number, .change-change, .change-before, .change-after")];
        const isCut = (one: HTMLElement) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0;
        // Text in a narrow cell goes on in a line of its own, below where anybody sees it.
        const isBroken = (one: HTMLElement) => one.childElementCount === 0 && one.textContent !== "" && one.getClientRects().length > 0
          && (() => { const range = document.createRange(); range.selectNodeContents(one); return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1; })();
        return { count: numbers.length, cut: numbers.filter((one) => isCut(one) || isBroken(one)).map((one) => one.textContent) };
      });
      expect([tab, cut.count > 0, cut.cut]).toEqual([tab, true, []]);
    }
    await close();
  });

  test.each([1440, 390])("are times over the place of their time, at a width of %d", async (width) => {
    const { page, close } = await openFile(file, { width, height: 844, address: "tab=timeline" });
    await settled(page);
    const ticks = await page.evaluate(() => {
      const { source: { duration } } = (globalThis as unknown as { viperf: { source: { duration: number } } }).viperf;
      const scale = (axis: string, below: string, whole: number) => {
        const { left, width: wide } = (document.querySelector(below) as HTMLElement).getBoundingClientRect();
        return [...document.querySelectorAll(`${axis} span`)].map((tick) => {
          const [at, end] = [tick.getBoundingClientRect().left, tick.getBoundingClientRect().right];
          return { seconds: Number.parseFloat(tick.textContent ?? "") / (tick.textContent?.endsWith(" ms") ? 1000 : 1), shown: (at - left) / wide * whole / 1e9, pixel: whole / wide / 1e9, at, end };
        });
      };
      return [scale("#lane-axis", ".lane-canvas", duration), scale("#heat-axis", "#heat-map", Math.ceil(duration / 1e9) * 1e9)];
    });
    for (const axis of ticks) {
      expect(axis.length).toBeGreaterThan(1);
      for (const { seconds, shown, pixel } of axis) expect([seconds, Math.abs(shown - seconds) <= pixel]).toEqual([seconds, true]);
      axis.slice(1).forEach((tick, at) => expect(tick.at).toBeGreaterThan(axis[at].end));
    }
    await close();
  });
});
