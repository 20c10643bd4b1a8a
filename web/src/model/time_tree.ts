// Samples in the order of time, process by process and thread by thread: what ran on is one box.

import { eachSample, type Selection } from "./filters";
import type { Source } from "./source";
import { part, type Steps } from "./steps";
import { layOut, type MappedTree, type Shape, type Tree } from "./tree";

/** More boxes than this are more than a screen can tell apart, and more memory than a page should take. */
export const MOST_BOXES = 3_000_000;

/** Samples that become boxes at a time. */
const CHUNK = 20_000;

/** Samples in the order in which they are drawn: by process and thread where those are levels, then by time. */
function* drawnOrder(source: Source, selection: Selection, shape: Shape, processOf: (thread: number) => number): Steps<Uint32Array> {
  const { node } = source.samples;
  const lanes = new Map<number, number[]>();
  yield* eachSample(source, selection, (at) => {
    const thread = source.thread[node[at]];
    const lane = shape.threads ? thread : shape.processes ? -1 - processOf(thread) : 0;
    const run = lanes.get(lane);
    if (run) run.push(at); else lanes.set(lane, [at]);
  });
  const process = (lane: number) => lane < 0 ? -1 - lane : processOf(lane);
  const runs = [...lanes].sort(([a], [b]) => process(a) - process(b) || a - b).map(([, run]) => run);
  return Uint32Array.from(runs.flat());
}

/**
 * The tree of the selected samples in time order; `null` when it would have too many boxes.
 * `tree` is the left-heavy tree of the same samples, whose paths it takes.
 */
export function* buildTimeTree(
  source: Source, tree: MappedTree, shape: Shape, selection: Selection, processOf: (thread: number) => number,
): Steps<Tree | null> {
  const { node, weight } = source.samples;
  let room = 1 << 16, size = 1;
  let parent = new Int32Array(room), entry = new Int32Array(room), self = new Float64Array(room);
  parent[0] = -1;
  // The open path: node of the left-heavy tree, and its newest box, by depth.
  const path = new Int32Array(tree.height + 1), boxes = new Int32Array(tree.height + 1);
  let deepest = 0;
  const add = (at: number): void => {
    const leaf = tree.target[node[at]];
    if (leaf < 0 || size > MOST_BOXES) return;
    let shared = Math.min(deepest, tree.depth[leaf]);
    let up = leaf;
    while (tree.depth[up] > shared) up = tree.parent[up];
    for (; path[shared] !== up; shared--) up = tree.parent[up];
    for (let here = leaf; tree.depth[here] > shared; here = tree.parent[here]) path[tree.depth[here]] = here;
    deepest = tree.depth[leaf];
    if (size + deepest - shared > room) {
      room = room * 2 + deepest;
      const wider = <T extends Int32Array | Float64Array>(into: T, from: T): T => { into.set(from); return into; };
      parent = wider(new Int32Array(room), parent);
      entry = wider(new Int32Array(room), entry);
      self = wider(new Float64Array(room), self);
    }
    for (let depth = shared + 1; depth <= deepest; depth++) {
      parent[size] = boxes[depth - 1];
      entry[size] = tree.entry[path[depth]];
      boxes[depth] = size++;
    }
    self[boxes[deepest]] += weight ? weight[at] : 1;
  };
  const order = yield* part(drawnOrder(source, selection, shape, processOf), 0, 0.2);
  for (let from = 0; from < order.length && size <= MOST_BOXES; from += CHUNK) {
    for (const at of order.subarray(from, from + CHUNK)) add(at);
    yield 0.2 + 0.4 * from / order.length;
  }
  return size > MOST_BOXES ? null : (yield* part(layOut({ size, parent, entry, self }, false), 0.6, 1)).tree;
}
