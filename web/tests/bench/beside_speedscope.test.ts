// The page beside speedscope's, with the same profile in the same browser: until the first picture, a zoom, a search, memory.
//
// VIPERF_TEST_NODE_MODULES is the folder that has speedscope (`cargo xtask setup --test` makes it).

import { closeSync, createReadStream, existsSync, openSync, writeSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { closeBrowser, executable, writePage } from "../browser/open";
import { pageOf } from "../made_up";
import { millionData, millionSpeedscope } from "../million";

const speedscope = join(process.env.VIPERF_TEST_NODE_MODULES ?? "", "speedscope/dist/release");
const hasSpeedscope = existsSync(join(speedscope, "index.html"));
if (!hasSpeedscope) console.warn("skipped: VIPERF_TEST_NODE_MODULES names no folder with speedscope");
const RUNS = Number(process.env.VIPERF_RUNS ?? 3);
/**
 * Samples, and nodes of the call tree. `merged`: speedscope is given each stack once, with the weight of all its samples, as
 * pprof and folded files have them. Then it shows no order of time, and the page still does; of a million samples in the
 * order of time (`1000000/1000000`) its tab runs out of memory before there is a picture.
 */
const CASES = (process.env.VIPERF_CASES ?? "1000000/1000000/merged,1000000/100000/merged,100000/100000").split(",").map((text) => {
  const [samples, nodes, merged = ""] = text.split("/");
  return { samples: Number(samples), nodes: Number(nodes), merged: merged === "merged" };
});
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

interface Figures {
  /** Until the picture, in time that passes. */
  seconds: number;
  /** Of the page's main thread until then. */
  cpuSeconds: number;
  megabytes: number;
  /** Of the main thread for one zoom with its picture, into a box and out again; for a search with its picture. */
  zoomSeconds: number;
  searchSeconds: number;
}

/** How each page is opened, zoomed and searched: by what a reader does. */
interface Subject {
  path: string;
  ready: string;
  zoom(page: Page, x: number, y: number): Promise<void>;
  /** The key that shows the whole again. */
  out: string;
  search(page: Page): Promise<void>;
}

/** So many zooms are measured, at places as far from each other. */
const ZOOMS = 10;
const [WIDTH, HEIGHT, ZOOM_HEIGHT] = [1440, 900, 330];
/** Whatever goes on after a picture is done by then. */
const SETTLE_MS = 3_000;

const shownFrame = () => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });

const SUBJECTS: Record<string, Subject> = {
  viperf: {
    path: "/page.html", ready: "html[data-state=ready]", zoom: (page, x, y) => page.mouse.click(x, y), out: "r",
    search: async (page) => { await page.fill("#search", "method_17"); },
  },
  speedscope: {
    path: "", ready: "text=Export", zoom: (page, x, y) => page.mouse.dblclick(x, y), out: "0",
    search: async (page) => {
      await page.keyboard.press("Control+f");
      await page.keyboard.insertText("method_17");
    },
  },
};

/** Of no figures, none. */
const middle = (all: number[]) => [...all].sort((a, b) => a - b)[all.length >> 1] ?? NaN;

describe.skipIf(!executable || !hasSpeedscope)("the first picture", () => {
  let browser: Browser;
  let server: Server;
  let address = "";
  const files = { page: "", speedscope: "" };

  function write({ samples, nodes, merged }: typeof CASES[number]): void {
    files.page = writePage(`first-${samples}-${nodes}`, pageOf(millionData(samples, nodes)));
    files.speedscope = files.page.replace(".html", ".speedscope.json");
    const file = openSync(files.speedscope, "w");
    for (const part of millionSpeedscope(samples, nodes, merged)) writeSync(file, part);
    closeSync(file);
  }

  beforeAll(async () => {
    server = createServer((request, response) => {
      const name = decodeURIComponent((request.url ?? "").split("?")[0]);
      const wanted = name === "/profile" ? files.speedscope : name === "/page.html" ? files.page : join(speedscope, normalize(name));
      response.setHeader("content-type", TYPES[extname(wanted)] ?? "application/octet-stream");
      createReadStream(wanted).on("error", () => response.writeHead(404).end()).pipe(response);
    });
    await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: executable, args: ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"] });
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
    await closeBrowser();
  });

  async function open(url: string, { ready, zoom, out, search }: Subject): Promise<Figures> {
    const context = await browser.newContext({ viewport: { width: WIDTH, height: HEIGHT } });
    try {
      const page = await context.newPage();
      const devtools = await context.newCDPSession(page);
      await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
      const cpu = async () => (await devtools.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")?.value ?? NaN;
      const started = performance.now();
      await page.goto(url);
      await page.waitForSelector(ready, { timeout: 300_000 });
      // The picture is on the screen when the frame after it begins.
      await page.evaluate(shownFrame);
      const seconds = (performance.now() - started) / 1000, cpuSeconds = await cpu();
      const megabytes = await page.evaluate(() => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize) / 1e6;
      await page.waitForTimeout(SETTLE_MS);
      const beforeZooms = await cpu();
      for (let at = 0; at < ZOOMS; at++) {
        await zoom(page, (at + 0.5) / ZOOMS * WIDTH, ZOOM_HEIGHT);
        await page.evaluate(shownFrame);
        await page.keyboard.press(out);
        await page.evaluate(shownFrame);
      }
      const zoomSeconds = (await cpu() - beforeZooms) / (2 * ZOOMS);
      const beforeSearch = await cpu();
      await search(page);
      await page.waitForTimeout(SETTLE_MS);
      await page.evaluate(shownFrame);
      return { seconds, cpuSeconds, megabytes, zoomSeconds, searchSeconds: await cpu() - beforeSearch };
    } finally {
      await context.close();
    }
  }

  test.each(CASES)("of $samples samples on $nodes nodes takes less than half of speedscope's time, merged for it: $merged", async (profile) => {
    write(profile);
    SUBJECTS.speedscope.path = `/index.html#profileURL=${encodeURIComponent(`${address}/profile`)}`;
    const all: Record<string, Figures[]> = { viperf: [], speedscope: [] };
    // A page without a picture has lost no race: there is nothing to compare, and the figures of the others are still told.
    const failures: string[] = [];
    for (let run = 0; run < RUNS; run++) {
      for (const [name, subject] of Object.entries(SUBJECTS)) {
        try {
          all[name].push(await open(address + subject.path, subject));
        } catch (error) {
          failures.push(`${name}, run ${run + 1}: ${String(error).split("\n")[0]}`);
        }
      }
    }
    const rows = Object.entries(all).map(([name, figures]) => {
      const of = (key: keyof Figures) => middle(figures.map((each) => each[key]));
      return { name, cpuSeconds: of("cpuSeconds"), cells: [of("seconds"), of("cpuSeconds"), of("zoomSeconds") * 1000, of("searchSeconds") * 1000, of("megabytes")] };
    });
    const shown = (value: number, at: number) => Number.isFinite(value) ? value.toFixed(at < 2 ? 2 : 0) : "failed";
    const table = rows.map(({ name, cells }) => `| ${[name, ...cells.map(shown)].join(" | ")} |`);
    const title = `${profile.samples} samples on ${profile.nodes} nodes${profile.merged ? ", for speedscope merged" : ""}`;
    console.log([`| ${title} | first picture, s | s of CPU | a zoom, ms of CPU | a search, ms of CPU | heap, MB |`, "|---|---|---|---|---|---|", ...table, ...failures].join("\n"));
    expect(failures, "a page that failed is not slower than the other").toEqual([]);
    expect(rows[0].cpuSeconds).toBeLessThan(rows[1].cpuSeconds / 2);
  });
});
