// A million samples on a million nodes: how long until the first picture, a zoom, a search, a filter.
//
// The figures are printed; what is asserted leaves room for a busy machine.

import { afterAll, describe, expect, test } from "vitest";
import type { Head } from "../../src/data/profile";
import { pack, pageOf } from "../made_up";
import { closeBrowser, executable, fact, openFile, writePage } from "./open";

const NODES = 1_000_000, SAMPLES = 1_000_000, FUNCTIONS = 3000, LINES = 3, DEEPEST = 60, THREADS = 32;

/** Knuth's linear congruential generator. */
function random(): (limit: number) => number {
  let state = 7n;
  return (limit) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 33n) % limit;
  };
}

function million(): Buffer {
  const below = random();
  const back = new Uint32Array(NODES), row = new Uint32Array(NODES), place = new Uint32Array(DEEPEST + 4);
  let depth = 0, thread = -1;
  for (let node = 1; node < NODES; node++) {
    // Every so many nodes a new thread; else deeper, beside, or back up a little.
    if (node % Math.ceil(NODES / THREADS) === 1) depth = thread % 8 === 7 || thread < 0 ? 1 : 2;
    else if (depth === 1) depth = 2;
    else if (depth === 2) depth = 3;
    else depth = Math.max(3, Math.min(DEEPEST, depth + 1 - (below(3) === 0 ? below(8) : 0)));
    if (depth === 2) thread++;
    back[node] = node - place[depth - 1];
    row[node] = depth === 1 ? Math.floor((thread + 1) / 8) : depth === 2 ? thread : (depth * 41 + below(20)) % FUNCTIONS * LINES + below(LINES);
    place[depth] = node;
  }
  const strings = ["python3", ...Array.from({ length: FUNCTIONS }, (_, at) => `Class${at % 300}.method_${at}`), "/srv/app.py", "libm.so"];
  const list = (size: number, of: (at: number) => number) => Uint32Array.from({ length: size }, (_, at) => of(at));
  const columns: [string, string, ArrayLike<number>][] = [
    ["function_name", "u32", list(FUNCTIONS, (at) => at + 1)], ["function_file", "u32", list(FUNCTIONS, () => FUNCTIONS + 1)],
    ["function_library", "u32", list(FUNCTIONS, () => FUNCTIONS + 2)], ["function_line", "u32", list(FUNCTIONS, (at) => at)],
    ["function_kind", "u8", list(FUNCTIONS, (at) => at % 7 === 0 ? 3 : at % 3 === 0 ? 2 : 1)],
    ["frame_function", "u32", list(FUNCTIONS * LINES, (at) => Math.floor(at / LINES))], ["frame_line", "u32", list(FUNCTIONS * LINES, (at) => at)],
    ["node_back", "u32", back], ["node_row", "u32", row], ["sample_step", "u32", list(SAMPLES, () => 60)],
    ["sample_node", "u32", list(SAMPLES, () => Math.max(3, below(NODES)))], ["sample_cpu", "u32", list(SAMPLES, (at) => at % 16)],
    ["sample_complete", "u8", list(SAMPLES, () => 1)],
  ];
  const head: Head = {
    format: 2, samples: SAMPLES, complete: SAMPLES, lost: 0, incomplete: {}, weight_ns: 1e6, time_unit_ns: 1000, strings,
    information: { viperf_version: "", hostname: "", kernel: "", started_unix_ms: 0, duration_ns: 60e9, period_ns: 1e6, rate_hz: 999, target: "a million" },
    view: { threads: true, merge_processes: false, interpreter_frames: false },
    processes: Array.from({ length: 5 }, (_, at) => ({ pid: at + 1, name: 0, command_line: 0, python_version: null })),
    threads: Array.from({ length: THREADS + 8 }, (_, at) => ({ process: Math.floor(at / 8), tid: at + 1, name: 0 })),
    columns: columns.map(([name, type, entries]) => [name, type, entries.length]),
  };
  return pack(head, columns);
}

interface Shown {
  graph: {
    tree: { size: number; depth: Int32Array; total: Float64Array }; drawMilliseconds: number; boxes: number;
    zoomTo(node: number): void; draw(): void; resize(): void;
  };
  update(patch: object, how: string): void;
}

describe.skipIf(!executable)("a million", () => {
  afterAll(closeBrowser);

  test("is drawn soon and stays smooth", async () => {
    const text = pageOf(million());
    const file = writePage("million", text);
    const started = performance.now();
    const { page, close } = await openFile(file);
    const opened = performance.now() - started;
    const figures = await page.evaluate(async () => {
      const { viperf } = globalThis as unknown as { viperf: Shown };
      const { graph } = viperf;
      const frame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve));
      const middle = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1];
      const draws: number[] = [], frames: number[] = [];
      const nodes = [...graph.tree.depth.keys()].filter((node) => graph.tree.depth[node] < 9 && graph.tree.total[node] > 2000).slice(0, 60);
      let last = await frame();
      for (const node of nodes) {
        graph.zoomTo(node);
        const now = await frame();
        frames.push(now - last);
        last = now;
        draws.push(graph.drawMilliseconds);
      }
      graph.zoomTo(0);
      const time = async (patch: object) => {
        const start = performance.now();
        viperf.update(patch, "replace");
        const worked = performance.now() - start;
        while ("search" in patch && patch.search && !document.documentElement.dataset.searchShare) await frame();
        await frame();
        return [worked, performance.now() - start].map(Math.round);
      };
      const search = await time({ search: "method_17" });
      await time({ search: "" });
      const filter = await time({ filters: [{ by: "pid", value: "1", not: false }] });
      const all = await time({ filters: [] });
      const window = await time({ window: [10e9, 20e9] });
      await time({ window: null });
      const others: Record<string, number[]> = {};
      for (const tab of ["table", "tree", "sandwich", "timeline"]) others[tab] = await time({ tab });
      const { memory } = performance as unknown as { memory: { usedJSHeapSize: number } };
      return {
        drawn: nodes.length, draw: middle([...draws]), worstDraw: Math.max(...draws), frame: middle([...frames]), worstFrame: Math.max(...frames),
        search, filter, all, window, others, megabytes: Math.round(memory.usedJSHeapSize / 1e6),
      };
    });
    const report = {
      fileMegabytes: +(text.length / 1e6).toFixed(1), opened: Math.round(opened), read: Number(await fact(page, "readMs")),
      load: Number(await fact(page, "loadMs")), nodes: Number(await fact(page, "nodes")), ...figures,
    };
    console.log(`figure: page of a million samples: ${JSON.stringify(report)}`);
    expect(report.load).toBeLessThan(10_000);
    expect(figures.draw).toBeLessThan(100);
    await close();
  });
});
