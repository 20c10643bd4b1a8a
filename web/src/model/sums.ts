// Sums over a tree: per function, library or module, per line, per kind.

import { KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "./kinds";
import { Merger } from "./merger";
import type { Names } from "./names";
import { LEVEL_FRAME, type Source } from "./source";
import type { Steps } from "./steps";
import { layOut, type MappedTree, type Tree } from "./tree";

export interface Sum {
  /** A function's row, or the number of a library or module. */
  row: number;
  self: number;
  total: number;
  /** The total by what was running: Python, native, kernel. */
  python: number;
  native: number;
  kernel: number;
  /** Of Python functions: what taking the GIL costs them (`gilBy` adds it). */
  gil: number;
}

/** What was running below each node, for one kind. */
function totalOfKind(tree: Tree, names: Names, kind: number): Float64Array {
  const sums = new Float64Array(tree.size);
  for (let node = tree.size - 1; node >= 0; node--) {
    if (names.kind(tree.entry[node]) === kind) sums[node] += tree.self[node];
    if (node > 0) sums[tree.parent[node]] += sums[node];
  }
  return sums;
}

/** Nodes, or steps up from them, between two rests. */
const CHUNK = 100_000;

/** Self and total of each key below a node; what is inside itself counts once per path. `key` gives -1 for no key. */
export function* sumBy(tree: Tree, names: Names, top: number, size: number, key: (entry: number) => number): Steps<Sum[]> {
  const kinds: Float64Array[] = [];
  for (const kind of [KIND_PYTHON, KIND_NATIVE, KIND_KERNEL]) {
    kinds.push(totalOfKind(tree, names, kind));
    yield kinds.length / 10;
  }
  const [python, native, kernel] = kinds;
  const sums = new Map<number, Sum>();
  const open = new Int32Array(size);
  const walk = [top];
  const visit = (node: number): void => {
    if (node < 0) {
      open[key(tree.entry[~node])]--;
      return;
    }
    const row = key(tree.entry[node]);
    if (row >= 0) {
      let sum = sums.get(row);
      if (!sum) sums.set(row, sum = { row, self: 0, total: 0, python: 0, native: 0, kernel: 0, gil: 0 });
      sum.self += tree.self[node];
      if (open[row]++ === 0) {
        sum.total += tree.total[node];
        sum.python += python[node];
        sum.native += native[node];
        sum.kernel += kernel[node];
      }
      walk.push(~node);
    }
    for (let child = tree.firstChild[node]; child < tree.firstChild[node + 1]; child++) walk.push(child);
  };
  // A node is met twice: when its frame is entered, and when it is left.
  for (let met = 0; walk.length > 0; met += CHUNK) {
    yield Math.min(1, 0.3 + met / tree.size / 3);
    for (let left = CHUNK; left > 0 && walk.length > 0; left--) visit(walk.pop() as number);
  }
  return [...sums.values()];
}

export interface LineSum {
  line: number;
  self: number;
  total: number;
}

/** What the selected samples weigh at and below each node of the source. */
export function totalsOf(source: Source, self: Float64Array): Float64Array {
  const totals = self.slice();
  for (let node = source.size - 1; node > 0; node--) totals[source.parent[node]] += totals[node];
  return totals;
}

/** Which nodes of the source went to each box, rising: those of a box are nodes[first[box]] up to nodes[first[box + 1]]. */
export interface Members {
  first: Int32Array;
  nodes: Int32Array;
}

export function membersOf({ size, target }: MappedTree): Members {
  const first = new Int32Array(size + 1);
  for (let node = 0; node < target.length; node++) if (target[node] >= 0) first[target[node] + 1]++;
  for (let box = 0; box < size; box++) first[box + 1] += first[box];
  const nodes = new Int32Array(first[size]), next = first.slice();
  for (let node = 0; node < target.length; node++) if (target[node] >= 0) nodes[next[target[node]]++] = node;
  return { first, nodes };
}

/** What the lines of a function are read from. */
export interface LineWeights {
  self: Float64Array;
  totals: Float64Array;
}

/** Self and total of the lines of one function, the largest first. */
export function sumLines(source: Source, names: Names, tree: MappedTree, weights: LineWeights, row: number): LineSum[] {
  const { level, row: rows, size } = source, { frame_function: functions } = names.profile, { target } = tree;
  const nodes = [];
  for (let node = 1; node < size; node++) if (level[node] === LEVEL_FRAME && functions[rows[node]] === row && target[node] >= 0) nodes.push(node);
  return linesAmong(source, names, weights, row, nodes, false);
}

/** The same in the nodes that went to one box: as many are looked at as went there. */
export function sumLinesIn(source: Source, names: Names, { first, nodes }: Members, weights: LineWeights, row: number, box: number): LineSum[] {
  return linesAmong(source, names, weights, row, nodes.subarray(first[box], first[box + 1]), true);
}

/** `isOneBox`: no node is below another of the same line. */
function linesAmong(source: Source, names: Names, { self, totals }: LineWeights, row: number, nodes: ArrayLike<number>, isOneBox: boolean): LineSum[] {
  const { frame_function: functions, frame_line: lines } = names.profile;
  const sums = new Map<number, LineSum>();
  // Inside the function already, on the same line: counted with the outer one.
  const isOf = (node: number) => source.level[node] === LEVEL_FRAME && functions[source.row[node]] === row;
  for (let at = 0; at < nodes.length; at++) {
    const node = nodes[at];
    if (totals[node] === 0 || !isOf(node)) continue;
    const line = lines[source.row[node]];
    const sum = sums.get(line) ?? { line, self: 0, total: 0 };
    sum.self += self[node];
    if (isOneBox || !isBelow(source, node, isOf, lines, line)) sum.total += totals[node];
    sums.set(line, sum);
  }
  return [...sums.values()].sort((a, b) => b.total - a.total || a.line - b.line);
}

function isBelow(source: Source, node: number, isOf: (node: number) => boolean, lines: Uint32Array, line: number): boolean {
  for (let above = source.parent[node]; above > 0; above = source.parent[above]) {
    if (isOf(above) && lines[source.row[above]] === line) return true;
  }
  return false;
}

/** The outermost nodes of a function: each of its samples is below one of them. */
function outermost(tree: Tree, names: Names, row: number): number[] {
  const inside = new Uint8Array(tree.size);
  const found = [];
  for (let node = 1; node < tree.size; node++) {
    const above = inside[tree.parent[node]];
    const own = names.functionRow(tree.entry[node]) === row;
    if (own && !above) found.push(node);
    inside[node] = own || above ? 1 : 0;
  }
  return found;
}

/** What a function calls: everything below it, joined; the root is the function. */
export function* calleesOf(tree: Tree, names: Names, row: number): Steps<Tree> {
  const merger = new Merger(1024);
  merger.entry[0] = names.firstFunction + row;
  const pairs = outermost(tree, names, row).map((node) => [node, 0]);
  for (let met = 0; pairs.length > 0; met += CHUNK) {
    yield Math.min(0.7, met / tree.size);
    for (let left = CHUNK; left > 0 && pairs.length > 0; left--) {
      const [node, into] = pairs.pop() as number[];
      merger.self[into] += tree.self[node];
      for (let child = tree.firstChild[node]; child < tree.firstChild[node + 1]; child++) {
        pairs.push([child, merger.child(into, tree.entry[child])]);
      }
    }
  }
  return (yield* layOut(merger, true)).tree;
}

/** Joins the ways up from nodes; `from` says where a node's way begins, `weight` what it brings along. */
function* joinUpwards(
  tree: Tree, merger: Merger, nodes: Iterable<number>, from: (node: number) => number, weight: Float64Array,
): Steps<Tree> {
  let left = CHUNK;
  for (const node of nodes) {
    let into = 0;
    for (let step = from(node); step > 0; step = tree.parent[step], left--) into = merger.child(into, tree.entry[step]);
    merger.self[into] += weight[node];
    if (left-- <= 0) {
      yield node / tree.size * 0.7;
      left = CHUNK;
    }
  }
  return (yield* layOut(merger, true)).tree;
}

function* withSelf(tree: Tree): Generator<number> {
  for (let node = 1; node < tree.size; node++) if (tree.self[node] > 0) yield node;
}

/** Every stack from its leaf: what ran stands next to the root, and its callers below it, up to the process. */
export function* invert(tree: Tree): Steps<Tree> {
  return yield* joinUpwards(tree, new Merger(tree.size), withSelf(tree), (node) => node, tree.self);
}

/** Who calls a function: the paths up from it, joined; the root is the function, its callers are its children. */
export function* callersOf(tree: Tree, names: Names, row: number): Steps<Tree> {
  const merger = new Merger(1024);
  merger.entry[0] = names.firstFunction + row;
  return yield* joinUpwards(tree, merger, outermost(tree, names, row), (node) => tree.parent[node], tree.total);
}
