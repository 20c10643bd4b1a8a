// Search: which boxes match, and how much of the whole they hold together.

import type { Names } from "./names";
import type { Steps } from "./steps";
import type { Tree } from "./tree";

export interface Found {
  /** before[node] counts the matches left of it, so a whole stretch of slivers is tested with two look-ups. */
  before: Int32Array;
  /** Matches that are in no other match, the largest first: the next match is the next that matters. */
  tops: number[];
  /** The weight of all paths with a match, each counted once. */
  value: number;
  boxes: number;
  /** The place in `tops` that is shown; -1 before the first. */
  at: number;
}

export type TextTest = (candidate: string) => boolean;

/** A test for texts, or what is wrong with a regular expression. Capitals matter only if some are typed. */
export function compileSearch(text: string, isRegex: boolean): { test: TextTest | null; error: string } {
  if (text === "") return { test: null, error: "" };
  const flags = text === text.toLowerCase() ? "iu" : "u";
  try {
    const expression = new RegExp(isRegex ? text : escapePattern(text), flags);
    return { test: (candidate) => expression.test(candidate), error: "" };
  } catch (error) {
    return { test: null, error: String(error instanceof Error ? error.message : error).split(": ").at(-1) ?? "" };
  }
}

export function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** The nodes between two rests. */
const SLICE = 200_000;

/** Yields now and then, so that a long search lets the page live; returns every match. */
export function* searchTree(tree: Tree, names: Names, merged: boolean, test: TextTest): Steps<Found> {
  const tested = new Map<number, boolean>();
  const covered = new Uint8Array(tree.size);
  const before = new Int32Array(tree.size + 1);
  const tops: number[] = [];
  let value = 0, untested = 0;
  for (let node = 0; node < tree.size; node++) {
    const entry = tree.entry[node];
    let matches = tested.get(entry);
    if (matches === undefined) {
      matches = entry !== 0 && test(names.searchText(entry, merged));
      tested.set(entry, matches);
      if (++untested % 500 === 0) yield node / tree.size;
    }
    const above = node > 0 && covered[tree.parent[node]] === 1;
    before[node + 1] = before[node] + (matches ? 1 : 0);
    covered[node] = matches || above ? 1 : 0;
    if (matches && !above) {
      value += tree.total[node];
      tops.push(node);
    }
    if (node % SLICE === SLICE - 1) yield node / tree.size;
  }
  tops.sort((a, b) => tree.total[b] - tree.total[a] || a - b);
  return { before, tops, value, boxes: before[tree.size], at: -1 };
}

export function isMatch(found: Found, from: number, to = from + 1): boolean {
  return found.before[to] > found.before[from];
}
