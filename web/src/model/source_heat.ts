// Where in the source files the time goes. A sample's own line is that of its innermost Python frame, whatever C and kernel
// code that calls; a line's total is every sample in which it is executed or waits for what it called.

import { NONE } from "../data/profile";
import { eachSample, type Selection } from "./filters";
import { KIND_INTERPRETER, KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "./kinds";
import type { Names } from "./names";
import { LEVEL_FRAME, type Source } from "./source";
import { inChunks, type Steps } from "./steps";

/** Nodes that are gone through at a time. */
const CHUNK = 50_000;

/** Own time by what was running, and the total. */
export interface Heat {
  python: number;
  native: number;
  kernel: number;
  /** All of the own time: what could not be walked is in it, too. */
  self: number;
  total: number;
}

function noHeat(): Heat {
  return { python: 0, native: 0, kernel: 0, self: 0, total: 0 };
}

function addOwn(heat: Heat, kind: number, amount: number): void {
  heat.self += amount;
  if (kind === KIND_PYTHON || kind === KIND_INTERPRETER) heat.python += amount;
  else if (kind === KIND_NATIVE) heat.native += amount;
  else if (kind === KIND_KERNEL) heat.kernel += amount;
}

/** The nearest Python frame of each node, from it up; 0 for none. */
export function* innermostPython(source: Source, names: Names): Steps<Int32Array> {
  const { frame_function: functions, function_kind: kinds } = names.profile;
  const nearest = new Int32Array(source.size);
  yield* inChunks(source.size, CHUNK, (from, to) => {
    for (let node = Math.max(1, from); node < to; node++) {
      const isPython = source.level[node] === LEVEL_FRAME && kinds[functions[source.row[node]]] === KIND_PYTHON;
      nearest[node] = isPython ? node : nearest[source.parent[node]];
    }
  });
  return nearest;
}

export interface FileHeat extends Heat {
  /** The number of the path among the texts. */
  file: number;
  /** 0 the project, 1 installed packages, 2 the standard library. */
  origin: number;
}

/** The weights of one selection, and what is asked of them. */
export class SourceHeat {
  constructor(
    private readonly source: Source, private readonly names: Names, private readonly python: Int32Array,
    private readonly self: Float64Array, private readonly totals: Float64Array,
  ) {}

  private functionOf(node: number): number {
    return this.names.profile.frame_function[this.source.row[node]];
  }

  private lineOf(node: number): number {
    return this.names.profile.frame_line[this.source.row[node]];
  }

  /** The file of a Python frame's node; `NONE` for others. */
  private fileOf(node: number): number {
    return this.python[node] === node && node > 0 ? this.names.profile.function_file[this.functionOf(node)] : NONE;
  }

  /** Goes through the nodes with time. */
  private *eachNode(run: (node: number) => void): Steps<void> {
    const { source: { size }, totals } = this;
    yield* inChunks(size, CHUNK, (from, to) => {
      for (let node = Math.max(1, from); node < to; node++) if (totals[node] !== 0) run(node);
    });
  }

  /** Every file with time, those with the most own time first. */
  *files(): Steps<FileHeat[]> {
    const { source, self, totals, python, names } = this;
    const files = new Map<number, FileHeat>();
    const of = (file: number, node: number) => {
      let heat = files.get(file);
      if (!heat) files.set(file, heat = { ...noHeat(), file, origin: names.profile.function_origin[this.functionOf(node)] });
      return heat;
    };
    yield* this.eachNode((node) => {
      const inner = python[node];
      if (self[node] > 0 && inner > 0 && this.fileOf(inner) !== NONE) addOwn(of(this.fileOf(inner), inner), source.kind[node], self[node]);
      const file = this.fileOf(node);
      if (file !== NONE && !this.isAbove(node, (above) => this.fileOf(above) === file)) of(file, node).total += totals[node];
    });
    return [...files.values()].sort((a, b) => b.self - a.self || b.total - a.total || a.file - b.file);
  }

  private isAbove(node: number, test: (node: number) => boolean): boolean {
    for (let above = this.python[this.source.parent[node]]; above > 0; above = this.python[this.source.parent[above]]) {
      if (test(above)) return true;
    }
    return false;
  }

  /** The lines of one file that have time, by their number. */
  *lines(file: number): Steps<Map<number, Heat>> {
    const { source, self, totals, python } = this;
    const lines = new Map<number, Heat>();
    const of = (line: number) => {
      let heat = lines.get(line);
      if (!heat) lines.set(line, heat = noHeat());
      return heat;
    };
    yield* this.eachNode((node) => {
      const inner = python[node];
      if (self[node] > 0 && this.fileOf(inner) === file) addOwn(of(this.lineOf(inner)), source.kind[node], self[node]);
      if (this.fileOf(node) !== file) return;
      const line = this.lineOf(node);
      if (!this.isAbove(node, (above) => this.fileOf(above) === file && this.lineOf(above) === line)) of(line).total += totals[node];
    });
    return lines;
  }

  /** Where the own time of a file's lines goes, expression by expression. */
  *ranges(file: number, selection: Selection): Steps<RangeHeat[]> {
    const { source, names: { profile }, python } = this;
    const { sample_range: ofSample, range_line, range_end_line, range_column, range_end_column } = profile;
    if (!ofSample || !range_line || !range_end_line || !range_column || !range_end_column) return [];
    const ranges = new Map<number, RangeHeat>();
    const { node: leaves } = source.samples;
    yield* eachSample(source, selection, (at, amount) => {
      const range = ofSample[at];
      if (range === NONE || this.fileOf(python[leaves[at]]) !== file) return;
      let heat = ranges.get(range);
      if (!heat) {
        ranges.set(range, heat = {
          ...noHeat(), line: range_line[range], endLine: range_end_line[range], column: range_column[range], endColumn: range_end_column[range],
        });
      }
      addOwn(heat, source.kind[leaves[at]], amount);
    });
    return [...ranges.values()];
  }

  /** Who calls the functions that stand on a line, from which line; and what the line calls. The largest first. */
  *calls(file: number, line: number): Steps<{ callers: Call[]; callees: Call[] }> {
    const { source, totals, python, names } = this;
    const callers = new Map<string, Call>(), callees = new Map<string, Call>();
    const add = (into: Map<string, Call>, row: number, at: number, amount: number) => {
      // A function may stand in the profile more than once, with and without what debug information tells of it.
      const same = names.sameFunctions[row];
      const key = `${same}:${at}`;
      const call = into.get(key);
      if (call) call.total += amount;
      else into.set(key, { row: same, line: at, total: amount });
    };
    yield* this.eachNode((node) => {
      if (source.level[node] !== LEVEL_FRAME) return;
      if (this.fileOf(node) === file && this.lineOf(node) === line) {
        const above = python[source.parent[node]];
        if (above > 0) add(callers, this.functionOf(above), this.lineOf(above), totals[node]);
        return;
      }
      // What stands directly below a frame on the line, the interpreter's own frames left out.
      const row = this.functionOf(node);
      if (names.profile.function_kind[row] === KIND_INTERPRETER) return;
      let above = source.parent[node];
      while (source.level[above] === LEVEL_FRAME && names.profile.function_kind[this.functionOf(above)] === KIND_INTERPRETER) above = source.parent[above];
      if (source.level[above] === LEVEL_FRAME && this.fileOf(above) === file && this.lineOf(above) === line) {
        add(callees, row, python[node] === node ? this.lineOf(node) : 0, totals[node]);
      }
    });
    const sorted = (calls: Map<string, Call>) => [...calls.values()].sort((a, b) => b.total - a.total || a.row - b.row || a.line - b.line);
    return { callers: sorted(callers), callees: sorted(callees) };
  }
}

export interface RangeHeat extends Heat {
  line: number;
  endLine: number;
  /** In bytes of UTF-8, from 1; the end is the byte after the last. */
  column: number;
  endColumn: number;
}

export interface Call {
  /** The function's row. */
  row: number;
  /** The line it is on; 0 for what has none. */
  line: number;
  total: number;
}

/** A piece of a line, and the expression it belongs to. */
export interface Piece {
  text: string;
  range: RangeHeat | null;
}

/** How many UTF-16 units the first `bytes` of a line's UTF-8 are. */
function unitsOf(text: string, bytes: number): number {
  let seen = 0, units = 0;
  for (const character of text) {
    if (seen >= bytes) break;
    const code = character.codePointAt(0) ?? 0;
    seen += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    units += character.length;
  }
  return units;
}

/** A line cut where expressions begin and end; of those that hold a place, the shortest has it. */
export function cutLine(text: string, line: number, ranges: readonly RangeHeat[]): Piece[] {
  const spans = ranges.filter((range) => range.line <= line && range.endLine >= line).map((range) => ({
    range,
    from: range.line === line ? unitsOf(text, range.column - 1) : text.length - text.trimStart().length,
    to: range.endLine === line ? unitsOf(text, range.endColumn - 1) : text.length,
  })).filter(({ from, to }) => from < to).sort((a, b) => (a.to - a.from) - (b.to - b.from));
  const cuts = [...new Set([0, text.length, ...spans.flatMap(({ from, to }) => [from, to])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).map((from, at) => ({
    text: text.slice(from, cuts[at + 1]),
    range: spans.find((span) => span.from <= from && cuts[at + 1] <= span.to)?.range ?? null,
  }));
}
