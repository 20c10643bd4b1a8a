// Pictures of every view, light, dark, at a phone's width and on paper, kept for people to look at; and what can be told of
// them without eyes: that something is drawn, that colours can be told apart, that paper is one white sheet.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

const folder = process.env.VIPERF_PICTURES ?? fileURLToPath(new URL("../../../target/pictures", import.meta.url));
const TABS = ["graph", "sandwich", "table", "tree", "source", "timeline", "difference"];
const TEXT = Array.from({ length: 40 }, (_, at) => at === 9 ? "    return total + price(item) * quantity" : at === 6 ? "def basket(items):" : `    step_${at} = load(${at})`).join("\n");

/** A shop: two workers, several threads, a change in the second half. */
function samples(): SampleText[] {
  return Array.from({ length: 4000 }, (_, at): SampleText => {
    const who = at % 3 === 0 ? { process: "gunicorn", pid: 100, tid: 100 } : { process: "celery", pid: 200, tid: 200 + at % 4 };
    const base = ["n:_start@python3", "i:_PyEval@python3", "p:main@/srv/shop/app.py:3", `p:basket@/srv/shop/app.py:${7 + at % 3}`];
    const late = at > 2000 && at % 5 < 2;
    const leaf = late ? ["p:recount@/srv/shop/stock.py:20"] : at % 7 < 3 ? ["p:execute@/v/lib/python3.12/site-packages/django/db.py:80", "n:recv@libc.so.6", "k:tcp_recvmsg", "k:copy_user"]
      : at % 7 < 5 ? ["p:dumps@/usr/lib/python3.12/json/__init__.py:231", "n:encode@_json.so"] : at % 7 === 5 ? ["n:deflate@libz.so.1"] : ["e:stack page not present"];
    return { ...who, time: at * 5e6, cpu: at % 4, complete: at % 7 !== 6, range: [7 + at % 3, 12, 40], stack: [...base, ...leaf] };
  });
}

/** How many colours the first drawing of a panel has. */
async function colours(page: Page, tab: string): Promise<number> {
  return await page.evaluate((name) => {
    const seen = new Set<number>();
    for (const canvas of document.querySelectorAll<HTMLCanvasElement>(`#${name}-panel canvas`)) {
      if (canvas.width === 0 || canvas.height === 0) continue;
      // A copy is read: Chromium says on the console that one that is read again and again should be made for it.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < data.length; at += 4) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
    }
    return seen.size;
  }, tab);
}

describe.skipIf(!executable)("pictures", () => {
  let file = "";
  beforeAll(() => {
    mkdirSync(folder, { recursive: true });
    file = writePage("pictures", pageOf(dataOf(samples(), { incomplete: { "stack page not present": 571 } }), [{ path: "/srv/shop/app.py", text: TEXT, changed_since: false }]));
  });
  afterAll(closeBrowser);

  test.each([["light", 1440, 900], ["dark", 1440, 900], ["phone", 390, 844]] as const)("of every view, %s", async (look, width, height) => {
    const { page, close } = await openFile(file, { width, height, colorScheme: look === "dark" ? "dark" : "light" });
    for (const tab of TABS) {
      await page.click(`#${tab}-tab`);
      // The file that has its text.
      if (tab === "source") await page.locator("#source-files .list-row", { hasText: "app.py" }).click();
      await settled(page);
      await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
      await page.screenshot({ path: join(folder, `${tab}-${look}.png`) });
      if (!["table", "tree", "source"].includes(tab)) expect([tab, await colours(page, tab) > 5]).toEqual([tab, true]);
      else expect(await page.locator(`#${tab}-panel`).innerText()).toMatch(/basket|app\.py/);
    }
    const light = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g)?.slice(0, 3).map(Number) ?? []);
    expect([look, Math.min(...light) > 200]).toEqual([look, look !== "dark"]);
    await close();
  });

  test("of paper: one white sheet, without controls, also for who reads in the dark", async () => {
    const { page, close } = await openFile(file, { colorScheme: "dark" });
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await page.evaluate(() => { addEventListener("beforeprint", () => { document.body.dataset.printed = document.documentElement.dataset.theme; }); });
    const sheet = await page.pdf({ landscape: true, printBackground: true });
    writeFileSync(join(folder, "paper.pdf"), sheet);
    expect(sheet.toString("latin1").match(/\/Type\s*\/Page\b/g)).toHaveLength(1);
    expect(await page.getAttribute("body", "data-printed")).toBe("light");
    expect(await theme()).toBe("dark");
    await page.emulateMedia({ media: "print" });
    expect(await page.locator("#bar").isVisible()).toBe(false);
    expect(await page.locator("#graph-scroll canvas").isVisible()).toBe(true);
    await close();
  });

  test.each(["light", "dark"] as const)("kinds are told apart by who sees no red, no green or no colours at all, %s", async (colorScheme) => {
    const { page, close } = await openFile(file, { colorScheme });
    // In a browser's own words: a pixel of each kind's colour, in sRGB.
    const kinds = await page.evaluate(() => {
      const { viperf } = globalThis as unknown as { viperf: { colors: { plain(kind: number): string } } };
      const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
      return [1, 2, 3].map((kind) => {
        context.fillStyle = "#010203";
        context.fillStyle = viperf.colors.plain(kind);
        if (context.fillStyle === "#010203") throw new Error(`no colour: ${viperf.colors.plain(kind)}`);
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
      });
    });
    for (const [sight, matrix] of Object.entries(SIGHTS)) {
      const seen = kinds.map((kind) => lab(matrix.map((row) => row.reduce((sum, part, at) => sum + part * linear(kind[at]), 0))));
      const apart = seen.flatMap((one, at) => seen.slice(at + 1).map((other) => Math.hypot(...one.map((value, axis) => value - other[axis]))));
      // 2.3 is what an eye just notices.
      expect([sight, colorScheme, Math.min(...apart) > 7]).toEqual([sight, colorScheme, true]);
    }
    await close();
  });
});

/** Linear sRGB as dichromats see it (Machado, Oliveira and Fernandes 2009, severity 1), and in grey. */
const SIGHTS: Record<string, number[][]> = {
  "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  grey: Array.from({ length: 3 }, () => [0.2126, 0.7152, 0.0722]),
};

function linear(channel: number): number {
  const part = channel / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

/** CIE L*a*b* of linear sRGB, with the white of D65. */
function lab([red, green, blue]: number[]): number[] {
  const curve = (value: number) => value > 216 / 24389 ? Math.cbrt(value) : (value * 24389 / 27 + 16) / 116;
  const x = curve((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505);
  const y = curve(0.2126 * red + 0.7152 * green + 0.0722 * blue);
  const z = curve((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
