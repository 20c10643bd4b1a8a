// What the boxes are called. A box shows an entry: the whole, a process, a thread, a function, one line of a function, or
// the functions of one library or package together.

import { NONE, type Process, type Profile } from "../data/profile";
import { groupFunctions, type Grouping, type Groups } from "./groups";
import { KIND_GROUP, KIND_INCOMPLETE, KIND_NATIVE, KIND_PROCESS, KIND_PYTHON, KIND_ROOT, KIND_THREAD } from "./kinds";
import { finish } from "./steps";

// Control characters would be invisible and direction marks would reorder what stands around them.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

/** Entries are numbers: 0 the whole, then processes, threads, functions, frames (function and line), groups. */
export class Names {
  readonly firstProcess = 1;
  readonly firstThread: number;
  readonly firstFunction: number;
  readonly firstFrame: number;
  readonly firstGroup: number;
  readonly size: number;
  readonly libraries: Grouping;
  readonly modules: Grouping;
  /** For each process the first one of its name. */
  readonly namesakes: number[];
  /** For each function the first one that a comparison takes for the same. */
  readonly sameFunctions: Int32Array;
  private mergedTitles: Map<number, number | null> | null = null;

  /** `groups` is what the functions belong to, where that was found in steps. */
  constructor(readonly profile: Profile, { libraries, modules }: Groups = finish(groupFunctions(profile))) {
    this.firstThread = this.firstProcess + profile.processes.length;
    this.firstFunction = this.firstThread + profile.threads.length;
    this.firstFrame = this.firstFunction + profile.function_name.length;
    this.firstGroup = this.firstFrame + profile.frame_function.length;
    this.libraries = libraries;
    this.modules = modules;
    this.size = this.firstGroup + this.libraries.texts.length;
    this.namesakes = findNamesakes(profile.processes);
    this.sameFunctions = findSameFunctions(profile.function_group);
  }

  string(index: number): string {
    return index === NONE ? "" : printable(this.profile.strings[index] ?? "");
  }

  /** What is known of a process besides its name and numbers, by the field's name: its title, its container, its pod. */
  fieldsOf(row: number): Map<string, string> {
    const { title, placement } = this.profile.processes[row];
    const fields = Object.entries(placement ?? {}).map(([name, text]): [string, string] => [name, this.profile.strings[text] ?? ""]);
    if (title !== null && title !== undefined) fields.unshift(["title", this.profile.strings[title] ?? ""]);
    return new Map(fields);
  }

  process(row: number, merged: boolean): number {
    return this.firstProcess + (merged ? this.namesakes[row] : row);
  }

  /** The row of the functions for a function or frame entry, else -1. */
  functionRow(entry: number): number {
    if (entry >= this.firstGroup) return -1;
    if (entry >= this.firstFrame) return this.profile.frame_function[entry - this.firstFrame];
    return entry >= this.firstFunction ? entry - this.firstFunction : -1;
  }

  kind(entry: number): number {
    if (entry >= this.firstGroup) return KIND_GROUP;
    if (entry >= this.firstFunction) return this.profile.function_kind[this.functionRow(entry)];
    if (entry >= this.firstThread) return KIND_THREAD;
    return entry >= this.firstProcess ? KIND_PROCESS : KIND_ROOT;
  }

  /** What people know a process by: what it runs, or else the kernel's name for it. */
  private processName(row: number): string {
    const { name, title } = this.profile.processes[row];
    return this.string(title ?? name) || this.string(name) || "(no name)";
  }

  /** Of the processes of one name together: what they run, if that is the same for all. */
  private mergedName(row: number): string {
    const titles = this.mergedTitles ??= sharedTitles(this.profile.processes);
    const { name } = this.profile.processes[row];
    return this.string(titles.get(name) ?? name) || "(no name)";
  }

  /** Threads have their process's name until somebody gives them one of their own. */
  private threadName(row: number): string {
    const { name, tid, process } = this.profile.threads[row];
    const { name: inherited, title, pid } = this.profile.processes[process];
    const own = name === inherited || name === title ? "" : this.string(name);
    return `${own || (tid === pid ? "main thread" : "thread")} (${tid})`;
  }

  /** `merged`: processes of one name are one, so that none of their numbers is it. */
  name(entry: number, merged = false): string {
    const row = this.functionRow(entry);
    if (row >= 0) return this.functionName(row);
    if (entry >= this.firstGroup) return printable(this.libraries.texts[entry - this.firstGroup] ?? "");
    if (entry >= this.firstThread) return this.threadName(entry - this.firstThread);
    if (entry >= this.firstProcess) {
      const process = entry - this.firstProcess;
      return merged ? this.mergedName(process) : `${this.processName(process)} (${this.profile.processes[process].pid})`;
    }
    return "all";
  }

  functionName(row: number): string {
    const name = this.string(this.profile.function_name[row]) || "(no name)";
    return this.profile.function_kind[row] === KIND_INCOMPLETE ? `[${name}]` : name;
  }

  /** `file:line` of the entry's line or first line, else the library. */
  place(entry: number): string {
    const row = this.functionRow(entry);
    if (row < 0) return "";
    const file = this.string(this.profile.function_file[row]);
    const line = this.line(entry) || this.profile.function_line[row];
    if (file && this.profile.function_kind[row] === KIND_PYTHON) return line ? `${file}:${line}` : file;
    return this.string(this.profile.function_library[row]) || file;
  }

  /** The short form of the place, for the box itself. */
  shortPlace(entry: number): string {
    const row = this.functionRow(entry);
    if (row < 0) return "";
    const line = this.line(entry);
    const file = this.profile.function_kind[row] === KIND_PYTHON ? this.string(this.profile.function_file[row]) : "";
    if (file) return line ? `${baseName(file)}:${line}` : baseName(file);
    return this.isBareAddress(entry) ? "" : this.string(this.profile.function_library[row]);
  }

  /** `[library+0xoffset]`: the library is in the name already. */
  isBareAddress(entry: number): boolean {
    return this.kind(entry) === KIND_NATIVE && /^\[.*\+0x.*\]$/.test(this.name(entry));
  }

  line(entry: number): number {
    return entry >= this.firstFrame && entry < this.firstGroup ? this.profile.frame_line[entry - this.firstFrame] : 0;
  }

  /** What a search looks at. */
  searchText(entry: number, merged = false): string {
    const place = this.isBareAddress(entry) ? "" : this.place(entry);
    const name = this.name(entry, merged);
    return place ? `${name} (${place})` : name;
  }
}

function findSameFunctions(groups: Uint32Array): Int32Array {
  const first = new Map<number, number>();
  return Int32Array.from(groups, (group, row) => {
    const known = first.get(group) ?? row;
    first.set(group, known);
    return known;
  });
}

/** The title of each name, where all processes of that name have one and the same. */
function sharedTitles(processes: Process[]): Map<number, number | null> {
  const titles = new Map<number, number | null>();
  for (const { name, title = null } of processes) {
    const known = titles.get(name);
    titles.set(name, known === undefined || known === title ? title : null);
  }
  return titles;
}

function findNamesakes(processes: Process[]): number[] {
  const first = new Map<number, number>();
  return processes.map((process, row) => {
    const known = first.get(process.name);
    if (known !== undefined) return known;
    first.set(process.name, row);
    return row;
  });
}
