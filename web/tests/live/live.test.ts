// A recording that goes on, with the server of viperf itself: VIPERF_LIVE is its address, VIPERF_LIVE_PID its process, and
// VIPERF_LIVE_FUNCTION a Python function that it will see.

import { afterAll, describe, expect, test } from "vitest";
import { boxCentre, closeBrowser, executable, fact, openAddress } from "../browser/open";

const { VIPERF_LIVE: address = "", VIPERF_LIVE_FUNCTION: name = "", VIPERF_LIVE_PID: pid = "" } = process.env;
if (!address) console.warn("skipped: VIPERF_LIVE is no address of a recording that goes on");

interface Zoomed {
  name: string;
  total: number;
}

describe.skipIf(!executable || !address)("a live page", () => {
  afterAll(closeBrowser);

  test("grows, keeps its zoom meanwhile, and stays after the end", async () => {
    const { page, close } = await openAddress(address);
    await page.waitForSelector("html[data-state=ready]", { timeout: 120_000 });
    await page.waitForFunction((wanted) => {
      const { viperf } = globalThis as unknown as { viperf: { names: { name(entry: number): string }; graph: { tree: { entry: Int32Array } } } };
      return viperf.graph.tree.entry.some((entry) => viperf.names.name(entry) === wanted);
    }, name, { timeout: 120_000 });
    expect(await page.locator("#served-state").innerText()).toBe("live");
    const { x, y } = await boxCentre(page, name);
    await page.mouse.click(x, y);
    const zoomed = () => page.evaluate((): Zoomed => {
      const { viperf } = globalThis as unknown as { viperf: { names: { name(entry: number): string }; graph: { zoom: number; tree: { entry: Int32Array; total: Float64Array } } } };
      const { zoom, tree } = viperf.graph;
      return { name: viperf.names.name(tree.entry[zoom]), total: tree.total[zoom] };
    });
    const first = await zoomed(), before = Number(await fact(page, "whole"));
    expect(first.name).toBe(name);
    await page.waitForFunction((least) => Number(document.documentElement.dataset.whole) > least, before, { timeout: 120_000 });
    const second = await zoomed();
    expect(second.name).toBe(name);
    expect(second.total).toBeGreaterThan(first.total);
    expect(await page.locator("#served-facts").innerText()).toMatch(/samples\/s · [\d.]+ % complete · \d+ lost/);
    // The text of a file that somebody looks at is read while the recording goes on.
    await page.click("#source-tab");
    await page.waitForFunction((wanted) => [...document.querySelectorAll("#source-lines code")].some((line) => line.textContent?.includes(`def ${wanted}`)), name, { timeout: 120_000 });
    expect(await page.locator("#served-state").innerText()).toBe("live");
    const refused = await page.evaluate(async () => {
      const response = await fetch("source?path=%2Fetc%2Fpasswd");
      return [response.status, await response.text()];
    });
    expect(refused).toEqual([422, "/etc/passwd is no Python file with samples"]);
    await page.click("#graph-tab");
    process.kill(Number(pid), "SIGINT");
    await page.waitForFunction(() => document.documentElement.dataset.served === "ended", undefined, { timeout: 120_000 });
    const whole = Number(await fact(page, "whole"));
    expect(whole).toBe(Number(await fact(page, "servedSamples")));
    expect((await zoomed()).name).toBe(name);
    await page.click("#table-tab");
    expect(await page.locator("#table-scroll .rows-space > *").count()).toBeGreaterThan(1);
    console.log(`figure: live page: ${before} samples, at the end ${whole}`);
    await close();
  });
});
