// Numbers as people read them.

import type { Profile } from "./data/profile";

const COUNT_FORMAT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function formatNumber(count: number): string {
  return COUNT_FORMAT.format(count);
}

export function formatCount(count: number, singular: string, plural = `${singular}s`): string {
  return `${formatNumber(count)} ${count === 1 ? singular : plural}`;
}

/** Sums of fractions that differ by less are the same. */
const ROUNDING = 1e-12;

/** `99.7 %`; `100 %` and `0 %` only when it is so, as the terminal has it. */
export function formatShare(part: number, whole: number): string {
  if (!(whole > 0) || part === 0) return "0 %";
  if (Math.abs(part - whole) < whole * ROUNDING) return "100 %";
  const percent = part / whole * 100;
  if (percent > 0 && percent < 0.01) return "< 0.01 %";
  if (percent > 99.9 && percent < 100) return "> 99.9 %";
  const short = percent.toFixed(2);
  return `${percent > 0 && Number(short) < 10 ? short : percent.toFixed(1)} %`;
}

/** A difference of two shares (or of CPUs), in points of 100 %. */
export function formatPoints(change: number): string {
  const points = change * 100;
  const digits = Math.abs(points) < 10 ? 2 : 1;
  const text = Math.abs(points).toFixed(digits);
  return Number(text) === 0 ? "0" : `${points > 0 ? "+" : "−"}${text}`;
}

export function formatTime(nanoseconds: number): string {
  if (nanoseconds === 0) return "0 s";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]] as const) {
    const value = nanoseconds / size;
    if (value >= 1) return `${value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${unit}`;
  }
  return `${Math.round(nanoseconds)} ns`;
}

export function formatBytes(bytes: number): string {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]] as const) {
    const value = bytes / size;
    if (value >= 1) return `${value.toFixed(value >= 100 ? 0 : 1)} ${unit}`;
  }
  return `${bytes} B`;
}

export function formatDuration(nanoseconds: number): string {
  const seconds = nanoseconds / 1e9;
  if (seconds < 120) return formatTime(nanoseconds);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The reader's own time zone, named: a profile may come from anywhere. */
export function formatInstant(milliseconds: number): string {
  const parts = { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat("en-GB", parts).format(new Date(milliseconds));
}

/** A point in a recording, as fine as the recording is short. */
export function formatOffset(nanoseconds: number, duration: number): string {
  const digits = duration < 2e9 ? 3 : duration < 60e9 ? 2 : 1;
  return `${(nanoseconds / 1e9).toFixed(digits)} s`;
}

/** A value of the tree: the time it stands for, and its samples where the two are one. */
export class Scale {
  private readonly nanoseconds: number;
  private readonly countsSamples: boolean;

  constructor(profile: Profile, public whole: number) {
    this.nanoseconds = profile.sample_weight ? 1 : profile.weight_ns;
    this.countsSamples = !profile.sample_weight;
  }

  time(value: number): string {
    return this.nanoseconds === 0 ? "" : formatTime(value * this.nanoseconds);
  }

  samples(value: number): string {
    return this.countsSamples ? formatCount(value, "sample") : "";
  }

  share(value: number): string {
    return formatShare(value, this.whole);
  }

  /** Time and samples, whichever are known. */
  amount(value: number): string {
    return [this.time(value), this.samples(value)].filter(Boolean).join(", ");
  }
}
