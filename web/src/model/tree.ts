// Trees that are shown: nodes joined by what they are, laid out level by level.

import { KIND_INTERPRETER, KIND_KERNEL, KIND_NATIVE } from "./kinds";
import { Merger } from "./merger";
import type { Names } from "./names";
import { LEVEL_FRAME, LEVEL_PROCESS, LEVEL_ROOT, once, type Source } from "./source";
import { finish, inChunks, part, type Steps } from "./steps";

export type Deed = "focus" | "hide" | "collapse" | "recursion";

/** A change of stacks: on a function's row, or for `collapse` on a library's number. */
export interface Transform {
  deed: Deed;
  row: number;
}

/** What of a stack becomes a box. */
export interface Shape {
  processes: boolean;
  mergeProcesses: boolean;
  threads: boolean;
  lines: boolean;
  native: boolean;
  kernel: boolean;
  interpreter: boolean;
  /** Functions of one name in one module are one, as in comparisons. */
  joined?: boolean;
  transforms: readonly Transform[];
  /** The least share of the whole that a box must have. */
  minimum: number;
}

/** Nodes level by level, each level from left to right. */
export interface Tree {
  size: number;
  entry: Int32Array;
  parent: Int32Array;
  depth: Int32Array;
  start: Float64Array;
  self: Float64Array;
  total: Float64Array;
  /** The children of a node are firstChild[node] up to firstChild[node + 1]. */
  firstChild: Int32Array;
  height: number;
  /** levels[depth] is the first node of that depth, levels[height] the end. */
  levels: Int32Array;
}

/** A tree and where each node of the source went; -1 for nodes that are not in it. Made when it is asked for. */
export interface MappedTree extends Tree {
  readonly target: Int32Array;
}

/** Entry of each source node; -1 for a node that is left out and whose time goes to its caller. */
function* sourceEntries(source: Source, names: Names, shape: Shape): Steps<Int32Array> {
  const { frame_function: functions, function_kind: kinds, function_name: rows } = names.profile;
  const ofFunction = Int32Array.from(rows, (_, row) => {
    const kind = kinds[row];
    if (kind === KIND_INTERPRETER && !shape.interpreter) return -1;
    if (kind === KIND_NATIVE && !shape.native) return -1;
    return kind === KIND_KERNEL && !shape.kernel ? -1 : names.firstFunction + (shape.joined ? names.sameFunctions[row] : row);
  });
  const collapsed = new Set<number>();
  for (const { deed, row } of shape.transforms) {
    if (deed === "hide") {
      ofFunction[row] = -1;
      if (shape.joined) names.sameFunctions.forEach((same, other) => { if (same === names.sameFunctions[row]) ofFunction[other] = -1; });
    }
    if (deed === "collapse") collapsed.add(row);
  }
  if (collapsed.size > 0) {
    ofFunction.forEach((entry, row) => {
      const library = names.libraries.of[row];
      if (entry >= 0 && collapsed.has(library)) ofFunction[row] = names.firstGroup + library;
    });
  }
  const entries = new Int32Array(source.size);
  const above = (level: number, row: number): number => {
    switch (level) {
      case LEVEL_ROOT: return 0;
      case LEVEL_PROCESS: return shape.processes ? names.process(row, shape.mergeProcesses) : -1;
      default: return shape.threads ? names.firstThread + row : -1;
    }
  };
  const ofFrame = Int32Array.from(functions, (of, row) => {
    const entry = ofFunction[of];
    return shape.lines && entry >= 0 && entry < names.firstFrame ? names.firstFrame + row : entry;
  });
  const { level, row } = source;
  yield* inChunks(source.size, CHUNK, (from, to) => {
    for (let node = from; node < to; node++) entries[node] = level[node] === LEVEL_FRAME ? ofFrame[row[node]] : above(level[node], row[node]);
  });
  return entries;
}

/** Source nodes that are joined at a time. */
const CHUNK = 100_000;

/** Which nodes a selected sample passes through, and how many: others need not be joined only to be left out. */
function* findWeighing(source: Source, self: Float64Array): Steps<[weighs: Uint8Array, count: number]> {
  const weighs = new Uint8Array(source.size), { size, parent } = source;
  let count = 1;
  yield* inChunks(size - 1, CHUNK, (from, to) => {
    for (let node = size - 1 - from; node > size - 1 - to; node--) {
      if (weighs[node] === 0 && self[node] === 0) continue;
      weighs[node] = 1;
      weighs[parent[node]] = 1;
      count++;
    }
  });
  return [weighs, count];
}

/** Joins source nodes with the same parent and entry. */
class Joining {
  readonly target: Int32Array;
  readonly merger: Merger;
  private readonly focus: number[];
  private readonly recursive: Set<number>;
  /** How many of the functions in focus were met on the way; nodes before the last are out. */
  private readonly met: Uint8Array | null;

  constructor(
    private readonly source: Source, private readonly names: Names, shape: Shape, private readonly self: Float64Array, private readonly entries: Int32Array,
    private readonly weighs: Uint8Array, weighing: number,
  ) {
    this.focus = shape.transforms.filter(({ deed }) => deed === "focus").map(({ row }) => row);
    this.recursive = new Set(shape.transforms.filter(({ deed }) => deed === "recursion").map(({ row }) => row));
    this.target = new Int32Array(source.size);
    this.met = this.focus.length > 0 ? new Uint8Array(source.size) : null;
    this.merger = new Merger(weighing);
    if (this.met) this.target[0] = -1;
  }

  /** The nodes from one to another; those before are joined already. */
  join(from: number, to: number): void {
    const { source, names, entries, focus, recursive, target, weighs, merger, met, self } = this;
    const { frame_function: functions } = names.profile, { parent: parents, level, row: rows } = source, { firstGroup } = names;
    const asksFunction = met !== null || recursive.size > 0;
    for (let node = Math.max(1, from); node < to; node++) {
      if (weighs[node] === 0) {
        target[node] = -1;
        continue;
      }
      const parent = parents[node];
      const row = asksFunction && level[node] === LEVEL_FRAME ? functions[rows[node]] : -1;
      let above = target[parent];
      if (met) {
        const before = met[parent];
        met[node] = before < focus.length && row === focus[before] ? before + 1 : before;
        if (met[node] < focus.length) {
          target[node] = -1;
          continue;
        }
        if (before < focus.length) above = 0;
      }
      const entry = entries[node];
      if (entry < 0) target[node] = above;
      else if (entry >= firstGroup && merger.entry[above] === entry) target[node] = above;
      else {
        const outer = recursive.size > 0 && recursive.has(row) ? findAbove(merger, names, above, row) : -1;
        target[node] = outer >= 0 ? outer : merger.child(above, entry);
      }
      merger.self[target[node]] += self[node];
    }
  }
}

/** The nearest node of the same function at or above another; -1 if there is none. */
function findAbove(merger: Merger, names: Names, from: number, row: number): number {
  for (let node = from; node > 0; node = merger.parent[node]) {
    if (names.functionRow(merger.entry[node]) === row) return node;
  }
  return -1;
}

/** Nodes that come newest first, by what they weigh, the largest first; equal ones in order of arrival, so that a page always looks the same. */
function sortNodes(nodes: Int32Array, from: number, to: number, total: Float64Array): void {
  if (to - from > SORTED_BY_HAND) {
    nodes.subarray(from, to).sort((a, b) => total[b] - total[a] || a - b);
    return;
  }
  for (let at = from + 1; at < to; at++) {
    const node = nodes[at], weight = total[node];
    let place = at;
    for (; place > from && total[nodes[place - 1]] <= weight; place--) nodes[place] = nodes[place - 1];
    nodes[place] = node;
  }
}

// Most nodes have a few children, for which calling the built-in sort takes longer than sorting.
const SORTED_BY_HAND = 16;

/** Nodes in order of arrival, parents first. */
export interface Unordered {
  size: number;
  parent: Int32Array;
  entry: Int32Array;
  self: Float64Array;
}

export interface LaidOut {
  tree: Tree;
  place: Int32Array;
}

/**
 * Level by level, each level one run of rising starts, so that a binary search finds what is under the pointer.
 * Nodes that weigh nothing, or less than the least share, are left out; `place` says where each of the others went.
 */
export function* layOut(merged: Unordered, sorted: boolean, minimum = 0): Steps<LaidOut> {
  const { size: all, parent: above, self: selves } = merged;
  const totals = selves.slice(0, all);
  yield* part(inChunks(all - 1, CHUNK, (from, to) => {
    for (let node = all - 1 - from; node > all - 1 - to; node--) totals[above[node]] += totals[node];
  }), 0, 0.1);
  const least = minimum * totals[0];
  const links = yield* part(linkChildren(all, above), 0.1, 0.2);
  const levels = levelBounds(above, totals, all, least);
  yield 0.3;
  return yield* part(placeNodes(merged, totals, { least, sorted, levels }, links), 0.3, 1);
}

/** A node's child that arrived last, and for each child the one before it; 0 for none. */
interface Links {
  newest: Int32Array;
  older: Int32Array;
}

function* linkChildren(size: number, parent: Int32Array): Steps<Links> {
  const newest = new Int32Array(size), older = new Int32Array(size);
  yield* inChunks(size, CHUNK, (from, to) => {
    for (let node = Math.max(1, from); node < to; node++) {
      const above = parent[node];
      older[node] = newest[above];
      newest[above] = node;
    }
  });
  return { newest, older };
}

/** Depth first, and each level is written from left to right: neighbours in memory are met together, which is several times
 * faster than going through all memory once per level. */
function* placeNodes(
  { size: all, entry: entries, self: selves }: Unordered, totals: Float64Array,
  { least, sorted, levels }: { least: number; sorted: boolean; levels: Int32Array }, { newest, older }: Links,
): Steps<LaidOut> {
  const height = levels.length - 1, end = levels[height];
  const entry = new Int32Array(end), parent = new Int32Array(end), depth = new Int32Array(end), firstChild = new Int32Array(end + 1);
  const start = new Float64Array(end), self = new Float64Array(end), total = new Float64Array(end);
  const place = new Int32Array(all).fill(-1);
  // The children that are still to be visited, of each node on the way down: those of a depth are at[depth] up to to[depth].
  const waiting = new Int32Array(all), at = new Int32Array(height + 1), to = new Int32Array(height + 1);
  const next = new Int32Array(height + 2), open = new Int32Array(height + 1), left = new Float64Array(height + 1);
  next.set(levels);
  next[height + 1] = end;
  /** Lets the children of a node wait behind others, in the order in which they are drawn. */
  const gather = (was: number, from: number): number => {
    let last = from;
    for (let child = newest[was]; child > 0; child = older[child]) if (totals[child] > 0) waiting[last++] = child;
    if (last - from > 1) {
      if (sorted) sortNodes(waiting, from, last, totals);
      else waiting.subarray(from, last).reverse();
    }
    return last;
  };
  const visit = (was: number, deep: number, from: number, up: number, wait: number): void => {
    const node = next[deep]++;
    place[was] = node;
    entry[node] = entries[was];
    self[node] = selves[was];
    total[node] = totals[was];
    parent[node] = up;
    depth[node] = deep;
    start[node] = from;
    firstChild[node] = next[deep + 1];
    at[deep] = wait;
    to[deep] = gather(was, wait);
    open[deep] = node;
    left[deep] = from;
  };
  /** Goes on from a depth, for so many nodes; where it rests, -1 at the end. */
  const walk = (from: number, most: number): number => {
    let deep = from;
    for (let placed = 0; deep >= 0 && placed < most;) {
      if (at[deep] === to[deep]) {
        deep--;
        continue;
      }
      const child = waiting[at[deep]++], from = left[deep], width = totals[child];
      left[deep] += width;
      if (width >= least) {
        visit(child, deep + 1, from, open[deep], to[deep]);
        deep++;
        placed++;
      }
    }
    return deep;
  };
  visit(0, 0, 0, -1, 0);
  let placed = 0;
  for (let deep = walk(0, CHUNK); deep >= 0; deep = walk(deep, CHUNK)) yield Math.min(1, (placed += CHUNK) / end);
  firstChild[end] = end;
  return { tree: { size: end, entry, parent, depth, start, self, total, firstChild, height, levels }, place };
}

/** Where each level begins among the nodes that weigh enough, and where the last one ends. */
function levelBounds(above: Int32Array, totals: Float64Array, all: number, least: number): Int32Array {
  const depth = new Int32Array(all);
  const counts = [1];
  for (let node = 1; node < all; node++) {
    const deep = depth[node] = depth[above[node]] + 1;
    if (totals[node] > 0 && totals[node] >= least) counts[deep] = (counts[deep] ?? 0) + 1;
  }
  const levels = new Int32Array(counts.length + 1);
  counts.forEach((count, deep) => { levels[deep + 1] = levels[deep] + count; });
  return levels;
}

/** The tree of these weights, the largest on the left. */
export function buildTree(source: Source, names: Names, shape: Shape, self: Float64Array): MappedTree {
  return finish(buildTreeSteps(source, names, shape, self));
}

export function* buildTreeSteps(source: Source, names: Names, shape: Shape, self: Float64Array): Steps<MappedTree> {
  const entries = yield* part(sourceEntries(source, names, shape), 0, 0.05);
  const joining = new Joining(source, names, shape, self, entries, ...yield* part(findWeighing(source, self), 0.05, 0.1));
  const { merger, target } = joining;
  yield 0.1;
  yield* part(inChunks(source.size, CHUNK, (from, to) => joining.join(from, to)), 0.1, 0.6);
  const { tree, place } = yield* part(layOut(merger, true, shape.minimum), 0.6, 1);
  const placed = once(() => target.map((node) => node < 0 ? -1 : place[node]));
  return { ...tree, get target() { return placed(); } };
}

/** The first node of a level that ends behind `value`; the level's end if none does. */
export function findNode(tree: Tree, depth: number, value: number): number {
  let low = tree.levels[depth], high = tree.levels[depth + 1];
  while (low < high) {
    const middle = low + high >>> 1;
    if (tree.start[middle] + tree.total[middle] > value) high = middle; else low = middle + 1;
  }
  return low;
}

/** The same at or behind a node of the level, up to the level's end: what is near is found soon. */
export function findNodeFrom(tree: Tree, from: number, end: number, value: number): number {
  const { start, total } = tree;
  if (from >= end || start[from] + total[from] > value) return from;
  let low = from, step = 1;
  for (; low + step < end && start[low + step] + total[low + step] <= value; step *= 2) low += step;
  let high = Math.min(low + step, end);
  low++;
  while (low < high) {
    const middle = low + high >>> 1;
    if (start[middle] + total[middle] > value) high = middle; else low = middle + 1;
  }
  return low;
}

/** The entries from the root to a node: they name it in any tree of the same profile. */
export function pathTo(tree: Tree, node: number): number[] {
  const path = [];
  for (; node > 0; node = tree.parent[node]) path.push(tree.entry[node]);
  return path.reverse();
}

/** As far along the path as this tree goes; a level that it leaves out is skipped. */
export function findPath(tree: Tree, path: readonly number[]): number {
  let node = 0;
  for (const entry of path) {
    let child = tree.firstChild[node];
    while (child < tree.firstChild[node + 1] && tree.entry[child] !== entry) child++;
    if (child < tree.firstChild[node + 1]) node = child;
  }
  return node;
}
