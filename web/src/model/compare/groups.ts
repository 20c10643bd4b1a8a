// Functions, stacks and boxes as rows of a comparison. Functions are those of one name in one module, wherever in the file
// they begin (`function_group`), so two versions of a program can be compared; a Python function's own samples are those with
// it innermost, whatever C and kernel code it calls directly.

import { KIND_INCOMPLETE, KIND_INTERPRETER, KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "../kinds";
import { Merger } from "../merger";
import type { Names } from "../names";
import { LEVEL_FRAME, type Source } from "../source";
import { inChunks, part, type Steps } from "../steps";
import type { MappedTree, Shape } from "../tree";
import type { Compared } from "./rows";

/** Source nodes that are joined at a time. */
const CHUNK = 100_000;

/** What of stacks is left out, its samples given to the caller. */
export type Hidden = Pick<Shape, "native" | "kernel" | "interpreter">;

/** Stacks of groups, without processes and threads; parents stand before their children, 0 is above all. */
export class GroupTree {
  readonly size: number;
  readonly groups: number;
  readonly parent: Int32Array;
  readonly group: Int32Array;
  /** No caller is of the same group. */
  readonly outermost: Uint8Array;
  /** The nearest Python node, from this one up; 0 for none. */
  readonly python: Int32Array;
  readonly isPython: Uint8Array;
  /** Where each source node's samples are. */
  readonly nodeOf: Int32Array;

  private constructor(readonly names: Names, merger: Merger, nodeOf: Int32Array, groups: number) {
    const { function_kind: kinds, function_group: ofFunction } = names.profile;
    this.groups = groups;
    this.nodeOf = nodeOf;
    this.size = merger.size;
    this.outermost = new Uint8Array(this.size);
    this.parent = merger.parent.slice(0, merger.size);
    this.group = merger.entry.slice(0, merger.size);
    this.group[0] = -1;
    this.isPython = new Uint8Array(groups);
    kinds.forEach((kind, row) => { if (kind === KIND_PYTHON) this.isPython[ofFunction[row]] = 1; });
    this.python = new Int32Array(this.size);
    for (let node = 1; node < this.size; node++) this.python[node] = this.isPython[this.group[node]] ? node : this.python[this.parent[node]];
  }

  static *steps(source: Source, names: Names, hidden: Hidden): Steps<GroupTree> {
    const { function_kind: kinds, function_group: ofFunction, frame_function: functions } = names.profile;
    /** The group of stacks of which every frame is hidden. */
    const nothingLeft = ofFunction.reduce((most, group) => Math.max(most, group), -1) + 1;
    const groupOf = Int32Array.from(ofFunction, (group, row) => kinds[row] === KIND_INTERPRETER && !hidden.interpreter
      || kinds[row] === KIND_NATIVE && !hidden.native || kinds[row] === KIND_KERNEL && !hidden.kernel ? -1 : group);
    const merger = new Merger(source.size), nodeOf = new Int32Array(source.size);
    const join = (from: number, to: number) => {
      for (let node = Math.max(1, from); node < to; node++) {
        const above = nodeOf[source.parent[node]];
        const group = source.level[node] === LEVEL_FRAME ? groupOf[functions[source.row[node]]] : -1;
        nodeOf[node] = group < 0 ? above : merger.child(above, group);
      }
    };
    yield* part(inChunks(source.size, CHUNK, join), 0, 0.7);
    const hasSamples = new Uint8Array(source.size);
    for (const end of source.samples.node) hasSamples[end] = 1;
    for (let node = 0; node < source.size; node++) if (hasSamples[node] && nodeOf[node] === 0) nodeOf[node] = merger.child(0, nothingLeft);
    yield 0.8;
    const tree = new GroupTree(names, merger, nodeOf, nothingLeft + 1);
    yield 0.9;
    tree.markOutermost();
    return tree;
  }

  private markOutermost(): void {
    const { outermost } = this;
    // Depth first, with a count of the open calls of each group.
    const firstChild = new Int32Array(this.size), nextSibling = new Int32Array(this.size);
    for (let node = this.size - 1; node > 0; node--) {
      nextSibling[node] = firstChild[this.parent[node]];
      firstChild[this.parent[node]] = node;
    }
    const open = new Int32Array(this.groups);
    for (let node = firstChild[0]; node > 0;) {
      outermost[node] = open[this.group[node]]++ === 0 ? 1 : 0;
      if (firstChild[node] > 0) {
        node = firstChild[node];
        continue;
      }
      for (; node > 0; node = this.parent[node]) {
        open[this.group[node]]--;
        if (nextSibling[node] > 0) break;
      }
      node = nextSibling[node];
    }
  }

  /** The groups from the root to a node. */
  path(node: number): number[] {
    const path = [];
    for (; node > 0; node = this.parent[node]) path.push(this.group[node]);
    return path.reverse();
  }
}

export function functionRows({ groups, size, parent, group, outermost, isPython, python, nodeOf }: GroupTree): Compared {
  const totalRow = new Int32Array(size).fill(-1), ownRow = new Int32Array(size).fill(-1), callerRow = new Int32Array(size).fill(-1);
  for (let node = 1; node < size; node++) {
    if (outermost[node]) totalRow[node] = group[node];
    if (!isPython[group[node]]) ownRow[node] = group[node];
    if (python[node] > 0) callerRow[node] = group[python[node]];
  }
  return { rows: groups, judges: "both", parent, nodeOf, totalRow, ownRow, callerRow };
}

/** Stacks: those that begin with one are stacks of their own, so each is judged by the samples that end in it. */
export function stackRows({ size, parent, nodeOf }: GroupTree): Compared {
  return { rows: size, judges: "own", parent, nodeOf };
}

/** Boxes of a shown tree, each judged by its total, as its width is. */
export function boxRows({ size, parent, target }: MappedTree): Compared {
  return { rows: size, judges: "total", parent, nodeOf: target, onlyJudged: true };
}

/** What a row's kind is called in `viperf diff --json`. */
export const KIND_KEYS: Record<number, string> = {
  [KIND_PYTHON]: "python", [KIND_NATIVE]: "native", [KIND_KERNEL]: "kernel", [KIND_INCOMPLETE]: "incomplete", [KIND_INTERPRETER]: "interpreter",
};
