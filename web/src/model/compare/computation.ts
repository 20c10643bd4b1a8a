// Everything that a comparison shows, in steps; what stays the same from one choice to the next is not computed anew.

import type { Profile } from "../../data/profile";
import type { BoxWidth } from "../../state";
import type { Selection, TimeWindow } from "../filters";
import type { Names } from "../names";
import { searchTree, type Found, type TextTest } from "../search";
import type { Source } from "../source";
import { part, type Steps } from "../steps";
import { buildTreeSteps, type MappedTree, type Shape } from "../tree";
import { Changes } from "./changes";
import { boxRows, functionRows, GroupTree, stackRows } from "./groups";
import { compareSteps, type Judged } from "./rows";
import { sidesOfRecordings, sidesOfWindows, type Normalization, type Side } from "./sides";

export interface Choice extends Pick<Shape, "processes" | "native" | "kernel" | "interpreter" | "transforms" | "minimum"> {
  profile: Profile;
  source: Source;
  names: Names;
  selection: Selection;
  /** Of two recordings: the stretch of time that counts. */
  window: TimeWindow | null;
  /** Of one: the stretches that are compared. */
  windows: readonly [TimeWindow, TimeWindow] | null;
  normalize: Normalization;
  boxWidth: BoxWidth;
  changes: "functions" | "stacks";
  chance: boolean;
  test: TextTest | null;
}

export interface Comparison {
  source: Source;
  names: Names;
  sides: [Side, Side];
  tree: MappedTree;
  boxes: Judged;
  changes: Changes;
  /** The rows of `changes` that are shown. */
  rows: Int32Array;
  found: Found | null;
}

/** The last of something, and what it was made of. */
class Kept<T> {
  private last: { key: readonly unknown[]; value: T } | null = null;

  *get(key: readonly unknown[], make: () => Steps<T>): Steps<T> {
    const { last } = this;
    if (last && key.length === last.key.length && key.every((each, at) => each === last.key[at])) return last.value;
    this.last = null;
    const value = yield* make();
    this.last = { key, value };
    return value;
  }
}

export class Computation {
  private readonly sides = new Kept<[Side, Side]>();
  private readonly groups = new Kept<GroupTree>();
  private readonly tree = new Kept<MappedTree>();
  private readonly boxes = new Kept<Judged>();
  private readonly changes = { functions: new Kept<Changes>(), stacks: new Kept<Changes>() };
  private readonly rows = new Kept<Int32Array>();
  private readonly found = new Kept<Found | null>();

  *steps(choice: Choice): Steps<Comparison> {
    const { source, names, native, kernel, interpreter, normalize, chance, test } = choice;
    const sides = yield* this.sides.get(sideKey(choice), () => sideSteps(choice));
    const groups = yield* part(this.groups.get([source, native, kernel, interpreter], () => GroupTree.steps(source, names, { native, kernel, interpreter })), 0.05, 0.3);
    const tree = yield* part(this.tree.get(treeKey(choice, sides), () => treeSteps(choice, sides)), 0.3, 0.55);
    const boxes = yield* part(this.boxes.get([tree, sides, normalize], () => compareSteps(sides, source.samples, normalize, boxRows(tree))), 0.55, 0.7);
    const changes = yield* part(this.changes[choice.changes].get([groups, sides, normalize], () => changeSteps(choice, sides, groups)), 0.7, 0.9);
    const rows = yield* part(this.rows.get([changes, chance, test], () => changes.find(chance, test)), 0.9, 0.95);
    const found = yield* part(this.found.get([tree, test], () => findSteps(tree, names, test)), 0.95, 1);
    return { source, names, sides, tree, boxes, changes, rows, found };
  }
}

function sideKey({ profile, source, selection, window, windows }: Choice): unknown[] {
  return windows ? [source, selection.test, ...windows.flat()] : [source, profile, selection, window];
}

function* sideSteps({ profile, source, selection, window, windows }: Choice): Steps<[Side, Side]> {
  yield 0;
  return windows ? sidesOfWindows(profile, source, selection.test, windows) : sidesOfRecordings(profile, selection, window);
}

function treeKey({ source, processes, native, kernel, interpreter, transforms, minimum, boxWidth, normalize }: Choice, sides: [Side, Side]): unknown[] {
  return [source, sides, processes, native, kernel, interpreter, transforms, minimum, boxWidth, normalize];
}

function* treeSteps(choice: Choice, sides: [Side, Side]): Steps<MappedTree> {
  const { source, names, processes, native, kernel, interpreter, transforms, minimum } = choice;
  const shape = { processes, native, kernel, interpreter, transforms, minimum, mergeProcesses: true, threads: false, lines: false, joined: true };
  const weights = widthsOf(choice, sides);
  yield 0.1;
  return yield* buildTreeSteps(source, names, shape, weights);
}

/** What the boxes' widths add up: parts of each side's whole, or time per second. */
function widthsOf({ source, normalize, boxWidth }: Choice, sides: [Side, Side]): Float64Array {
  const widths = new Float64Array(source.size);
  const { node } = source.samples;
  const factors = boxWidth === "both" ? [0.5, 0.5] : boxWidth === "base" ? [1, 0] : [0, 1];
  sides.forEach(({ samples, ns, duration, weight }, which) => {
    const whole = normalize === "samples" ? samples.length : duration || ns;
    if (factors[which] === 0 || !(whole > 0)) return;
    const factor = factors[which] / whole, each = normalize === "samples" ? 1 : ns / samples.length;
    const worth = normalize === "time" ? weight : null;
    for (const at of samples) widths[node[at]] += (worth ? worth[at] : each) * factor;
  });
  return widths;
}

function* changeSteps({ source, normalize, changes }: Choice, sides: [Side, Side], groups: GroupTree): Steps<Changes> {
  const areStacks = changes === "stacks";
  const compared = areStacks ? stackRows(groups) : functionRows(groups);
  yield 0.05;
  const judged = yield* part(compareSteps(sides, source.samples, normalize, compared), 0.05, 0.8);
  const made = new Changes(judged, groups, areStacks);
  yield* part(made.mark(), 0.8, 1);
  return made;
}

function* findSteps(tree: MappedTree, names: Names, test: TextTest | null): Steps<Found | null> {
  return test ? yield* searchTree(tree, names, true, test) : null;
}
