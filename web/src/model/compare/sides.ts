// What is compared: the samples of two recordings, or of two stretches of one.

import type { Profile } from "../../data/profile";
import { firstSampleFrom, type Source } from "../source";
import type { Selection, TimeWindow } from "../filters";

/** By shares of all samples of the side, or by time per second of recording, 1 being one CPU. */
export const NORMALIZATIONS = ["samples", "time"] as const;
export type Normalization = (typeof NORMALIZATIONS)[number];

export interface Side {
  /** Places in the columns of samples, in the order of time. */
  samples: Uint32Array;
  /** What samples weigh in nanoseconds, by place; `null` where each weighs the same. */
  weight: Float64Array | null;
  each: number;
  /** Their time in nanoseconds. */
  ns: number;
  /** How long the side lasted; 0 when not known. */
  duration: number;
}

/** The samples from one place to another that count. */
function sideOf({ sample_weight: weight, weight_ns: each }: Profile, from: number, to: number, test: ((sample: number) => boolean) | null, duration: number): Side {
  const samples = new Uint32Array(Math.max(0, to - from));
  let count = 0, ns = 0;
  for (let at = from; at < to; at++) {
    if (test && !test(at)) continue;
    samples[count++] = at;
    ns += weight ? weight[at] : each;
  }
  return { samples: samples.subarray(0, count), weight: weight ?? null, each, ns, duration };
}

/** Base and new recording of a page of two, as far as filters and the stretch of time let them through. */
export function sidesOfRecordings(profile: Profile, selection: Selection, window: TimeWindow | null): [Side, Side] {
  const { comparison, sample_side: side } = profile;
  if (!comparison || !side) throw new Error("this page holds one recording");
  const { from, to, test } = selection;
  const [base, after] = comparison.sides.map(({ duration_ns: whole }, which) => {
    const duration = window ? Math.max(0, Math.min(window[1], whole || window[1]) - window[0]) : whole;
    return sideOf(profile, from, to, test ? (at) => side[at] === which && test(at) : (at) => side[at] === which, duration);
  });
  return [base, after];
}

/** Two stretches of one recording; the filters hold in both. */
export function sidesOfWindows(profile: Profile, source: Source, test: Selection["test"], windows: readonly [TimeWindow, TimeWindow]): [Side, Side] {
  const [base, after] = windows.map(([from, to]) => {
    const [first, end] = [from, to].map((time) => firstSampleFrom(source.samples, time));
    return sideOf(profile, first, end, test, Math.min(to, source.duration) - from);
  });
  return [base, after];
}
