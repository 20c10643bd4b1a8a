// Functions or stacks and what became of them, the greatest change first.

import type { TextTest } from "../search";
import { inChunks, type Steps } from "../steps";
import type { GroupTree } from "./groups";
import { largest } from "./largest";
import { isChange, type DiffRow, type Judged } from "./rows";

/** Nobody reads on from here. */
const MOST_ROWS = 20_000;
/** Rows that are looked at at a time. */
const CHUNK = 50_000;

export interface ChangeRow extends DiffRow {
  /** The function's row in the profile; of a stack, its leaf's; -1 for stacks of which all is hidden. */
  row: number;
  name: string;
  place: string;
  /** Of a stack: the functions from the root to the leaf. */
  path: string[];
}

/** The functions or stacks of a comparison, of which few are ever shown. */
export class Changes {
  /** How many rows one side has, and how many of these have changed. */
  count = 0;
  changed = 0;
  /** Every group of the tree is that of a function; this is the first of each. */
  private readonly functionOf: Int32Array;
  /** 1 for rows that one side has, 2 for those that changed. */
  private readonly marks: Uint8Array;

  constructor(private readonly judged: Judged, private readonly tree: GroupTree, private readonly areStacks: boolean) {
    this.functionOf = new Int32Array(tree.groups).fill(-1);
    tree.names.profile.function_group.forEach((group, row) => { if (this.functionOf[group] < 0) this.functionOf[group] = row; });
    this.marks = new Uint8Array(judged.rows);
  }

  *mark(): Steps<void> {
    const { judged, marks } = this;
    yield* inChunks(judged.rows, CHUNK, (from, to) => {
      for (let row = from; row < to; row++) {
        if (!judged.has(row)) continue;
        this.count++;
        marks[row] = isChange(judged.verdict(row)) ? 2 : 1;
        if (marks[row] === 2) this.changed++;
      }
    });
  }

  /** The rows to show, the greatest change first. */
  *find(withChance: boolean, test: TextTest | null): Steps<Int32Array> {
    const { judged, marks, tree, functionOf } = this;
    let matches: Uint8Array | null = null;
    if (test) {
      const { names } = tree;
      matches = Uint8Array.from(functionOf, (row) => row >= 0 && test(names.searchText(names.firstFunction + row)) ? 1 : 0);
      yield 0.2;
      if (this.areStacks) matches = this.below(matches);
      yield 0.4;
    }
    const found = new Int32Array(withChance ? this.count : this.changed);
    let count = 0;
    for (let row = 0; row < marks.length; row++) {
      if ((marks[row] === 2 || withChance && marks[row] === 1) && (!matches || matches[row])) found[count++] = row;
    }
    yield 0.6;
    return largest(found.subarray(0, count), [(row) => judged.size(row, "own"), (row) => judged.size(row, "total")], MOST_ROWS);
  }

  /** The stacks with one of these groups in them. */
  private below(groups: Uint8Array): Uint8Array {
    const { parent, group, size } = this.tree;
    const nodes = new Uint8Array(size);
    for (let node = 1; node < size; node++) nodes[node] = groups[group[node]] | nodes[parent[node]];
    return nodes;
  }

  describe(of: number): ChangeRow {
    const { tree, functionOf, areStacks } = this;
    const { names } = tree;
    const nameOf = (group: number) => functionOf[group] < 0 ? "[every frame is hidden]" : names.functionName(functionOf[group]);
    const group = areStacks ? tree.group[of] : of;
    const row = functionOf[group] ?? -1;
    const place = row < 0 ? "" : names.place(names.firstFunction + row).replace(/:\d+$/, "");
    return { ...this.judged.row(of), row, name: nameOf(group), place, path: areStacks ? tree.path(of).map(nameOf) : [] };
  }
}
