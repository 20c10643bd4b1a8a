// Which samples count. Filters of one sort are alternatives, those of different sorts must all hold, and what is excluded
// is out in any case.

import { KIND_INTERPRETER, KIND_NATIVE } from "./kinds";
import type { Names } from "./names";
import { firstSampleFrom, LEVEL_FRAME, type Source } from "./source";

export const FILTER_SORTS = ["process", "pid", "thread", "cpu", "running", "library", "module", "function", "walk"] as const;
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

type Test = { nodes: Uint8Array } | { sample: (at: number) => boolean };

function threadTest(source: Source, names: Names, filter: Filter): Test {
  const { processes, threads, strings } = names.profile;
  const allowed = threads.map((thread) => {
    const process = processes[thread.process];
    if (filter.by === "process") return strings[process.name] === filter.value;
    return String(filter.by === "pid" ? process.pid : thread.tid) === filter.value;
  });
  const nodes = new Uint8Array(source.size);
  for (let node = 0; node < source.size; node++) nodes[node] = source.thread[node] >= 0 && allowed[source.thread[node]] ? 1 : 0;
  return { nodes };
}

/** Nodes at or below a frame of which the test holds. */
function stackTest(source: Source, names: Names, test: (row: number) => boolean): Test {
  const { frame_function: functions, function_name: rows } = names.profile;
  const holds = Uint8Array.from(rows, (_, row) => test(row) ? 1 : 0);
  const nodes = new Uint8Array(source.size);
  for (let node = 1; node < source.size; node++) {
    const own = source.level[node] === LEVEL_FRAME ? holds[functions[source.row[node]]] : 0;
    nodes[node] = own | nodes[source.parent[node]];
  }
  return { nodes };
}

function compileFilter(source: Source, names: Names, filter: Filter): Test {
  const { libraries, modules } = names;
  switch (filter.by) {
    case "process": case "pid": case "thread": return threadTest(source, names, filter);
    case "library": return stackTest(source, names, (row) => libraries.texts[libraries.of[row]] === filter.value);
    case "module": return stackTest(source, names, (row) => modules.texts[modules.of[row]] === filter.value);
    case "function": return stackTest(source, names, (row) => row === Number(filter.value));
    case "running": {
      const kind = RUNNING_KINDS.indexOf(filter.value);
      const matches = (own: number) => own === kind || (own === KIND_INTERPRETER && kind === KIND_NATIVE);
      return { nodes: source.kind.map((own) => matches(own) ? 1 : 0) };
    }
    case "cpu": return { sample: (at) => source.samples.cpu[at] === Number(filter.value) };
    case "walk": return { sample: (at) => (source.samples.complete[at] === 1) === (filter.value === "complete") };
  }
}

/** A test for samples from all filters together; `null` when there are none. */
export function compileFilters(source: Source, names: Names, filters: readonly Filter[]): ((at: number) => boolean) | null {
  if (filters.length === 0) return null;
  const { node } = source.samples;
  const excluded: ((at: number) => boolean)[] = [];
  const wanted = new Map<FilterSort, ((at: number) => boolean)[]>();
  for (const filter of filters) {
    const test = compileFilter(source, names, filter);
    const holds = "nodes" in test ? (at: number) => test.nodes[node[at]] === 1 : test.sample;
    if (filter.not) excluded.push(holds);
    else wanted.set(filter.by, [...wanted.get(filter.by) ?? [], holds]);
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

export function select(source: Source, names: Names, filters: readonly Filter[], window: TimeWindow | null): Selection {
  const { samples } = source;
  const from = window ? firstSampleFrom(samples, window[0]) : 0;
  const to = window ? firstSampleFrom(samples, window[1]) : samples.count;
  return { from, to, test: compileFilters(source, names, filters) };
}

/** What the selected samples weigh at each node. */
export function weigh(source: Source, { from, to, test }: Selection): Float64Array {
  const self = new Float64Array(source.size);
  const { node, weight } = source.samples;
  for (let at = from; at < to; at++) {
    if (test === null || test(at)) self[node[at]] += weight ? weight[at] : 1;
  }
  return self;
}

export function weighSelection(source: Source, { from, to, test }: Selection): number {
  const { weight } = source.samples;
  if (!weight && !test) return to - from;
  let sum = 0;
  for (let at = from; at < to; at++) {
    if (test === null || test(at)) sum += weight ? weight[at] : 1;
  }
  return sum;
}

export function filterText(filter: Filter, names: Names): string {
  if (filter.by === "function") return names.functionName(Number(filter.value));
  return filter.value;
}
