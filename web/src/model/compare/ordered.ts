// A side's samples in the order of the tree that they end in: those at and below a node stand beside each other, so what a
// node has in each block of time is counted without a look at the others.

import { inChunks, part, type Steps } from "../steps";
import type { Compared } from "./rows";
import type { Blocks } from "./scatter";
import type { Normalization, Side } from "./sides";

/** After so many samples there is a table of all before. */
const TABLE_EVERY = 4096;
/** Nodes whose samples are counted at a time. */
const CHUNK = 20_000;
/** Samples that are put in order at a time. */
const SAMPLES = 100_000;

export class Ordered {
  /** By node: where its own samples begin, which those below it follow. */
  private readonly begin: Int32Array;
  private readonly blockOf: Uint8Array;
  /** What is in each block before every so many samples: tables[table * blocks.count + block]. */
  private readonly tables: Int32Array;
  private readonly counts: Int32Array;

  /** `own` and `total` are the samples that end in and below each node. */
  private constructor(
    private readonly blocks: Blocks, private readonly own: Float64Array, private readonly total: Float64Array, parent: Int32Array, samples: number,
  ) {
    const next = new Int32Array(parent.length);
    this.begin = new Int32Array(parent.length);
    next[0] = own[0];
    for (let at = 1; at < parent.length; at++) {
      const begin = next[parent[at]];
      this.begin[at] = begin;
      next[at] = begin + own[at];
      next[parent[at]] = begin + total[at];
    }
    this.blockOf = new Uint8Array(samples);
    this.counts = new Int32Array(blocks.count);
    this.tables = new Int32Array((Math.floor((total[0] ?? 0) / TABLE_EVERY) + 1) * blocks.count);
  }

  static *steps(
    { samples }: Side, blocks: Blocks, own: Float64Array, total: Float64Array, { parent, nodeOf }: Pick<Compared, "parent" | "nodeOf">, node: Uint32Array,
  ): Steps<Ordered> {
    const ordered = new Ordered(blocks, own, total, parent, samples.length);
    const { begin, blockOf } = ordered;
    const next = begin.slice();
    yield 0.3;
    yield* part(inChunks(samples.length, SAMPLES, (from, to) => {
      for (let at = from; at < to; at++) {
        const leaf = nodeOf[node[samples[at]]];
        if (leaf >= 0) blockOf[next[leaf]++] = blocks.of[at];
      }
    }), 0.3, 0.9);
    ordered.fillTables(total[0] ?? 0);
    return ordered;
  }

  private fillTables(samples: number): void {
    const { blocks: { count }, tables } = this;
    for (let at = 0; at < samples; at++) {
      const table = (Math.floor(at / TABLE_EVERY) + 1) * count;
      if (table < tables.length) tables[table + this.blockOf[at]]++;
    }
    for (let place = count; place < tables.length; place++) tables[place] += tables[place - count];
  }

  /** Adds the samples from one place to another, block by block. */
  private add(from: number, to: number, counts: Int32Array, into: number): void {
    const { blockOf, tables, blocks: { count } } = this;
    const first = Math.ceil(from / TABLE_EVERY), last = Math.floor(to / TABLE_EVERY);
    if (last <= first) {
      for (let at = from; at < to; at++) counts[into + blockOf[at]]++;
      return;
    }
    for (let at = from; at < first * TABLE_EVERY; at++) counts[into + blockOf[at]]++;
    for (let block = 0; block < count; block++) counts[into + block] += tables[last * count + block] - tables[first * count + block];
    for (let at = last * TABLE_EVERY; at < to; at++) counts[into + blockOf[at]]++;
  }

  /** How much more than by chance alone what ends in the node scatters, or that with all below it. */
  effect(node: number, which: "own" | "total", normalization: Normalization): number {
    const { begin, counts } = this;
    counts.fill(0);
    this.add(begin[node], begin[node] + this[which][node], counts, 0);
    return this.blocks.effect(counts, 0, normalization);
  }

  /** The same for rows that have the samples of several nodes, each time those that end there or those with all below. */
  *effects(rows: number, rowsOf: readonly Int32Array[], which: "own" | "total", normalization: Normalization): Steps<Float64Array> {
    const { begin, blocks } = this;
    const counts = new Int32Array(rows * blocks.count);
    yield* inChunks(begin.length, CHUNK, (from, to) => {
      for (const rowOf of rowsOf) {
        for (let node = from; node < to; node++) {
          if (rowOf[node] >= 0) this.add(begin[node], begin[node] + this[which][node], counts, rowOf[node] * blocks.count);
        }
      }
    });
    return Float64Array.from({ length: rows }, (_, row) => blocks.effect(counts, row * blocks.count, normalization));
  }
}
