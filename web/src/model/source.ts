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
  /** Nanoseconds since the recording's start, rising; made when it is asked for. */
  readonly time: Float64Array;
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
  /** The thread's row; -1 above threads. Made when it is asked for, like `kind`: the first picture needs neither. */
  readonly thread: Int32Array;
  /** What was running if this is the leaf: an interpreter's frame counts as what it runs for. */
  readonly kind: Uint8Array;
  samples: Samples;
  /** How long the recording is: as it says, or up to the last sample. */
  duration: number;
}

/** Samples or nodes that are gone through at a time. */
const CHUNK = 100_000;

/** Made once, when it is asked for. */
export function once<T>(make: () => T): () => T {
  let made: T | null = null;
  return () => made ??= make();
}

function timesOf({ sample_step: steps, time_unit_ns: unit }: Profile): Float64Array {
  const time = new Float64Array(steps.length);
  let now = 0;
  for (let at = 0; at < steps.length; at++) time[at] = (now += steps[at]) * unit;
  return time;
}

function* readSamples(profile: Profile): Steps<Samples> {
  const count = profile.sample_node.length;
  const { sample_weight: weight = null } = profile;
  let total = weight ? 0 : count;
  if (weight) {
    yield* inChunks(count, CHUNK, (from, to) => {
      // In a variable of its own: that of the function around it is several times slower to add to.
      let sum = total;
      for (let at = from; at < to; at++) sum += weight[at];
      total = sum;
    });
  }
  const times = once(() => timesOf(profile));
  return {
    count, get time() { return times(); }, node: profile.sample_node, cpu: profile.sample_cpu, complete: profile.sample_complete, weight, total,
  };
}

export function buildSource(profile: Profile): Source {
  return finish(sourceSteps(profile));
}

/** When the last sample was taken. */
function lastTime({ sample_step: steps, time_unit_ns: unit }: Profile): number {
  let last = 0;
  for (let at = 0; at < steps.length; at++) last += steps[at];
  return last * unit;
}

function threadsOf({ node_row: row }: Profile, parent: Int32Array, level: Uint8Array): Int32Array {
  const thread = new Int32Array(level.length).fill(-1);
  for (let node = 1; node < level.length; node++) thread[node] = level[node] === LEVEL_THREAD ? row[node] : thread[parent[node]];
  return thread;
}

function kindsOf({ node_row: row, frame_function: functions, function_kind: kinds }: Profile, parent: Int32Array, level: Uint8Array): Uint8Array {
  const kind = new Uint8Array(level.length);
  for (let node = 1; node < level.length; node++) {
    const own = level[node] === LEVEL_FRAME ? kinds[functions[row[node]]] : 0, above = kind[parent[node]];
    kind[node] = own === KIND_INTERPRETER && above > 0 ? above : own;
  }
  return kind;
}

export function* sourceSteps(profile: Profile): Steps<Source> {
  const size = profile.node_back.length;
  const parent = new Int32Array(size), level = new Uint8Array(size);
  const { node_back: back, node_row: row } = profile;
  parent[0] = -1;
  yield* part(inChunks(size, CHUNK, (from, to) => {
    for (let node = Math.max(1, from); node < to; node++) {
      const above = node - back[node];
      parent[node] = above;
      level[node] = Math.min(level[above] + 1, LEVEL_FRAME);
    }
  }), 0, 0.7);
  const samples = yield* part(readSamples(profile), 0.7, 1);
  const threads = once(() => threadsOf(profile, parent, level)), kinds = once(() => kindsOf(profile, parent, level));
  const duration = Math.max(profile.information.duration_ns, lastTime(profile), 1);
  return { size, parent, level, row, get thread() { return threads(); }, get kind() { return kinds(); }, samples, duration };
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
