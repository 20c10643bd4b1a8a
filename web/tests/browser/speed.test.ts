// A million samples on a million nodes: how long until the first picture, a zoom, a search, a filter, each view.
//
// What is asserted is processor time of the page's main thread, and leaves room for caches that others use; time that
// passes is printed only, since it is that of all who share the machine.

import type { CDPSession, Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { pageOf } from "../made_up";
import { millionData } from "../million";
import { closeBrowser, executable, fact, openFile, settled, writePage } from "./open";

interface Shown {
  graph: {
    tree: { size: number; depth: Int32Array; total: Float64Array }; drawMilliseconds: number;
    zoomTo(node: number): void;
  };
  profile: object;
  update(patch: object, how: string): void;
  replace(profile: object, isHeld: () => boolean): Promise<boolean>;
}

const shownFrame = () => new Promise<void>((resolve) => { requestAnimationFrame(() => requestAnimationFrame(() => resolve())); });

class Clock {
  constructor(private readonly devtools: CDPSession) {}

  /** Milliseconds that the main thread has run so far. */
  async cpu(): Promise<number> {
    const { metrics } = await this.devtools.send("Performance.getMetrics");
    return (metrics.find(({ name }) => name === "TaskDuration")?.value ?? NaN) * 1000;
  }
}

/** What a choice costs until it is on the screen: processor time, time that passes, and the longest stretch without an answer. */
async function measure(page: Page, clock: Clock, patch: object | "replace"): Promise<{ cpu: number; wall: number; longest: number }> {
  await page.evaluate(() => { (globalThis as unknown as { longest: number }).longest = 0; });
  const [cpu, wall] = [await clock.cpu(), performance.now()];
  await page.evaluate((change) => {
    const { viperf } = globalThis as unknown as { viperf: Shown };
    if (change === "replace") void viperf.replace({ ...viperf.profile }, () => false);
    else viperf.update(change, "replace");
  }, patch);
  await settled(page);
  await page.evaluate(shownFrame);
  const longest = await page.evaluate(() => (globalThis as unknown as { longest: number }).longest);
  return { cpu: Math.round(await clock.cpu() - cpu), wall: Math.round(performance.now() - wall), longest };
}

describe.skipIf(!executable)("a million", () => {
  afterAll(closeBrowser);

  test("is drawn soon and stays smooth, and a comparison of it does not hold the page up", async () => {
    const text = pageOf(millionData());
    const file = writePage("million", text);
    let devtools: CDPSession | null = null;
    const started = performance.now();
    const { page, close } = await openFile(file, { before: async (opened) => {
      devtools = await opened.context().newCDPSession(opened);
      await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    } });
    const clock = new Clock(devtools as unknown as CDPSession);
    await page.evaluate(shownFrame);
    const first = { cpu: Math.round(await clock.cpu()), wall: Math.round(performance.now() - started) };
    await page.evaluate(() => new PerformanceObserver((list) => {
      const watched = globalThis as unknown as { longest: number };
      for (const { duration } of list.getEntries()) watched.longest = Math.max(watched.longest ?? 0, Math.round(duration));
    }).observe({ type: "longtask" }));
    const zoomed = await clock.cpu();
    const nodes = await page.evaluate(async () => {
      const { graph } = (globalThis as unknown as { viperf: Shown }).viperf;
      const wide = [...graph.tree.depth.keys()].filter((node) => graph.tree.depth[node] < 9 && graph.tree.total[node] > 2000).slice(0, 60);
      for (const node of wide) {
        graph.zoomTo(node);
        await new Promise((resolve) => { requestAnimationFrame(resolve); });
      }
      graph.zoomTo(0);
      return wide.length;
    });
    const zoom = Math.round((await clock.cpu() - zoomed) / nodes);
    const steps: Record<string, object | "replace"> = {
      replaced: "replace",
      search: { search: "method_17" }, searched: { search: "" },
      filter: { filters: [{ by: "pid", value: "1", not: false }] }, all: { filters: [] },
      window: { window: [10e9, 20e9] }, whole: { window: null },
    };
    for (const tab of ["table", "tree", "sandwich", "source", "timeline", "difference"]) steps[tab] = { tab };
    Object.assign(steps, { stacks: { changes: "stacks" }, moved: { windowA: [0, 20e9], windowB: [20e9, 60e9] }, found: { search: "method_17" } });
    const figures: Record<string, Awaited<ReturnType<typeof measure>>> = {};
    for (const [name, patch] of Object.entries(steps)) figures[name] = await measure(page, clock, patch);
    const heap = await page.evaluate(() => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize);
    const report = {
      fileMegabytes: +(text.length / 1e6).toFixed(1), boxes: Number(await fact(page, "nodes")), first, zoom, megabytes: Math.round(heap / 1e6),
      ...Object.fromEntries(Object.entries(figures).map(([name, { cpu, wall, longest }]) => [name, `${cpu}/${wall}/${longest}`])),
    };
    console.log(`figure: page of a million samples, CPU/passed/longest ms: ${JSON.stringify(report)}`);
    // One choice after the other, before the first is computed: the old graph stays until the last is there, and only that counts.
    await page.evaluate(() => { (globalThis as unknown as { viperf: Shown }).viperf.update({ tab: "graph", search: "" }, "replace"); });
    const whole = await fact(page, "whole");
    const meanwhile = await page.evaluate(() => {
      const { viperf } = globalThis as unknown as { viperf: Shown };
      viperf.update({ filters: [{ by: "pid", value: "1", not: false }] }, "replace");
      viperf.update({ search: "method_1" }, "replace");
      viperf.update({ filters: [], window: [0, 6e9] }, "replace");
      const { busy, whole: shown } = document.documentElement.dataset;
      return { busy, shown };
    });
    expect(meanwhile).toEqual({ busy: "1", shown: whole });
    // A sample each 60 microseconds, the first after so many.
    expect(await fact(page, "whole")).toBe("99999");
    expect(Number(await fact(page, "searchBoxes"))).toBeGreaterThan(0);
    // The same data once more: until all of it is there the old is shown, can be filtered and searched, and the new one has that.
    const [replaced, held] = await page.evaluate(async () => {
      const { viperf } = globalThis as unknown as { viperf: Shown };
      const { profile, graph: { tree } } = viperf;
      const follows = viperf.replace({ ...profile }, () => false);
      const isOld = viperf.profile === profile && viperf.graph.tree === tree;
      viperf.update({ filters: [{ by: "pid", value: "1", not: false }], window: null }, "replace");
      return [isOld && await follows && viperf.profile !== profile, await viperf.replace({ ...profile }, () => true)];
    });
    expect([replaced, held]).toEqual([true, false]);
    expect(Number(await fact(page, "whole"))).toBeLessThan(Number(whole));
    expect(Number(await fact(page, "searchBoxes"))).toBeGreaterThan(0);
    expect(first.cpu).toBeLessThan(4_000);
    expect(zoom).toBeLessThan(150);
    // Alone on a machine these are below 1 s and 0.1 s.
    expect(figures.difference.cpu).toBeLessThan(4_000);
    await close();
  });
});
