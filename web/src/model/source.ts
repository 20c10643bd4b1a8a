// The call tree at its finest, a node per process, thread, and (function, line) on each path, and the samples on it.

import type { Profile } from "../data/profile";
import { KIND_INTERPRETER } from "./kinds";
import { finish, inChunks, part, type Steps } from "./steps";

export const LEVEL_ROOT = 0;
export const LEVEL_PROCESS = 1;
export const LEVEL_THREAD = 2;
export const LEVEL_FRAME = 3;

export interface Samples {
  count: number;
  /** Nanoseconds since the recording's start, rising. */
  time: Float64Array;
  /** The node of the leaf. */
  node: Uint32Array;
  cpu: Uint32Array;
  complete: Uint8Array;
  /** In nanoseconds where samples weigh differently; else every sample counts 1. */
  weight: Float64Array | null;
  total: number;
}

/** Parents stand before their children. */
export interface Source {
  size: number;
  parent: Int32Array;
  level: Uint8Array;
  /** By level: nothing, a process, a thread, a frame. */
  row: Uint32Array;
  /** The thread's row; -1 above threads. */
  thread: Int32Array;
  /** What was running if this is the leaf: an interpreter's frame counts as what it runs for. */
  kind: Uint8Array;
  samples: Samples;
  /** How long the recording is: as it says, or up to the last sample. */
  duration: number;
}

/** Samples or nodes that are gone through at a time. */
const CHUNK = 100_000;

function* readSamples(profile: Profile): Steps<Samples> {
  const count = profile.sample_node.length;
  const time = new Float64Array(count);
  const { sample_step: steps, time_unit_ns: unit, sample_weight: weight = null } = profile;
  let now = 0, total = 0;
  yield* inChunks(count, CHUNK, (from, to) => {
    // In variables of its own: those of the function around it are several times slower to add to.
    let instant = now, sum = total;
    for (let at = from; at < to; at++) {
      instant += steps[at];
      time[at] = instant * unit;
    }
    if (weight) for (let at = from; at < to; at++) sum += weight[at];
    now = instant;
    total = weight ? sum : to;
  });
  return { count, time, node: profile.sample_node, cpu: profile.sample_cpu, complete: profile.sample_complete, weight, total };
}

export function buildSource(profile: Profile): Source {
  return finish(sourceSteps(profile));
}

export function* sourceSteps(profile: Profile): Steps<Source> {
  const size = profile.node_back.length;
  const parent = new Int32Array(size), thread = new Int32Array(size).fill(-1);
  const level = new Uint8Array(size), kind = new Uint8Array(size);
  const { node_back: back, node_row: row, frame_function: functions, function_kind: kinds } = profile;
  parent[0] = -1;
  yield* part(inChunks(size, CHUNK, (from, to) => {
    for (let node = Math.max(1, from); node < to; node++) {
      const above = node - back[node];
      parent[node] = above;
      level[node] = Math.min(level[above] + 1, LEVEL_FRAME);
      thread[node] = level[node] === LEVEL_THREAD ? row[node] : thread[above];
      const own = level[node] === LEVEL_FRAME ? kinds[functions[row[node]]] : 0;
      kind[node] = own === KIND_INTERPRETER && kind[above] > 0 ? kind[above] : own;
    }
  }), 0, 0.7);
  const samples = yield* part(readSamples(profile), 0.7, 1);
  const last = samples.count > 0 ? samples.time[samples.count - 1] : 0;
  return { size, parent, level, row, thread, kind, samples, duration: Math.max(profile.information.duration_ns, last, 1) };
}

/** The first sample at or after an instant. */
export function firstSampleFrom(samples: Samples, time: number): number {
  let low = 0, high = samples.count;
  while (low < high) {
    const middle = low + high >>> 1;
    if (samples.time[middle] < time) low = middle + 1; else high = middle;
  }
  return low;
}
