// Profiles and pages made by hand, in the form that crates/encode writes (docs/formats/html.md).

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { NONE, type Cost, type Head, type Process, type Profile } from "../src/data/profile";
import { parseProfile } from "../src/data/read";
import { initialState, type State } from "../src/state";
import { buildSource, type Source } from "../src/model/source";
import { Names } from "../src/model/names";

/** `p:name@file:line`, `n:name@library`, `k:name`, `e:reason`, `i:name@library`. */
export type FrameText = string;

export interface SampleText {
  process?: string;
  pid?: number;
  tid?: number;
  time?: number;
  cpu?: number;
  weight?: number;
  /** Of the innermost Python frame: line, column, end column. */
  range?: [number, number, number];
  /** Of two recordings: 0 the base, 1 the new one. */
  side?: number;
  complete?: boolean;
  /** Where the process runs: `container_name`, `pod`. */
  placement?: Record<string, string>;
  stack: FrameText[];
}

const KINDS = ["", "p", "n", "k", "e", "i"];

class Interner<T> {
  readonly rows: T[] = [];
  private readonly numbers = new Map<string, number>();

  of(row: T): number {
    const key = JSON.stringify(row);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    this.numbers.set(key, this.rows.length);
    return this.rows.push(row) - 1;
  }
}

/** As crates/profile/src/origin.rs tells, for the paths that tests make up. */
function originOf(file: string): number {
  return /\/(site|dist)-packages\//.test(file) ? 1 : /lib\/python3/.test(file) || file.startsWith("<frozen ") ? 2 : 0;
}

/** As crates/encode/src/html/gil.rs tells, for the names that tests make up. */
function gilOf(kind: number, name: string, library: string): number {
  const when = kind !== 2 ? 0 : /^(take_gil(\..*)?|PyEval_RestoreThread)$/.test(name) ? 1 : name === "pthread_cond_timedwait" ? 2 : name === "PyThread_acquire_lock" ? 3 : 0;
  return when + (/^(python[23]|libpython)/.test(library) ? 4 : 0);
}

/** The uncompressed data of a profile of these samples, which must be in the order of time. */
export function dataOf(samples: SampleText[], changes: Partial<Head> = {}, cost?: Cost): Buffer {
  const strings = new Interner<string>(), functions = new Interner<number[]>(), frames = new Interner<number[]>();
  const processes = new Interner<Process>();
  const threads = new Interner<{ process: number; tid: number; name: number }>();
  const frameOf = (text: FrameText) => {
    const kind = KINDS.indexOf(text[0]);
    const [name, place = ""] = text.slice(2).split("@");
    const [file, line] = kind === 1 ? [place.replace(/:\d+$/, ""), Number(/:(\d+)$/.exec(place)?.[1] ?? 0)] : ["", 0];
    const or = (string: string) => string ? strings.of(string) : NONE;
    return frames.of([functions.of([strings.of(name), or(file), or(kind === 1 ? "" : place), kind === 1 ? 1 : 0, kind]), line]);
  };
  interface Node { row: number; children: Map<number, Node>; place: number; samples: number[] }
  const newNode = (row: number): Node => ({ row, children: new Map(), place: 0, samples: [] });
  const root = newNode(0);
  const leaves = samples.map(({ process = "python3", pid = 1, tid = pid, stack, placement }) => {
    const name = strings.of(process);
    const placed = placement && { placement: Object.fromEntries(Object.entries(placement).map(([field, value]) => [field, strings.of(value)])) };
    const processRow = processes.of({ pid, name, command_line: name, python_version: null, ...placed });
    const path = [processRow, threads.of({ process: processRow, tid, name }), ...stack.map(frameOf)];
    return path.reduce((node, row) => {
      const child = node.children.get(row) ?? newNode(row);
      node.children.set(row, child);
      return child;
    }, root);
  });
  const back: number[] = [], rows: number[] = [];
  const number = (node: Node, parent: number) => {
    node.place = back.length;
    back.push(node.place - parent);
    rows.push(node.row);
    for (const child of node.children.values()) number(child, node.place);
  };
  number(root, 0);
  const times = samples.map(({ time }, at) => Math.round((time ?? at * 1e6) / (changes.time_unit_ns ?? 1000)));
  const steps = times.map((time, at) => time - (times[at - 1] ?? 0));
  const weights = samples.map(({ weight }) => weight ?? 0);
  const columns: [string, string, number[]][] = [
    ...["function_name", "function_file", "function_library", "function_line"].map((name, at): [string, string, number[]] =>
      [name, "u32", functions.rows.map((row) => row[at])]),
    ["function_kind", "u8", functions.rows.map((row) => row[4])],
    ["function_group", "u32", functions.rows.map((_, row) => row)],
    ["function_gil", "u8", functions.rows.map(([name, , library, , kind]) => gilOf(kind, strings.rows[name], strings.rows[library] ?? ""))],
    ["function_origin", "u8", functions.rows.map(([, file, , , kind]) => kind === 1 ? originOf(strings.rows[file] ?? "") : 3)],
    ["frame_function", "u32", frames.rows.map(([row]) => row)], ["frame_line", "u32", frames.rows.map(([, line]) => line)],
    ["node_back", "u32", back], ["node_row", "u32", rows],
    ["sample_step", "u32", steps], ["sample_node", "u32", leaves.map(({ place }) => place)],
    ["sample_cpu", "u32", samples.map(({ cpu }) => cpu ?? 0)], ["sample_complete", "u8", samples.map(({ complete }) => complete === false ? 0 : 1)],
  ];
  if (samples.some(({ range }) => range)) {
    const ranges = new Interner<number[]>();
    const ofSample = samples.map(({ range }) => range ? ranges.of(range) : NONE);
    for (const [name, at] of [["range_line", 0], ["range_end_line", 0], ["range_column", 1], ["range_end_column", 2]] as const) {
      columns.push([name, "u32", ranges.rows.map((range) => range[at])]);
    }
    columns.push(["sample_range", "u32", ofSample]);
  }
  if (samples.some(({ side }) => side !== undefined)) columns.push(["sample_side", "u8", samples.map(({ side }) => side ?? 0)]);
  if (weights.some((weight) => weight > 0)) columns.push(["sample_weight", "f64", weights]);
  const head: Head = {
    format: 2, information: {
      ...cost ? { cost } : {},
      viperf_version: "0.0.0", hostname: "machine", kernel: "6.1", started_unix_ms: 0, duration_ns: 0, period_ns: 1e6, rate_hz: 999, target: "made up", },
    samples: samples.length, complete: samples.filter(({ complete }) => complete !== false).length, lost: 0, incomplete: {},
    weight_ns: weights.some((weight) => weight > 0) ? 0 : 1e6, time_unit_ns: 1000,
    view: { threads: true, merge_processes: false, interpreter_frames: false }, strings: strings.rows, processes: processes.rows,
    threads: threads.rows, columns: columns.map(([name, type, entries]) => [name, type, entries.length]), ...changes,
  };
  return pack(head, columns);
}

export function pack(head: Head, columns: [string, string, ArrayLike<number>][]): Buffer {
  const text = Buffer.from(JSON.stringify(head));
  const start = Buffer.alloc(8);
  start.writeUInt32LE(text.length);
  const parts: Uint8Array[] = [start, text];
  let length = 8 + text.length;
  for (const [, type, entries] of columns) {
    const padding = (8 - length % 8) % 8;
    const bytes = type === "u8" ? Buffer.from(Uint8Array.from(entries)) : type === "u32" ? planes(entries)
      : Buffer.from(Float64Array.from(entries).buffer);
    parts.push(Buffer.alloc(padding), Buffer.from(bytes));
    length += padding + bytes.length;
  }
  return Buffer.concat(parts);
}

function planes(entries: ArrayLike<number>): Buffer {
  const size = entries.length, bytes = Buffer.alloc(size * 4);
  for (let at = 0; at < size; at++) {
    for (let plane = 0; plane < 4; plane++) bytes[plane * size + at] = entries[at] >>> plane * 8 & 255;
  }
  return bytes;
}

export interface Known {
  profile: Profile;
  names: Names;
  source: Source;
  state: State;
}

export function profileOf(samples: SampleText[], changes: Partial<Head> = {}): Known {
  const data = dataOf(samples, changes);
  const profile = parseProfile(data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer);
  const names = new Names(profile);
  return { profile, names, source: buildSource(profile), state: initialState(names) };
}

/** The page around data, as crates/encode/src/html/page.rs makes it. */
export function pageOf(data: Buffer, sources: { path: string; text: string; changed_since: boolean }[] = []): string {
  return render(gzipSync(data).toString("base64"), false, sources.length > 0 ? gzipSync(JSON.stringify(sources)).toString("base64") : "");
}

/** The page that asks a server for its data. */
export function servedPage(): string {
  return render("", true);
}

function render(profile: string, served: boolean, sources = ""): string {
  const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  const [script, style] = [read("dist/page.js"), read("dist/page.css")];
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:; ${
    served ? "connect-src 'self'; " : ""}base-uri 'none'; form-action 'none'`;
  const parts: Record<string, string> = { policy, style, script, profile, sources, served: served ? " data-served" : "" };
  return read("page.html").replace(/\{\{(\w+)\}\}/g, (_, name: string) => parts[name]);
}
