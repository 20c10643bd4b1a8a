// Samples over time: lanes of bins, and the second-by-second map.

import { eachSample, selectSteps, type Filter, type Selection } from "./filters";
import { KIND_KERNEL } from "./kinds";
import type { Names } from "./names";
import type { Source } from "./source";
import type { Steps } from "./steps";

/** The kinds that a bin tells apart: Python, native, kernel, and all else. */
export const BIN_KINDS = 4;

/** Bins of one lane, kind by kind: bins[kind * count + bin]. */
export interface Lane {
  bins: Float32Array;
  total: number;
}

/** A lane per thread, and one for everything at place `threads`. */
export function* binThreads(source: Source, threads: number, count: number, selection: Selection): Steps<Lane[]> {
  const lanes = Array.from({ length: threads + 1 }, (): Lane => ({ bins: new Float32Array(0), total: 0 }));
  const { time, node } = source.samples;
  const all = lanes[threads];
  all.bins = new Float32Array(count * BIN_KINDS);
  yield* eachSample(source, selection, (at, amount) => {
    const leaf = node[at], thread = source.thread[leaf];
    if (thread < 0) return;
    const lane = lanes[thread];
    if (lane.bins.length === 0) lane.bins = new Float32Array(count * BIN_KINDS);
    const bin = Math.min(count - 1, Math.floor(time[at] / source.duration * count));
    const kind = source.kind[leaf];
    const place = (kind >= 1 && kind <= KIND_KERNEL ? kind - 1 : BIN_KINDS - 1) * count + bin;
    lane.bins[place] += amount;
    lane.total += amount;
    all.bins[place] += amount;
    all.total += amount;
  });
  return lanes;
}

/** One lane for everything. */
function* binAll(source: Source, count: number, selection: Selection): Steps<Lane> {
  const lane: Lane = { bins: new Float32Array(count * BIN_KINDS), total: 0 };
  const { time, node } = source.samples;
  const { bins } = lane, { kind } = source, scale = count / source.duration;
  yield* eachSample(source, selection, (at, amount) => {
    const bin = Math.min(count - 1, Math.floor(time[at] * scale)), own = kind[node[at]];
    bins[(own >= 1 && own <= KIND_KERNEL ? own - 1 : BIN_KINDS - 1) * count + bin] += amount;
    lane.total += amount;
  });
  return lane;
}

/** One lane for everything that the filters let through, whenever it was. */
export function* binFiltered(source: Source, names: Names, filters: readonly Filter[], count: number): Steps<Lane> {
  return yield* binAll(source, count, yield* selectSteps(source, names, filters, null));
}

/** The lanes added up. */
export function addLanes(lanes: readonly Lane[], count: number): Lane {
  const sum: Lane = { bins: new Float32Array(count * BIN_KINDS), total: 0 };
  for (const lane of lanes) {
    lane.bins.forEach((amount, place) => { sum.bins[place] += amount; });
    sum.total += lane.total;
  }
  return sum;
}

/** What all kinds of a bin hold, at most, over the bins. */
export function highestBin(lane: Lane, count: number): number {
  let highest = 0;
  for (let bin = 0; bin < count; bin++) {
    let sum = 0;
    for (let kind = 0; kind < BIN_KINDS; kind++) sum += lane.bins[kind * count + bin] ?? 0;
    highest = Math.max(highest, sum);
  }
  return highest;
}

/** More columns than this are wider than a canvas may be. */
const MOST_COLUMNS = 8000;

/** Weight by second and by part of the second: cells[column * parts + part]. */
export interface SecondMap {
  columns: number;
  /** Seconds that share a column: 1 but for recordings of hours. */
  step: number;
  parts: number;
  cells: Float64Array;
  highest: number;
}

export function* mapSeconds(source: Source, parts: number, selection: Selection): Steps<SecondMap> {
  const seconds = Math.max(1, Math.ceil(source.duration / 1e9));
  const step = Math.ceil(seconds / MOST_COLUMNS);
  const columns = Math.ceil(seconds / step);
  const cells = new Float64Array(columns * parts);
  const { time } = source.samples;
  yield* eachSample(source, selection, (at, amount) => {
    const second = Math.min(seconds - 1, Math.floor(time[at] / 1e9));
    const part = Math.min(parts - 1, Math.floor((time[at] - second * 1e9) / 1e9 * parts));
    cells[Math.floor(second / step) * parts + part] += amount;
  });
  return { columns, step, parts, cells, highest: cells.reduce((highest, cell) => Math.max(highest, cell), 0) };
}
