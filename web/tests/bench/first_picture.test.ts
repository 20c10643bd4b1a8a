// How long until the first picture: the page's, and speedscope's of the same profile in the same browser.
//
// VIPERF_TEST_NODE_MODULES is the folder that has speedscope (`cargo xtask setup --test` makes it).

import { closeSync, createReadStream, existsSync, openSync, writeSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { closeBrowser, executable, writePage } from "../browser/open";
import { pageOf } from "../made_up";
import { millionData, millionSpeedscope } from "../million";

const speedscope = join(process.env.VIPERF_TEST_NODE_MODULES ?? "", "speedscope/dist/release");
const hasSpeedscope = existsSync(join(speedscope, "index.html"));
if (!hasSpeedscope) console.warn("skipped: VIPERF_TEST_NODE_MODULES names no folder with speedscope");
const RUNS = Number(process.env.VIPERF_RUNS ?? 3);
/** Samples, and as many nodes. Of a million, speedscope ends without a picture: its tab runs out of memory. */
const COUNTS = (process.env.VIPERF_COUNTS ?? "100000,1000000").split(",").map(Number);
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

interface Figures {
  /** Until the picture, in time that passes. */
  seconds: number;
  /** Of the page's main thread until then. */
  cpuSeconds: number;
  megabytes: number;
}

const middle = (all: number[]) => [...all].sort((a, b) => a - b)[all.length >> 1];

describe.skipIf(!executable || !hasSpeedscope)("the first picture", () => {
  let browser: Browser;
  let server: Server;
  let address = "";
  const files = { page: "", speedscope: "" };

  function write(count: number): void {
    files.page = writePage(`first-${count}`, pageOf(millionData(count)));
    files.speedscope = files.page.replace(".html", ".speedscope.json");
    const file = openSync(files.speedscope, "w");
    for (const part of millionSpeedscope(count)) writeSync(file, part);
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

  async function open(url: string, selector: string): Promise<Figures> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    const started = performance.now();
    await page.goto(url);
    await page.waitForSelector(selector, { timeout: 300_000 });
    // The picture is on the screen when the frame after it begins.
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
    const seconds = (performance.now() - started) / 1000;
    const { metrics } = await devtools.send("Performance.getMetrics");
    const cpuSeconds = metrics.find(({ name }) => name === "TaskDuration")?.value ?? NaN;
    const used = await page.evaluate(() => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize);
    await context.close();
    return { seconds, cpuSeconds, megabytes: used / 1e6 };
  }

  test.each(COUNTS)("of %d samples takes less than half of speedscope's time", async (count) => {
    write(count);
    const cases = { viperf: ["/page.html", "html[data-state=ready]"], speedscope: [`/index.html#profileURL=${encodeURIComponent(`${address}/profile`)}`, "text=Export"] };
    const all: Record<string, Figures[]> = { viperf: [], speedscope: [] };
    for (let run = 0; run < RUNS; run++) {
      for (const [name, [path, selector]] of Object.entries(cases)) {
        const opened = open(address + path, selector);
        // A tab that crashes has no picture, ever.
        all[name].push(await (name === "viperf" ? opened : opened.catch(() => ({ seconds: Infinity, cpuSeconds: Infinity, megabytes: NaN }))));
      }
    }
    const rows = Object.entries(all).map(([name, figures]) => {
      const of = (key: keyof Figures) => middle(figures.map((each) => each[key]));
      return { name, seconds: of("seconds"), cpuSeconds: of("cpuSeconds"), megabytes: of("megabytes") };
    });
    const shown = (value: number, digits: number) => Number.isFinite(value) ? value.toFixed(digits) : "none";
    const table = rows.map(({ name, seconds, cpuSeconds, megabytes }) => `| ${name} | ${shown(seconds, 2)} | ${shown(cpuSeconds, 2)} | ${shown(megabytes, 0)} |`);
    console.log([`| first picture of ${count} samples | s | s of CPU | MB |`, "|---|---|---|---|", ...table].join("\n"));
    expect(rows[0].cpuSeconds).toBeLessThan(rows[1].cpuSeconds / 2);
  });
});
