// Time on the CPU in taking the GIL: asking for it, going to sleep, waking up; the time asleep is in no sample.
//
// By the rule of `viperf report` (crates/profile/src/gil.rs and function_statistics.rs): a sample takes the GIL if a frame
// between its innermost Python frame and its leaf does, and it counts for that Python function.

import { eachSample } from "./filters";
import { KIND_INTERPRETER, KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "./kinds";
import type { Names } from "./names";
import { LEVEL_FRAME, type Source } from "./source";
import { inChunks, type Steps } from "./steps";
import type { MappedTree } from "./tree";

/** The lower bits of `function_gil`: when a function takes the GIL. */
const WHEN = 3, ALWAYS = 1, FROM_INTERPRETER = 2;
/** Of `function_gil`: code of the interpreter's own file. */
const OF_INTERPRETER = 4;

/** What is known of a node: a Python frame at or above it; the GIL is taken between that and it; samples that end here count. */
const BELOW_PYTHON = 1, TAKING = 2, COUNTS = 4;

/** Nodes that are gone through at a time. */
const CHUNK = 100_000;

const found = new WeakMap<Source, Uint8Array | null>();

/** What each node has to do with taking the GIL, found once for a profile; `null` if nothing in it takes the GIL, or that is not known. */
export function* gilNodes(source: Source, names: Names): Steps<Uint8Array | null> {
  const known = found.get(source);
  if (known !== undefined) return known;
  const { frame_function: functions, function_kind: kinds, function_gil: gil } = names.profile;
  const nodes = gil?.some((each) => (each & WHEN) !== 0) ? new Uint8Array(source.size) : null;
  if (nodes && gil) yield* inChunks(source.size, CHUNK, (from, to) => {
    const { level, row, parent } = source;
    for (let node = Math.max(1, from); node < to; node++) {
      if (level[node] !== LEVEL_FRAME) continue;
      const own = functions[row[node]], kind = kinds[own], above = nodes[parent[node]];
      const caller = level[parent[node]] === LEVEL_FRAME ? functions[row[parent[node]]] : -1;
      const takes = takesGil(gil, kinds, own, caller) || (kind !== KIND_PYTHON && (above & TAKING) !== 0);
      const isBelow = kind === KIND_PYTHON || (above & BELOW_PYTHON) !== 0;
      const isKnown = kind === KIND_NATIVE || kind === KIND_KERNEL || kind === KIND_INTERPRETER;
      nodes[node] = (isBelow ? BELOW_PYTHON : 0) | (takes ? TAKING : 0) | (isBelow && takes && isKnown ? COUNTS : 0);
    }
  });
  found.set(source, nodes);
  return nodes;
}

/** Whether a function takes the GIL when `caller` calls it; -1 for no caller. */
function takesGil(gil: Uint8Array, kinds: Uint8Array, called: number, caller: number): boolean {
  const when = gil[called] & WHEN;
  if (when === 0 || when === ALWAYS) return when === ALWAYS;
  if (caller < 0) return false;
  const isInEvalLoop = kinds[caller] === KIND_INTERPRETER || kinds[caller] === KIND_PYTHON;
  return isInEvalLoop || (when === FROM_INTERPRETER && (gil[caller] & OF_INTERPRETER) !== 0);
}

/** What taking the GIL costs each key of the shown Python functions below a node of the tree; `self` is what the tree is of. */
export function* gilBy(
  source: Source, names: Names, nodes: Uint8Array, self: Float64Array, tree: MappedTree, top: number, key: (entry: number) => number,
): Steps<Map<number, number>> {
  const sums = new Map<number, number>();
  const left = tree.start[top], right = left + tree.total[top];
  yield* inChunks(source.size, CHUNK, (from, to) => {
    for (let node = from; node < to; node++) {
      if ((nodes[node] & COUNTS) === 0 || self[node] === 0) continue;
      // A node in no box is of its caller's if its own box was too small; outside a focus, the root is in no box either.
      let shown = node;
      while (shown > 0 && tree.target[shown] < 0) shown = source.parent[shown];
      let step = tree.target[shown];
      while (step > 0 && names.kind(tree.entry[step]) !== KIND_PYTHON) step = tree.parent[step];
      if (step <= 0 || tree.depth[step] < tree.depth[top] || tree.start[step] < left || tree.start[step] >= right) continue;
      const row = key(tree.entry[step]);
      sums.set(row, (sums.get(row) ?? 0) + self[node]);
    }
  });
  return sums;
}

/** The whole profile's, by the row of the Python function, the most first. */
export function* gilByFunction(source: Source, names: Names): Steps<[row: number, amount: number][]> {
  const nodes = yield* gilNodes(source, names);
  if (!nodes) return [];
  const { frame_function: functions, function_kind: kinds } = names.profile;
  const sums = new Map<number, number>();
  yield* eachSample(source, { from: 0, to: source.samples.count, test: null }, (at, amount) => {
    let node = source.samples.node[at];
    if ((nodes[node] & COUNTS) === 0) return;
    while (kinds[functions[source.row[node]]] !== KIND_PYTHON) node = source.parent[node];
    const row = functions[source.row[node]];
    sums.set(row, (sums.get(row) ?? 0) + amount);
  });
  return [...sums].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}
