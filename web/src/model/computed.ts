// What follows from the state and takes long at a million samples, in steps.

import type { Profile } from "../data/profile";
import type { State } from "../state";
import { selectSteps, weighSteps, type Selection } from "./filters";
import type { Names } from "./names";
import type { Source } from "./source";
import { part, type Steps } from "./steps";
import { invert } from "./sums";
import { buildTimeTree } from "./time_tree";
import { buildTreeSteps, type MappedTree, type Tree } from "./tree";

/** What chooses samples, and what makes boxes of them. */
const SAMPLE_PARTS = ["filters", "window"] as const;
const SHAPE_PARTS = ["processes", "mergeProcesses", "threads", "lines", "native", "kernel", "interpreter", "transforms", "minimum"] as const;
export const TREE_PARTS = [...SAMPLE_PARTS, ...SHAPE_PARTS, "order"] as const;

export function haveSame(names: readonly (keyof State)[], one: State, other: State): boolean {
  return names.every((name) => one[name] === other[name]);
}

export interface Computed {
  selection: Selection;
  /** What the selected samples weigh at each node of the source. */
  self: Float64Array;
  tree: MappedTree;
  /** The tree in the order that was chosen; `null` if that has too many boxes. */
  ordered: Tree | null;
}

/** A profile, and what does not depend on what was chosen. */
interface Known {
  profile: Profile;
  source: Source;
  names: Names;
}

/** What `state` asks for. */
export function* computeAll(known: Known, state: State): Steps<Computed> {
  const { source, names } = known;
  const selection = yield* part(selectSteps(source, names, state.filters, state.window), 0, 0.1);
  const self = yield* part(weighSteps(source, selection), 0.1, 0.2);
  return yield* part(shapeSteps(known, state, selection, self), 0.2, 1);
}

function* shapeSteps(known: Known, state: State, selection: Selection, self: Float64Array): Steps<Computed> {
  const tree = yield* part(buildTreeSteps(known.source, known.names, state, self), 0, 0.6);
  return { selection, self, tree, ordered: yield* part(orderSteps(known, tree, selection, state), 0.6, 1) };
}

/** What `state` asks for; what is the same as in `computed`, which `known` is of, is taken from there. */
export function* computeSteps(known: Known & Omit<Computed, "ordered">, state: State, computed: State): Steps<Computed> {
  if (!haveSame(SAMPLE_PARTS, state, computed)) return yield* computeAll(known, state);
  const { selection, self, tree } = known;
  if (!haveSame(SHAPE_PARTS, state, computed)) return yield* shapeSteps(known, state, selection, self);
  return { selection, self, tree, ordered: yield* orderSteps(known, tree, selection, state) };
}

/** A tree in the order that was chosen; `null` when it would have too many boxes. */
export function* orderSteps({ profile, source, names }: Known, tree: MappedTree, selection: Selection, state: State): Steps<Tree | null> {
  if (state.order === "inverted") return yield* invert(tree);
  if (state.order !== "time") return tree;
  const processOf = (thread: number) => {
    const { process } = profile.threads[thread];
    return state.mergeProcesses ? names.namesakes[process] : process;
  };
  return yield* buildTimeTree(source, tree, state, selection, processOf);
}
