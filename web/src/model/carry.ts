// What a reader has chosen, in a profile that has taken the place of another: found again by what it is called.

import type { State } from "../state";
import type { Names } from "./names";
import { finish, inChunks, type Steps } from "./steps";
import type { Tree } from "./tree";

function functionKey(names: Names, row: number): string {
  const { function_kind: kind, function_name: name, function_file: file, function_library: library, function_line: line } = names.profile;
  return [kind[row], names.string(name[row]), names.string(file[row]), names.string(library[row]), line[row]].join("\n");
}

/** Functions that are learnt at a time. */
const CHUNK = 10_000;

/** From entries and functions of one profile to those of another. */
export class Carrier {
  private rows: Map<string, number> | null = null;

  constructor(readonly before: Names, readonly after: Names) {}

  /** Where each function is, learnt in advance unless the profile has only grown: else the first that has moved would take long to find. */
  *learn(): Steps<void> {
    const { before, after } = this;
    const { length } = before.profile.function_name;
    const stays = (row: number) => functionKey(before, row) === functionKey(after, row);
    if (length === 0 || (length <= after.profile.function_name.length && [0, length >> 1, length - 1].every(stays))) return;
    yield* this.learnRows();
  }

  private *learnRows(): Steps<Map<string, number>> {
    const rows = new Map<string, number>();
    yield* inChunks(this.after.profile.function_name.length, CHUNK, (from, to) => {
      for (let row = from; row < to; row++) rows.set(functionKey(this.after, row), row);
    });
    return this.rows = rows;
  }

  /** The same function; -1 if there is none. */
  functionRow(row: number): number {
    if (row < 0) return -1;
    const key = functionKey(this.before, row);
    const { length } = this.after.profile.function_name;
    // A profile that grew has it where it was.
    if (row < length && functionKey(this.after, row) === key) return row;
    return (this.rows ?? finish(this.learnRows())).get(key) ?? -1;
  }

  library(row: number): number {
    return this.after.libraries.texts.indexOf(this.before.libraries.texts[row] ?? "");
  }

  /** The same entry; -1 if there is none. */
  entry(entry: number): number {
    const { before, after } = this;
    if (entry <= 0) return entry;
    if (entry < before.firstFunction) {
      const name = before.name(entry);
      const [first, from, to] = entry < before.firstThread
        ? [before.firstProcess, after.firstProcess, after.firstThread] : [before.firstThread, after.firstThread, after.firstFunction];
      const same = from + entry - first;
      if (same < to && after.name(same) === name) return same;
      for (let other = from; other < to; other++) if (after.name(other) === name) return other;
      return -1;
    }
    if (entry >= before.firstGroup) {
      const library = this.library(entry - before.firstGroup);
      return library < 0 ? -1 : after.firstGroup + library;
    }
    const row = this.functionRow(before.functionRow(entry));
    if (row < 0) return -1;
    if (entry < before.firstFrame) return after.firstFunction + row;
    const { frame_function: functions, frame_line: lines } = after.profile;
    const line = before.line(entry);
    const isSame = (of: number, at: number) => of === row && lines[at] === line;
    const same = entry - before.firstFrame;
    if (same < functions.length && isSame(functions[same], same)) return after.firstFrame + same;
    const frame = functions.findIndex(isSame);
    return frame < 0 ? -1 : after.firstFrame + frame;
  }

  /** As far along a path as the other profile goes. */
  path(path: readonly number[]): number[] {
    const carried = path.map((entry) => this.entry(entry));
    const end = carried.indexOf(-1);
    return end < 0 ? carried : carried.slice(0, end);
  }

  /** In the order of time, zoom is a node of one tree: `placeOf` and `nodeAt` carry that. */
  state(state: State): State {
    return {
      ...state,
      zoom: state.order === "time" ? [] : this.path(state.zoom),
      chosen: this.functionRow(state.chosen),
      filters: state.filters.flatMap((filter) => {
        if (filter.by !== "function") return [filter];
        const row = this.functionRow(Number(filter.value));
        return row < 0 ? [] : [{ ...filter, value: String(row) }];
      }),
      transforms: state.transforms.flatMap((transform) => {
        const row = transform.deed === "collapse" ? this.library(transform.row) : this.functionRow(transform.row);
        return row < 0 ? [] : [{ ...transform, row }];
      }),
    };
  }
}

/** Which child of which child a node is: in the order of time, what comes later stands behind, so a node keeps its place. */
export function placeOf(tree: Tree, node: number): number[] {
  const place = [];
  for (; node > 0; node = tree.parent[node]) place.push(node - tree.firstChild[tree.parent[node]]);
  return place.reverse();
}

export function nodeAt(tree: Tree, place: readonly number[]): number {
  let node = 0;
  for (const at of place) {
    const child = tree.firstChild[node] + at;
    if (child >= tree.firstChild[node + 1]) break;
    node = child;
  }
  return node;
}
