// Which samples count. Filters of one sort are alternatives, those of different sorts must all hold, and what is excluded
// is out in any case.

import { KIND_INTERPRETER, KIND_NATIVE } from "./kinds";
import type { Names } from "./names";
import { firstSampleFrom, LEVEL_FRAME, type Source } from "./source";
import { finish, inChunks, part, type Steps } from "./steps";

export const FILTER_SORTS = ["process", "pid", "thread", "cpu", "running", "library", "module", "function", "walk", "recording", "field"] as const;
export type FilterSort = (typeof FILTER_SORTS)[number];

export interface Filter {
  by: FilterSort;
  /** A name; the number of a process, thread, CPU; a kind; a function's row; `complete` or `incomplete`. */
  value: string;
  not: boolean;
}

/** Half open, in nanoseconds since the recording's start. */
export type TimeWindow = readonly [from: number, to: number];

export const RUNNING_KINDS = ["", "python", "native", "kernel", "incomplete", "interpreter"];

/** Samples or nodes that are gone through at a time. */
const CHUNK = 100_000;

type Test = { nodes: Uint8Array } | { sample: (at: number) => boolean };

/** `container=web-1`: a field of processes, and its value. */
export function splitField(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** The fields that processes have, in order of the alphabet. */
export function fieldNames(names: Names): string[] {
  return [...new Set(names.profile.processes.flatMap((_, row) => [...names.fieldsOf(row).keys()]))].sort();
}

function* threadTest(source: Source, names: Names, filter: Filter): Steps<Test> {
  const { processes, threads, strings } = names.profile;
  const allowed = threads.map((thread) => {
    const process = processes[thread.process];
    if (filter.by === "field") {
      const [name, value] = splitField(filter.value);
      return names.fieldsOf(thread.process).get(name) === value;
    }
    if (filter.by === "process") return strings[process.name] === filter.value;
    return String(filter.by === "pid" ? process.pid : thread.tid) === filter.value;
  });
  const nodes = new Uint8Array(source.size);
  yield* inChunks(source.size, CHUNK, (from, to) => {
    for (let node = from; node < to; node++) nodes[node] = source.thread[node] >= 0 && allowed[source.thread[node]] ? 1 : 0;
  });
  return { nodes };
}

/** Nodes at or below a frame of which the test holds. */
function* stackTest(source: Source, names: Names, test: (row: number) => boolean): Steps<Test> {
  const { frame_function: functions, function_name: rows } = names.profile;
  const holds = Uint8Array.from(rows, (_, row) => test(row) ? 1 : 0);
  const nodes = new Uint8Array(source.size);
  yield* inChunks(source.size, CHUNK, (from, to) => {
    for (let node = Math.max(1, from); node < to; node++) {
      const own = source.level[node] === LEVEL_FRAME ? holds[functions[source.row[node]]] : 0;
      nodes[node] = own | nodes[source.parent[node]];
    }
  });
  return { nodes };
}

function* compileFilter(source: Source, names: Names, filter: Filter): Steps<Test> {
  const { libraries, modules } = names;
  switch (filter.by) {
    case "process": case "pid": case "thread": case "field": return yield* threadTest(source, names, filter);
    case "library": return yield* stackTest(source, names, (row) => libraries.texts[libraries.of[row]] === filter.value);
    case "module": return yield* stackTest(source, names, (row) => modules.texts[modules.of[row]] === filter.value);
    case "function": return yield* stackTest(source, names, (row) => row === Number(filter.value));
    case "running": {
      const kind = RUNNING_KINDS.indexOf(filter.value);
      const matches = (own: number) => own === kind || (own === KIND_INTERPRETER && kind === KIND_NATIVE);
      return { nodes: source.kind.map((own) => matches(own) ? 1 : 0) };
    }
    case "recording": return { sample: (at) => String(names.profile.sample_side?.[at] ?? 0) === filter.value };
    case "cpu": return { sample: (at) => source.samples.cpu[at] === Number(filter.value) };
    case "walk": return { sample: (at) => (source.samples.complete[at] === 1) === (filter.value === "complete") };
  }
}

/** A test for samples from all filters together; `null` when there are none. */
export function* compileFilters(source: Source, names: Names, filters: readonly Filter[]): Steps<((at: number) => boolean) | null> {
  if (filters.length === 0) return null;
  const { node } = source.samples;
  const excluded: ((at: number) => boolean)[] = [];
  const wanted = new Map<string, ((at: number) => boolean)[]>();
  for (const [place, filter] of filters.entries()) {
    const test = yield* part(compileFilter(source, names, filter), place / filters.length, (place + 1) / filters.length);
    const holds = "nodes" in test ? (at: number) => test.nodes[node[at]] === 1 : test.sample;
    if (filter.not) excluded.push(holds);
    else {
      // Each field is a sort of its own.
      const sort = filter.by === "field" ? `field ${splitField(filter.value)[0]}` : filter.by;
      wanted.set(sort, [...wanted.get(sort) ?? [], holds]);
    }
  }
  const groups = [...wanted.values()];
  return (at) => !excluded.some((holds) => holds(at)) && groups.every((group) => group.some((holds) => holds(at)));
}

/** The samples that count, as a range of all and a test within it. */
export interface Selection {
  from: number;
  to: number;
  test: ((at: number) => boolean) | null;
}

export function* selectSteps(source: Source, names: Names, filters: readonly Filter[], window: TimeWindow | null): Steps<Selection> {
  const { samples } = source;
  const from = window ? firstSampleFrom(samples, window[0]) : 0;
  const to = window ? firstSampleFrom(samples, window[1]) : samples.count;
  return { from, to, test: yield* compileFilters(source, names, filters) };
}

export function select(source: Source, names: Names, filters: readonly Filter[], window: TimeWindow | null): Selection {
  return finish(selectSteps(source, names, filters, window));
}

/** Goes through the selected samples, with what each weighs. */
export function* eachSample(source: Source, { from, to, test }: Selection, run: (at: number, amount: number) => void): Steps<void> {
  const { weight } = source.samples;
  yield* inChunks(to - from, CHUNK, (first, end) => {
    for (let at = from + first; at < from + end; at++) {
      if (test === null || test(at)) run(at, weight ? weight[at] : 1);
    }
  });
}

/** What the selected samples weigh at each node. */
export function* weighSteps(source: Source, selection: Selection): Steps<Float64Array> {
  const self = new Float64Array(source.size);
  const { samples: { node, weight } } = source, { from, to, test } = selection;
  // Written out: this is the way to the first picture.
  yield* inChunks(to - from, CHUNK, (first, end) => {
    if (test === null && !weight) for (let at = from + first; at < from + end; at++) self[node[at]]++;
    else for (let at = from + first; at < from + end; at++) if (test === null || test(at)) self[node[at]] += weight ? weight[at] : 1;
  });
  return self;
}

export function weigh(source: Source, selection: Selection): Float64Array {
  return finish(weighSteps(source, selection));
}

/** What the selected samples weigh together. */
export function* weighSelection(source: Source, selection: Selection): Steps<number> {
  if (!source.samples.weight && !selection.test) return selection.to - selection.from;
  let sum = 0;
  yield* eachSample(source, selection, (_, amount) => { sum += amount; });
  return sum;
}

/** The share of everything that one filter lets through by itself. */
export function* weighFilter(source: Source, names: Names, filter: Filter): Steps<number> {
  return yield* weighSelection(source, yield* part(selectSteps(source, names, [filter], null), 0, 0.3));
}

export function filterText(filter: Filter, names: Names): string {
  if (filter.by === "function") return names.functionName(Number(filter.value));
  if (filter.by === "field") return splitField(filter.value)[1];
  if (filter.by === "recording") return names.profile.comparison?.sides[Number(filter.value)]?.name ?? filter.value;
  return filter.value;
}
