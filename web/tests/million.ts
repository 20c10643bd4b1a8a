// A million samples on a million nodes, or as many of either as are wanted; always the same.

import type { Head } from "../src/data/profile";
import { parseProfile } from "../src/data/read";
import { pack } from "./made_up";

const MILLION = 1_000_000, FUNCTIONS = 3000, LINES = 3, DEEPEST = 60, THREADS = 32;

/** Knuth's linear congruential generator. */
function random(): (limit: number) => number {
  let state = 7n;
  return (limit) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 33n) % limit;
  };
}

/** The uncompressed data of a page. */
export function millionData(count = MILLION, nodes = count): Buffer {
  const below = random();
  const back = new Uint32Array(nodes), row = new Uint32Array(nodes), place = new Uint32Array(DEEPEST + 4);
  let depth = 0, thread = -1;
  for (let node = 1; node < nodes; node++) {
    // Every so many nodes a new thread; else deeper, beside, or back up a little.
    if (node % Math.ceil(nodes / THREADS) === 1) depth = thread % 8 === 7 || thread < 0 ? 1 : 2;
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
    ["function_group", "u32", list(FUNCTIONS, (at) => at)], ["function_origin", "u8", list(FUNCTIONS, () => 0)],
    // As many as are native take the GIL as there may be where everything waits for it.
    ["function_gil", "u8", list(FUNCTIONS, (at) => at % 7 !== 0 && at % 3 === 0 && at % 5 === 0 ? 1 : 0)],
    ["frame_function", "u32", list(FUNCTIONS * LINES, (at) => Math.floor(at / LINES))], ["frame_line", "u32", list(FUNCTIONS * LINES, (at) => at)],
    ["node_back", "u32", back], ["node_row", "u32", row], ["sample_step", "u32", list(count, () => 60)],
    ["sample_node", "u32", list(count, () => Math.max(3, below(nodes)))], ["sample_cpu", "u32", list(count, (at) => at % 16)],
    ["sample_complete", "u8", list(count, () => 1)],
  ];
  const head: Head = {
    format: 2, samples: count, complete: count, lost: 0, incomplete: {}, weight_ns: 1e6, time_unit_ns: 1000, strings,
    information: { viperf_version: "", hostname: "", kernel: "", started_unix_ms: 0, duration_ns: 60e9, period_ns: 1e6, rate_hz: 999, target: "a million" },
    view: { threads: true, merge_processes: false, interpreter_frames: false },
    processes: Array.from({ length: 5 }, (_, at) => ({ pid: at + 1, name: 0, command_line: 0, python_version: null })),
    threads: Array.from({ length: THREADS + 8 }, (_, at) => ({ process: Math.floor(at / 8), tid: at + 1, name: 0 })),
    columns: columns.map(([name, type, entries]) => [name, type, entries.length]),
  };
  return pack(head, columns);
}

/**
 * The same as a file of speedscope's own format, in parts: together they are longer than a string may be.
 * `merged`: each stack once, with the weight of all its samples, the least that speedscope can be given.
 */
export function* millionSpeedscope(count = MILLION, nodes = count, merged = false): Generator<string> {
  const data = millionData(count, nodes);
  const profile = parseProfile(data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer);
  const { function_name: names, frame_function: functions, frame_line: lines, strings, sample_node: samples, node_back: back, node_row: row } = profile;
  const frames = Array.from(functions, (of, at) => ({ name: strings[names[of]], file: "/srv/app.py", line: lines[at] }));
  const depth = new Uint8Array(back.length), held = new Uint32Array(back.length);
  for (let node = 1; node < back.length; node++) depth[node] = Math.min(3, depth[node - back[node]] + 1);
  for (const leaf of samples) held[leaf]++;
  const leaves = merged ? Uint32Array.from(held.keys()).filter((node) => held[node] > 0) : samples;
  yield `{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":${JSON.stringify(frames)}},"profiles":[{"type":"sampled","name":"a million","unit":"nanoseconds","startValue":0,"endValue":${count}000000,"samples":[`;
  let part = "";
  for (const [at, leaf] of leaves.entries()) {
    const stack = [];
    for (let node = leaf; depth[node] === 3; node -= back[node]) stack.push(row[node]);
    part += `${at > 0 ? "," : ""}[${stack.reverse().join(",")}]`;
    if (part.length > 1 << 24) {
      yield part;
      part = "";
    }
  }
  yield `${part}],"weights":[${Array.from(leaves, (leaf) => (merged ? held[leaf] : 1) * 1_000_000).join(",")}]}]}`;
}
