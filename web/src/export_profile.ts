// The stacks that are seen as profiles of other programs: pprof and speedscope.

import { NONE } from "./data/profile";
import { KIND_PROCESS, KIND_PYTHON, KIND_THREAD } from "./model/kinds";
import type { Page } from "./page";
import { profileTitle } from "./view/title";

/** A stack with its weight: entries, the root first. */
interface Seen {
  entries: number[];
  /** As the tree counts: samples, or nanoseconds where these weigh differently. */
  value: number;
}

/** The stacks below the zoomed box, with the way to it. */
export function* seenStacks(page: Page): Generator<Seen> {
  const { tree } = page;
  const top = page.zoomOf(tree);
  const inside = new Uint8Array(tree.size);
  for (let node = 0; node < tree.size; node++) {
    inside[node] = node === top || (node > 0 && inside[tree.parent[node]]) ? 1 : 0;
    if (!inside[node] || tree.self[node] === 0) continue;
    const entries = [];
    for (let step = node; step > 0; step = tree.parent[step]) entries.push(tree.entry[step]);
    yield { entries: entries.reverse(), value: Math.round(tree.self[node]) };
  }
}

/** Nanoseconds that one of the tree's units stands for; 0 when that is not known. */
function unitOf(page: Page): number {
  return page.profile.sample_weight ? 1 : page.profile.weight_ns;
}

interface Place {
  name: string;
  file: string;
  line: number;
}

function placeOf(page: Page, entry: number): Place {
  const { names, profile, state } = page;
  const row = names.functionRow(entry);
  if (row < 0) return { name: names.name(entry, state.mergeProcesses), file: "", line: 0 };
  const text = (index: number) => index === NONE ? "" : profile.strings[index];
  const isPython = profile.function_kind[row] === KIND_PYTHON;
  const file = text(isPython ? profile.function_file[row] : profile.function_library[row]);
  return { name: names.functionName(row), file, line: names.line(entry) || profile.function_line[row] };
}

/** https://github.com/jlfwong/speedscope/blob/main/src/lib/file-format-spec.ts */
export function speedscopeOf(page: Page): string {
  const numbers = new Map<number, number>();
  const frames: { name: string; file?: string; line?: number }[] = [];
  const frameOf = (entry: number) => {
    let number = numbers.get(entry);
    if (number === undefined) {
      numbers.set(entry, number = frames.length);
      const { name, file, line } = placeOf(page, entry);
      frames.push({ name, ...file ? { file } : {}, ...line ? { line } : {} });
    }
    return number;
  };
  const unit = unitOf(page), samples: number[][] = [], weights: number[] = [];
  for (const { entries, value } of seenStacks(page)) {
    samples.push(entries.map(frameOf));
    weights.push(value * (unit || 1));
  }
  const endValue = weights.reduce((sum, weight) => sum + weight, 0);
  const name = profileTitle(page.profile);
  return JSON.stringify({
    $schema: "https://www.speedscope.app/file-format-schema.json", exporter: `viperf ${page.profile.information.viperf_version}`, name,
    activeProfileIndex: 0, shared: { frames },
    profiles: [{ type: "sampled", name, unit: unit ? "nanoseconds" : "none", startValue: 0, endValue, samples, weights }],
  });
}

/** Bytes of a message in the form of Protocol Buffers. */
class Message {
  private bytes = new Uint8Array(64);
  private length = 0;

  private room(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const wider = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    wider.set(this.bytes);
    this.bytes = wider;
  }

  private number(value: number): void {
    this.room(10);
    for (; value >= 128; value = Math.floor(value / 128)) this.bytes[this.length++] = value % 128 + 128;
    this.bytes[this.length++] = value;
  }

  /** A field that is a number from 0 up to 2^53; 0 is left out, as it may be. */
  int(field: number, value: number): this {
    if (value === 0) return this;
    this.number(field * 8);
    this.number(value);
    return this;
  }

  packed(field: number, values: readonly number[]): this {
    const part = new Message();
    for (const value of values) part.number(value);
    return this.part(field, part.done());
  }

  part(field: number, part: Uint8Array): this {
    this.number(field * 8 + 2);
    this.number(part.length);
    this.room(part.length);
    this.bytes.set(part, this.length);
    this.length += part.length;
    return this;
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }
}

/** Rows by what they are, numbered from `first`. */
class Numbered<K> {
  readonly rows: K[] = [];
  private readonly numbers = new Map<K, number>();

  constructor(private readonly first: number) {}

  of(key: K): number {
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.rows.push(key) - 1 + this.first;
      this.numbers.set(key, number);
    }
    return number;
  }
}

/**
 * Uncompressed; processes and threads are labels of samples, as in what `viperf convert` writes.
 *
 * https://github.com/google/pprof/blob/main/proto/profile.proto
 */
export function pprofOf(page: Page): Uint8Array<ArrayBuffer> {
  const { names, profile } = page;
  const encoder = new TextEncoder();
  const strings = new Numbered<string>(0);
  strings.of("");
  const locations = new Numbered<number>(1), functions = new Numbered<string>(1);
  const unit = unitOf(page), countsSamples = !profile.sample_weight;
  const types: [string, string][] = [...countsSamples ? [["samples", "count"]] as [string, string][] : [], ...unit ? [["cpu", "nanoseconds"]] as [string, string][] : []];
  const file = new Message();
  const typeOf = ([type, of]: [string, string]) => new Message().int(1, strings.of(type)).int(2, strings.of(of)).done();
  for (const type of types) file.part(1, typeOf(type));
  for (const { entries, value } of seenStacks(page)) {
    const isLevel = (entry: number) => [KIND_PROCESS, KIND_THREAD].includes(names.kind(entry));
    const sample = new Message();
    sample.packed(1, entries.filter((entry) => !isLevel(entry)).reverse().map((entry) => locations.of(entry)));
    sample.packed(2, [...countsSamples ? [value] : [], ...unit ? [value * unit] : []]);
    for (const entry of entries.filter(isLevel)) {
      const label = names.kind(entry) === KIND_PROCESS ? "process" : "thread";
      sample.part(3, new Message().int(1, strings.of(label)).int(2, strings.of(names.name(entry, page.state.mergeProcesses))).done());
    }
    file.part(2, sample.done());
  }
  for (const [at, entry] of locations.rows.entries()) {
    const { name, file: path, line } = placeOf(page, entry);
    const start = names.functionRow(entry) < 0 ? 0 : profile.function_line[names.functionRow(entry)];
    const number = functions.of(JSON.stringify([name, path, start]));
    file.part(4, new Message().int(1, at + 1).part(4, new Message().int(1, number).int(2, line).done()).done());
  }
  for (const [at, key] of functions.rows.entries()) {
    const [name, path, start] = JSON.parse(key) as [string, string, number];
    file.part(5, new Message().int(1, at + 1).int(2, strings.of(name)).int(3, strings.of(name)).int(4, strings.of(path)).int(5, start).done());
  }
  const { started_unix_ms: started, duration_ns: duration, period_ns: period } = profile.information;
  const periodType = unit && period ? typeOf(["cpu", "nanoseconds"]) : null;
  for (const text of strings.rows) file.part(6, encoder.encode(text));
  file.int(9, started * 1e6).int(10, duration);
  if (periodType) file.part(11, periodType).int(12, period);
  return file.done();
}

/** As gzip, in which pprof keeps its files. */
export async function compress(bytes: Uint8Array<ArrayBuffer>): Promise<Blob> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).blob();
}
