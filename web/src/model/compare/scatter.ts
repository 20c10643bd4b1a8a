// How much the counts of one side scatter: crates/profile/src/diff/scatter.rs, which says why.
//
// The side's time is cut in blocks; what a row has in one block more than in the block before, against its share of the
// block, is what chance does.

import type { Normalization } from "./sides";

/** No more than a byte can number. */
const MOST_BLOCKS = 128;
const SAMPLES_PER_BLOCK = 8, FEWEST_BLOCKS = 8;

/** A side's time in blocks of equal length; none when there are too few samples, or when their times say nothing. */
export class Blocks {
  readonly count: number;
  /** Of each sample of the side. */
  readonly of: Uint8Array;
  /** How many samples a block has more than the one before. */
  private readonly grown: Float64Array;
  private readonly grownSquares: number;

  /** `samples` in the order of time. */
  constructor(private readonly samples: Uint32Array, time: Float64Array) {
    const first = time[samples[0]], span = time[samples[samples.length - 1]] - first;
    const count = Math.min(Math.floor(samples.length / SAMPLES_PER_BLOCK), MOST_BLOCKS);
    this.count = count < FEWEST_BLOCKS || span < count ? 0 : count;
    this.of = new Uint8Array(samples.length);
    const sizes = new Float64Array(this.count);
    if (this.count > 0) {
      for (let at = 0; at < samples.length; at++) {
        const block = Math.min(count - 1, Math.floor((time[samples[at]] - first) * count / (span + 1)));
        this.of[at] = block;
        sizes[block]++;
      }
    }
    this.grown = sizes.map((size, block) => block > 0 ? size - sizes[block - 1] : 0);
    this.grownSquares = this.grown.reduce((sum, each) => sum + each * each, 0);
  }

  /** How much more a row scatters than independent samples would, 1 or more; `counts` is what it has in each block, from a place on. */
  effect(counts: Int32Array, from: number, normalization: Normalization): number {
    const { count: blocks, grown } = this;
    if (blocks < 2) return 1;
    let count = counts[from], squares = 0, products = 0;
    for (let block = 1; block < blocks; block++) {
      const now = counts[from + block], change = now - counts[from + block - 1];
      count += now;
      squares += change * change;
      products += change * grown[block];
    }
    const share = count / this.samples.length;
    const scattered = normalization === "time" ? squares : squares - 2 * share * products + share * share * this.grownSquares;
    const independent = normalization === "time" ? count : count * (1 - share);
    return independent > 0 ? Math.max(1, scattered * (blocks / (blocks - 1) / 2) / independent) : 1;
  }
}
