// What a side's samples weigh: at the nodes they end in, with all below, and by row.

import { inChunks, type Steps } from "../steps";
import type { Side } from "./sides";

/** Samples that are weighed at a time. */
const CHUNK = 100_000;

/** Samples and nanoseconds; without a column of nanoseconds every sample stands for `each`. */
export interface Weights {
  samples: Float64Array;
  ns: Float64Array | null;
  each: number;
}

/** `nodeOf`: by node of the source, where its samples end; -1 for nowhere. */
export function* weighLeaves({ samples: chosen, weight, each }: Side, size: number, node: Uint32Array, nodeOf: Int32Array): Steps<Weights> {
  const samples = new Float64Array(size), ns = weight ? new Float64Array(size) : null;
  yield* inChunks(chosen.length, CHUNK, (from, to) => {
    for (let place = from; place < to; place++) {
      const at = chosen[place], leaf = nodeOf[node[at]];
      if (leaf < 0) continue;
      samples[leaf]++;
      if (ns && weight) ns[leaf] += weight[at];
    }
  });
  return { samples, ns, each };
}

/** With what is below; parents stand before their children. */
export function sumUp({ samples, ns, each }: Weights, parent: Int32Array): Weights {
  const sum = (column: Float64Array) => {
    const sums = column.slice();
    for (let node = parent.length - 1; node > 0; node--) sums[parent[node]] += sums[node];
    return sums;
  };
  return { samples: sum(samples), ns: ns && sum(ns), each };
}

/** By row; a node may count for several. */
export function gather({ samples, ns, each }: Weights, rows: number, rowsOf: readonly Int32Array[]): Weights {
  const sum = (column: Float64Array) => {
    const sums = new Float64Array(rows);
    for (const rowOf of rowsOf) {
      for (let node = 0; node < rowOf.length; node++) if (rowOf[node] >= 0) sums[rowOf[node]] += column[node];
    }
    return sums;
  };
  return { samples: sum(samples), ns: ns && sum(ns), each };
}
