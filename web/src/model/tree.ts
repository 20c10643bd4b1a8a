// Trees that are shown: nodes joined by what they are, laid out level by level.

import { KIND_INTERPRETER, KIND_KERNEL, KIND_NATIVE } from "./kinds";
import type { Names } from "./names";
import { LEVEL_FRAME, LEVEL_PROCESS, LEVEL_ROOT, LEVEL_THREAD, type Source } from "./source";

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

/** A tree and where each node of the source went; -1 for nodes that are not in it. */
export interface MappedTree extends Tree {
  target: Int32Array;
}

/** Nodes by parent and entry: open addressing, and the probe compares parent and entry themselves. */
export class Merger {
  size = 1;
  parent: Int32Array;
  entry: Int32Array;
  self: Float64Array;
  private slots: Int32Array;

  constructor(expected: number) {
    const room = Math.max(16, expected);
    this.parent = new Int32Array(room);
    this.entry = new Int32Array(room);
    this.self = new Float64Array(room);
    this.parent[0] = -1;
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(room * 2 + 2))).fill(-1);
  }

  child(parent: number, entry: number): number {
    const mask = this.slots.length - 1;
    let slot = this.slotOf(parent, entry) & mask;
    for (; this.slots[slot] >= 0; slot = slot + 1 & mask) {
      const node = this.slots[slot];
      if (this.parent[node] === parent && this.entry[node] === entry) return node;
    }
    if (this.size === this.parent.length) {
      this.grow();
      return this.child(parent, entry);
    }
    const node = this.size++;
    this.parent[node] = parent;
    this.entry[node] = entry;
    this.slots[slot] = node;
    return node;
  }

  private slotOf(parent: number, entry: number): number {
    return (Math.imul(parent, 0x9e3779b1) ^ Math.imul(entry, 0x85ebca6b)) >>> 7;
  }

  private grow(): void {
    const room = this.parent.length * 2;
    const copy = <T extends Int32Array | Float64Array>(into: T, from: T): T => { into.set(from); return into; };
    this.parent = copy(new Int32Array(room), this.parent);
    this.entry = copy(new Int32Array(room), this.entry);
    this.self = copy(new Float64Array(room), this.self);
    this.slots = new Int32Array(this.slots.length * 2).fill(-1);
    const mask = this.slots.length - 1;
    for (let node = 1; node < this.size; node++) {
      let slot = this.slotOf(this.parent[node], this.entry[node]) & mask;
      while (this.slots[slot] >= 0) slot = slot + 1 & mask;
      this.slots[slot] = node;
    }
  }
}

/** Entry of each source node; -1 for a node that is left out and whose time goes to its caller. */
export function sourceEntries(source: Source, names: Names, shape: Shape): Int32Array {
  const { frame_function: functions, function_kind: kinds, function_name: rows } = names.profile;
  const ofFunction = Int32Array.from(rows, (_, row) => {
    const kind = kinds[row];
    if (kind === KIND_INTERPRETER && !shape.interpreter) return -1;
    if (kind === KIND_NATIVE && !shape.native) return -1;
    return kind === KIND_KERNEL && !shape.kernel ? -1 : names.firstFunction + row;
  });
  const collapsed = new Set<number>();
  for (const { deed, row } of shape.transforms) {
    if (deed === "hide") ofFunction[row] = -1;
    if (deed === "collapse") collapsed.add(row);
  }
  if (collapsed.size > 0) {
    ofFunction.forEach((entry, row) => {
      const library = names.libraries.of[row];
      if (entry >= 0 && collapsed.has(library)) ofFunction[row] = names.firstGroup + library;
    });
  }
  const entries = new Int32Array(source.size);
  for (let node = 0; node < source.size; node++) {
    const row = source.row[node];
    switch (source.level[node]) {
      case LEVEL_ROOT: entries[node] = 0; break;
      case LEVEL_PROCESS: entries[node] = shape.processes ? names.process(row, shape.mergeProcesses) : -1; break;
      case LEVEL_THREAD: entries[node] = shape.threads ? names.firstThread + row : -1; break;
      default: {
        const entry = ofFunction[functions[row]];
        entries[node] = shape.lines && entry >= 0 && entry < names.firstFrame ? names.firstFrame + row : entry;
      }
    }
  }
  return entries;
}

/** Joins source nodes with the same parent and entry. */
function mergeNodes(source: Source, names: Names, shape: Shape, self: Float64Array): { merger: Merger; target: Int32Array } {
  const entries = sourceEntries(source, names, shape);
  const focus = shape.transforms.filter(({ deed }) => deed === "focus").map(({ row }) => row);
  const recursive = new Set(shape.transforms.filter(({ deed }) => deed === "recursion").map(({ row }) => row));
  const { frame_function: functions } = names.profile;
  const target = new Int32Array(source.size);
  // What no selected sample passes through need not be joined only to be left out.
  const weighs = new Uint8Array(source.size);
  let weighing = 1;
  for (let node = source.size - 1; node > 0; node--) {
    if (weighs[node] === 0 && self[node] === 0) continue;
    weighs[node] = 1;
    weighs[source.parent[node]] = 1;
    weighing++;
  }
  const merger = new Merger(weighing);
  // How many of the functions in focus were met on the way; nodes before the last are out.
  const met = focus.length > 0 ? new Uint8Array(source.size) : null;
  for (let node = 1; node < source.size; node++) {
    if (weighs[node] === 0) {
      target[node] = -1;
      continue;
    }
    const parent = source.parent[node];
    const row = source.level[node] === LEVEL_FRAME ? functions[source.row[node]] : -1;
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
    else if (entry >= names.firstGroup && merger.entry[above] === entry) target[node] = above;
    else {
      const outer = recursive.size > 0 && recursive.has(row) ? findAbove(merger, names, above, row) : -1;
      target[node] = outer >= 0 ? outer : merger.child(above, entry);
    }
    merger.self[target[node]] += self[node];
  }
  if (met) target[0] = -1;
  return { merger, target };
}

/** The nearest node of the same function at or above another; -1 if there is none. */
function findAbove(merger: Merger, names: Names, from: number, row: number): number {
  for (let node = from; node > 0; node = merger.parent[node]) {
    if (names.functionRow(merger.entry[node]) === row) return node;
  }
  return -1;
}

/** Children of each node, the largest first; equal ones in order of arrival, so that a page always looks the same. */
function groupChildren(size: number, parent: Int32Array, total: Float64Array, sorted: boolean): { first: Int32Array; children: Int32Array } {
  const first = new Int32Array(size + 1);
  for (let node = 1; node < size; node++) first[parent[node] + 1]++;
  for (let node = 0; node < size; node++) first[node + 1] += first[node];
  const children = new Int32Array(size), next = first.slice();
  for (let node = 1; node < size; node++) children[next[parent[node]]++] = node;
  if (!sorted) return { first, children };
  for (let node = 0; node < size; node++) {
    const from = first[node], to = first[node + 1];
    if (to - from > SORTED_BY_HAND) children.subarray(from, to).sort((a, b) => total[b] - total[a] || a - b);
    else if (to - from > 1) insertionSort(children, from, to, total);
  }
  return { first, children };
}

// Most nodes have a few children, for which calling the built-in sort takes longer than sorting.
const SORTED_BY_HAND = 16;

function insertionSort(nodes: Int32Array, from: number, to: number, total: Float64Array): void {
  for (let at = from + 1; at < to; at++) {
    const node = nodes[at];
    let place = at;
    for (; place > from && total[nodes[place - 1]] < total[node]; place--) nodes[place] = nodes[place - 1];
    nodes[place] = node;
  }
}

/** Nodes in order of arrival, parents first. */
export interface Unordered {
  size: number;
  parent: Int32Array;
  entry: Int32Array;
  self: Float64Array;
}

/**
 * Level by level, each level one run of rising starts, so that a binary search finds what is under the pointer.
 * Nodes that weigh nothing, or less than the least share, are left out; `place` says where each of the others went.
 */
export function layOut(merged: Unordered, sorted: boolean, minimum = 0): { tree: Tree; place: Int32Array } {
  const { size: all, parent: above, entry: entries, self: selves } = merged;
  const totals = selves.slice(0, all);
  for (let node = all - 1; node > 0; node--) totals[above[node]] += totals[node];
  const { first, children } = groupChildren(all, above, totals, sorted);
  const least = minimum * totals[0];
  const order = new Int32Array(all), place = new Int32Array(all).fill(-1);
  const entry = new Int32Array(all), parent = new Int32Array(all), depth = new Int32Array(all), firstChild = new Int32Array(all + 1);
  const start = new Float64Array(all), self = new Float64Array(all), total = new Float64Array(all);
  parent[0] = -1;
  let end = 1;
  for (let node = 0; node < end; node++) {
    const was = order[node];
    place[was] = node;
    entry[node] = entries[was];
    self[node] = selves[was];
    total[node] = totals[was];
    firstChild[node] = end;
    let left = start[node];
    for (let at = first[was]; at < first[was + 1]; at++) {
      const child = children[at], width = totals[child];
      if (width > 0 && width >= least) {
        order[end] = child;
        parent[end] = node;
        depth[end] = depth[node] + 1;
        start[end] = left;
        end++;
      }
      left += width;
    }
  }
  firstChild[end] = end;
  const height = depth[end - 1] + 1;
  const tree = {
    size: end, entry: entry.subarray(0, end), parent: parent.subarray(0, end), depth: depth.subarray(0, end),
    start: start.subarray(0, end), self: self.subarray(0, end), total: total.subarray(0, end),
    firstChild: firstChild.subarray(0, end + 1), height, levels: levelBounds(depth.subarray(0, end), height),
  };
  return { tree, place };
}

function levelBounds(depth: Int32Array, height: number): Int32Array {
  const levels = new Int32Array(height + 1);
  for (let node = depth.length - 1; node >= 0; node--) levels[depth[node]] = node;
  levels[height] = depth.length;
  return levels;
}

/** The tree of these weights, the largest on the left. */
export function buildTree(source: Source, names: Names, shape: Shape, self: Float64Array): MappedTree {
  const { merger, target } = mergeNodes(source, names, shape, self);
  const { tree, place } = layOut(merger, true, shape.minimum);
  for (let node = 0; node < source.size; node++) target[node] = target[node] < 0 ? -1 : place[target[node]];
  return { ...tree, target };
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
