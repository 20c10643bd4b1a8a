// A page in a real browser that has no network and must not complain.

import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";
import { expect } from "vitest";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const candidates = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
export const executable = candidates.find(isProgram);
if (!executable) console.warn("skipped: no Chromium in PATH, so no page was opened in a browser");

let browser: Promise<Browser> | null = null;

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close();
  browser = null;
  rmSync(folder, { recursive: true, force: true });
}

export interface Options {
  address?: string;
  width?: number;
  height?: number;
  colorScheme?: "light" | "dark";
  hasTouch?: boolean;
  /** Is given the page before it is opened. */
  before?: (page: Page) => Promise<void>;
}

/** Opens a file; what the browser complains of or asks the network for ends up in `complaints`. */
export async function openFile(file: string, options: Options = {}) {
  return await open(`file://${file}${options.address ? `#${options.address}` : ""}`, /^(file|data|blob):/, options);
}

/** Opens what a server of this machine shows; it may be asked, and nobody else. */
export async function openAddress(address: string, options: Options = {}) {
  const origin = new URL(address).origin;
  return await open(address, new RegExp(`^(${origin.replaceAll(".", "\\.")}/|data:|blob:)`), options);
}

async function open(url: string, allowed: RegExp, { width = 1440, height = 900, colorScheme = "light", hasTouch = false, before }: Options) {
  browser ??= chromium.launch({
    executablePath: executable,
    args: ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  const context = await (await browser).newContext({ viewport: { width, height }, colorScheme, hasTouch, acceptDownloads: true });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  // The browser tells of every answer that is no success; what is refused on purpose is the test's matter.
  page.on("console", (message) => { if (message.type() !== "log" && !message.text().includes("status of 422")) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => { if (!allowed.test(request.url())) complaints.push(request.url()); });
  page.on("dialog", (dialog) => { complaints.push(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
  await before?.(page);
  await page.goto(url);
  await page.waitForSelector("html[data-state]", { timeout: 150_000 });
  // Widths of texts are those of the fonts that are there by now.
  await page.evaluate(() => document.fonts.ready.then(() => undefined));
  return { page, complaints, close: async () => { await context.close(); expect(complaints).toEqual([]); } };
}

const folder = mkdtempSync(join(tmpdir(), "viperf-page-"));

export function writePage(name: string, text: string): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.html`);
  writeFileSync(file, text);
  return file;
}

/** Until the page has computed what was chosen: on a busy machine that goes on after a click. */
export async function settled(page: Page): Promise<void> {
  await page.waitForFunction(() => document.documentElement.dataset.busy === undefined, undefined, { timeout: 120_000 });
}

/** What the page has written on its root element. */
export async function fact(page: Page, name: string): Promise<string> {
  await settled(page);
  return await page.evaluate((key) => document.documentElement.dataset[key] ?? "", name);
}

export async function downloadText(page: Page, run: () => Promise<void>): Promise<string> {
  return (await downloadBytes(page, run)).toString("utf8");
}

export async function downloadBytes(page: Page, run: () => Promise<void>): Promise<Buffer> {
  await settled(page);
  const [download] = await Promise.all([page.waitForEvent("download"), run()]);
  const parts = [];
  for await (const part of await download.createReadStream()) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Where the middle of a named box is on the graph; the box must be drawn. */
export async function boxCentre(page: Page, name: string, graph = "graph"): Promise<{ x: number; y: number }> {
  await settled(page);
  const place = await page.evaluate(([wanted, which]) => {
    const { viperf } = globalThis as unknown as { viperf: Record<string, never> };
    const shown = (which === "graph" ? viperf.graph : (which === "difference" ? (viperf.difference as Record<string, never>).graph : (viperf.sandwich as Record<string, never>)[which])) as unknown as {
      tree: { size: number; entry: Int32Array }; bounds(node: number): { left: number; right: number; top: number }; scroller: HTMLElement; width: number;
    };
    const names = viperf.names as unknown as { name(entry: number): string };
    const { left, top } = shown.scroller.getBoundingClientRect();
    for (let node = 0; node < shown.tree.size; node++) {
      if (names.name(shown.tree.entry[node]) !== wanted) continue;
      const box = shown.bounds(node);
      return { x: left + (Math.max(0, box.left) + Math.min(shown.width, box.right)) / 2, y: top + box.top + 10 };
    }
    return null;
  }, [name, graph]);
  if (!place) throw new Error(`no box is called ${name}`);
  return place;
}
