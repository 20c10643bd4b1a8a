// The judged rows of a comparison: crates/profile/src/diff.rs. A change is called one only when its interval excludes 0, and
// the intervals are so wide that, of all rows together, not one is called a change by chance in 95 of 100 comparisons.

import { part, type Steps } from "../steps";
import type { Samples } from "../source";
import { countInterval, difference, excludesZero, scaleEstimate, shareInterval, width, type Estimate, type Interval } from "./interval";
import { Ordered } from "./ordered";
import { Blocks } from "./scatter";
import type { Normalization, Side } from "./sides";
import { gather, sumUp, weighLeaves, type Weights } from "./weights";

export const CONFIDENCE = 0.95;
/** Rows with fewer samples on both sides together are not judged. */
export const FEWEST_SAMPLES = 10;

export type Verdict = "appeared" | "vanished" | "grew" | "shrank" | "unchanged" | "too-few-samples";

export function isChange(verdict: Verdict): boolean {
  return verdict !== "unchanged" && verdict !== "too-few-samples";
}

/** One figure before and after: shares from 0 to 1, or CPUs. */
export interface Change {
  baseSamples: number;
  newSamples: number;
  base: number;
  after: number;
  interval: Interval;
}

export interface DiffRow {
  of: number;
  own: Change;
  total: Change;
  verdict: Verdict;
}

/** What is compared: functions, stacks, or boxes, by the tree of nodes that samples end in. */
export interface Compared {
  rows: number;
  /** Which figures decide what is to be thought of a row. */
  judges: "own" | "total" | "both";
  /** By node: parents stand before their children, and that of the first is -1. */
  parent: Int32Array;
  /** By node of the source: the node in which its samples end; -1 for none. */
  nodeOf: Int32Array;
  /** By node, the row that has what is at and below it; -1 for none. Not there where the node is the row. */
  totalRow?: Int32Array;
  /** The row that has what ends there, and the one besides it; not there where the node is the row. */
  ownRow?: Int32Array;
  callerRow?: Int32Array;
  /** Rows with too few samples to be judged are no rows. */
  onlyJudged?: boolean;
}

/** One side as it was seen: its figures, and by row how much more than by chance they scatter. */
interface Observed {
  side: Side;
  own: Weights;
  total: Weights;
  ownEffect(row: number): number;
  totalEffect(row: number): number;
}

function ratio(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}

function valueOf(side: Side, { samples, ns, each }: Weights, row: number, normalization: Normalization): number {
  if (normalization === "samples") return ratio(samples[row], side.samples.length);
  return ratio(ns ? ns[row] : samples[row] * each, side.duration || side.ns);
}

function estimate({ side }: Observed, weights: Weights, row: number, normalization: Normalization, effect: number, z: number): Estimate {
  const samples = weights.samples[row], ns = weights.ns ? weights.ns[row] : samples * weights.each;
  if (normalization === "samples") {
    const of = side.samples.length;
    return { value: ratio(samples, of), interval: shareInterval(samples / effect, of / effect, z) };
  }
  // What one sample stands for; of a figure without samples, what it would.
  const period = samples === 0 ? ratio(side.ns, side.samples.length) : ns / samples;
  const { low, high } = countInterval(samples / effect, z);
  const seen = { value: samples, interval: { low: low * effect, high: high * effect } };
  return scaleEstimate(seen, ratio(period, side.duration || side.ns));
}

function judge(own: Change, total: Change, judges: Compared["judges"]): Verdict {
  const deciding = judges === "own" ? [own] : judges === "total" ? [total] : [own, total];
  const changed = deciding.find(({ interval }) => excludesZero(interval));
  if (!changed) return "unchanged";
  const { baseSamples, newSamples } = judges === "own" ? own : total;
  if (changed.interval.low > 0) return baseSamples === 0 ? "appeared" : "grew";
  return newSamples === 0 ? "vanished" : "shrank";
}

/** A comparison of which each row is told when somebody asks: of a million few ever are. */
export class Judged {
  constructor(
    private readonly compared: Compared, private readonly sides: readonly [Observed, Observed],
    private readonly normalization: Normalization, private readonly z: number,
  ) {}

  get rows(): number {
    return this.compared.rows;
  }

  /** The samples of both sides that decide. */
  private met(row: number): number {
    const [first, second] = this.sides;
    return this.compared.judges === "own" ? first.own.samples[row] + second.own.samples[row] : first.total.samples[row] + second.total.samples[row];
  }

  /** Whether one side has it. */
  has(row: number): boolean {
    return this.met(row) >= (this.compared.onlyJudged ? FEWEST_SAMPLES : 1);
  }

  row(of: number): DiffRow {
    const own = this.change(of, "own"), total = this.change(of, "total");
    return { of, own, total, verdict: this.met(of) >= FEWEST_SAMPLES ? judge(own, total, this.compared.judges) : "too-few-samples" };
  }

  verdict(row: number): Verdict {
    return this.met(row) >= FEWEST_SAMPLES ? this.row(row).verdict : "too-few-samples";
  }

  /** How much it changed, to either side. */
  size(row: number, which: "own" | "total"): number {
    const [before, after] = this.sides.map((side) => valueOf(side.side, side[which], row, this.normalization));
    return Math.abs(after - before);
  }

  private change(row: number, which: "own" | "total"): Change {
    const { sides, normalization, z } = this;
    const [first, second] = sides;
    // What comes in bursts on one side does so on the other, also if too little of it was seen there to tell.
    const effect = which === "own" ? Math.max(first.ownEffect(row), second.ownEffect(row)) : Math.max(first.totalEffect(row), second.totalEffect(row));
    const before = estimate(first, first[which], row, normalization, effect, z), after = estimate(second, second[which], row, normalization, effect, z);
    return {
      baseSamples: first[which].samples[row], newSamples: second[which].samples[row],
      base: before.value, after: after.value, interval: difference(before, after),
    };
  }
}

/** Every row that one side has. */
export function* compareSteps(
  sides: readonly [Side, Side], { node, time }: Pick<Samples, "node" | "time">, normalization: Normalization, compared: Compared,
): Steps<Judged> {
  const { rows, judges } = compared;
  const first = yield* part(observeSteps(sides[0], node, time, normalization, compared), 0, 0.5);
  const second = yield* part(observeSteps(sides[1], node, time, normalization, compared), 0.5, 0.95);
  const which = judges === "own" ? "own" : "total";
  let judged = 0;
  for (let row = 0; row < rows; row++) if (first.observed[which].samples[row] + second.observed[which].samples[row] >= FEWEST_SAMPLES) judged++;
  // Functions and stacks are two tables of one comparison: each may err half as often.
  const tests = 2 * Math.max(judged, 1) * (judges === "both" ? 2 : 1);
  const blocks = Math.min(first.blocks, second.blocks);
  // Differences of neighbours overlap: n of them are worth two thirds.
  const z = width((1 - CONFIDENCE) / tests, blocks > 1 ? 2 * (blocks - 1) / 3 : null);
  return new Judged(compared, [first.observed, second.observed], normalization, z);
}

function* observeSteps(
  side: Side, node: Uint32Array, time: Float64Array, normalization: Normalization, compared: Compared,
): Steps<{ observed: Observed; blocks: number }> {
  const { parent, nodeOf, totalRow, ownRow, callerRow, rows, judges } = compared;
  const leaves = yield* part(weighLeaves(side, parent.length, node, nodeOf), 0, 0.15);
  const sums = sumUp(leaves, parent);
  const ownRows = ownRow && (callerRow ? [ownRow, callerRow] : [ownRow]), totalRows = totalRow && [totalRow];
  const own = ownRows ? gather(leaves, rows, ownRows) : leaves, total = totalRows ? gather(sums, rows, totalRows) : sums;
  yield 0.2;
  const blocks = new Blocks(side.samples, time);
  yield 0.25;
  const ordered = yield* part(Ordered.steps(side, blocks, leaves.samples, sums.samples, compared, node), 0.25, 0.45);
  // What many nodes make up is counted now, what one does when it is asked for.
  const always = () => 1;
  const effectOf = function* (which: "own" | "total", rowsOf: readonly Int32Array[] | undefined): Steps<(row: number) => number> {
    if (!rowsOf) return (row) => ordered.effect(row, which, normalization);
    const effects = yield* ordered.effects(rows, rowsOf, which, normalization);
    return (row) => effects[row];
  };
  const ownEffect = judges === "total" ? always : yield* part(effectOf("own", ownRows), 0.45, 0.6);
  const totalEffect = judges === "own" ? always : yield* part(effectOf("total", totalRows), 0.6, 1);
  return { observed: { side, own, total, ownEffect, totalEffect }, blocks: blocks.count };
}

export function changeSize({ base, after }: Change): number {
  return after - base;
}
