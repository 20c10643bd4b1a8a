// Everything a reader can choose, and its form in the address: a link shows what its sender saw.

import { FILTER_SORTS, type Filter, type FilterSort, type TimeWindow } from "./model/filters";
import { NORMALIZATIONS, type Normalization } from "./model/compare/sides";
import type { Names } from "./model/names";
import type { Deed, Shape, Transform } from "./model/tree";

export const TABS = ["graph", "sandwich", "table", "tree", "source", "timeline", "difference"] as const;
export type Tab = (typeof TABS)[number];
export const COLORINGS = ["kind", "library", "module", "self"] as const;
export type Coloring = (typeof COLORINGS)[number];
export const GROUPS = ["function", "module", "library"] as const;
export type Group = (typeof GROUPS)[number];
export const SORTS = ["self", "total", "python", "native", "kernel", "gil", "name", "place"] as const;
export type Sort = (typeof SORTS)[number];
export const ORDERS = ["size", "time", "inverted"] as const;
export const ROOTS = ["top", "bottom"] as const;
export const BOX_WIDTHS = ["both", "base", "new"] as const;
export type BoxWidth = (typeof BOX_WIDTHS)[number];
export const CHANGE_COLORS = ["red-blue", "orange-purple"] as const;
export const CHANGES = ["functions", "stacks"] as const;
export const MINIMUMS = [0, 0.0001, 0.001, 0.01] as const;
const DEEDS: readonly Deed[] = ["focus", "hide", "collapse", "recursion"];

export interface State extends Shape {
  tab: Tab;
  search: string;
  regex: boolean;
  order: (typeof ORDERS)[number];
  root: (typeof ROOTS)[number];
  color: Coloring;
  filters: readonly Filter[];
  window: TimeWindow | null;
  /** Entries from the root to the box that fills the width. */
  zoom: readonly number[];
  /** The function of the sandwich; -1 for none yet. */
  chosen: number;
  group: Group;
  sort: Sort;
  ascending: boolean;
  /** What is compared in a page of one recording: the base and the new stretch of time. */
  windowA: TimeWindow | null;
  windowB: TimeWindow | null;
  normalize: Normalization;
  /** What the width of a box in the comparison is. */
  boxWidth: BoxWidth;
  changeColors: (typeof CHANGE_COLORS)[number];
  changes: (typeof CHANGES)[number];
  /** Rows that chance explains, too. */
  chance: boolean;
  /** The source file that is shown, by its path, and the line that is looked at; empty and 0 for none yet. */
  file: string;
  line: number;
  /** Of a source file, only lines with time. */
  warm: boolean;
}

export function initialState(names: Names): State {
  const { threads, merge_processes: mergeProcesses, interpreter_frames: interpreter } = names.profile.view;
  const { comparison } = names.profile;
  return {
    tab: comparison ? "difference" : "graph", search: "", regex: false, order: "size", root: "top", color: "kind",
    processes: true, mergeProcesses, threads, lines: false, native: true, kernel: true, interpreter,
    transforms: [], minimum: 0, filters: [], window: null, zoom: [], chosen: -1,
    group: "function", sort: "self", ascending: false,
    windowA: null, windowB: null, normalize: comparison?.normalize ?? "samples", boxWidth: "both", changeColors: "red-blue",
    changes: "functions", chance: false, file: "", line: 0, warm: false,
  };
}

const SWITCHES = ["regex", "processes", "mergeProcesses", "threads", "lines", "native", "kernel", "interpreter", "ascending", "chance", "warm"] as const;
const WINDOWS = ["window", "windowA", "windowB"] as const;
const CHOICES = { tab: TABS, order: ORDERS, root: ROOTS, color: COLORINGS, group: GROUPS, sort: SORTS, normalize: NORMALIZATIONS, boxWidth: BOX_WIDTHS, changeColors: CHANGE_COLORS, changes: CHANGES } as const;

/** What differs from how the page opens, as the part of the address after `#`. */
export function writeAddress(state: State, initial: State, names: Names): string {
  const address = new URLSearchParams();
  if (state.search) address.set("search", state.search);
  for (const name of Object.keys(CHOICES) as (keyof typeof CHOICES)[]) {
    if (state[name] !== initial[name]) address.set(name, state[name]);
  }
  for (const name of SWITCHES) {
    if (state[name] !== initial[name]) address.set(name, state[name] ? "1" : "0");
  }
  if (state.minimum !== initial.minimum) address.set("minimum", String(state.minimum));
  for (const { by, value, not } of state.filters) address.append(not ? "without" : "only", `${by}:${value}`);
  for (const { deed, row } of state.transforms) address.append("change", `${deed}:${row}`);
  for (const name of WINDOWS) {
    const window = state[name];
    if (window) address.set(name, window.map((instant) => (instant / 1e9).toFixed(6)).join("-"));
  }
  if (state.zoom.length > 0) address.set("zoom", writeZoom(state, names));
  if (state.file) address.set("file", state.file);
  if (state.line > 0) address.set("line", String(state.line));
  if (state.chosen >= 0) address.set("function", String(state.chosen));
  return address.toString();
}

/** The state an address asks for; what is not known or not of this profile is passed over. */
export function readAddress(text: string, initial: State, names: Names): State {
  const address = new URLSearchParams(text);
  const state: State = { ...initial, search: address.get("search") ?? "" };
  const choices = state as unknown as Record<string, unknown>;
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = address.get(name);
    if ((allowed as readonly string[]).includes(value ?? "")) choices[name] = value;
  }
  for (const name of SWITCHES) {
    const value = address.get(name);
    if (value === "0" || value === "1") state[name] = value === "1";
  }
  const minimum = Number(address.get("minimum") ?? initial.minimum);
  if ((MINIMUMS as readonly number[]).includes(minimum)) state.minimum = minimum;
  state.filters = [
    ...address.getAll("only").flatMap((part) => readFilter(part, false, names)),
    ...address.getAll("without").flatMap((part) => readFilter(part, true, names)),
  ];
  state.transforms = address.getAll("change").flatMap((part) => readTransform(part, names));
  for (const name of WINDOWS) state[name] = readWindow(address.get(name));
  state.zoom = readZoom(address.get("zoom") ?? "", state, names);
  state.file = address.get("file") ?? "";
  const line = Number(address.get("line") ?? 0);
  state.line = Number.isInteger(line) && line > 0 ? line : 0;
  const chosen = Number(address.get("function") ?? -1);
  state.chosen = isRow(chosen, names.profile.function_name.length) ? chosen : -1;
  return state;
}

/** Where the entries of each sort begin; rows are written, which stay the same while a profile grows. */
function entrySorts(names: Names): [sort: string, first: number, end: number][] {
  return [
    ["p", names.firstProcess, names.firstThread], ["t", names.firstThread, names.firstFunction],
    ["f", names.firstFunction, names.firstFrame], ["l", names.firstFrame, names.firstGroup], ["g", names.firstGroup, names.size],
  ];
}

function writeZoom({ order, zoom }: State, names: Names): string {
  if (order === "time") return `n${zoom[0].toString(36)}`;
  const sorts = entrySorts(names);
  return zoom.map((entry) => {
    const [sort, first] = sorts.find(([, from, end]) => entry >= from && entry < end) ?? ["p", 0];
    return `${sort}${(entry - first).toString(36)}`;
  }).join(".");
}

function readZoom(text: string, { order }: State, names: Names): number[] {
  if (text === "") return [];
  const sorts = entrySorts(names);
  const zoom = text.split(".").map((part) => {
    const row = parseInt(part.slice(1), 36);
    if (order === "time") return part.startsWith("n") && row >= 0 ? row : -1;
    const [, first, end] = sorts.find(([sort]) => part.startsWith(sort)) ?? ["", 0, 0];
    return isRow(row, end - first) ? first + row : -1;
  });
  return zoom.includes(-1) || (order === "time" && zoom.length > 1) ? [] : zoom;
}

function isRow(row: number, size: number): boolean {
  return Number.isInteger(row) && row >= 0 && row < size;
}

function split(part: string): [string, string] {
  const at = part.indexOf(":");
  return [part.slice(0, at), part.slice(at + 1)];
}

function readFilter(part: string, not: boolean, names: Names): Filter[] {
  const [by, value] = split(part);
  if (!(FILTER_SORTS as readonly string[]).includes(by)) return [];
  if (by === "function" && !isRow(Number(value), names.profile.function_name.length)) return [];
  return [{ by: by as FilterSort, value, not }];
}

function readTransform(part: string, names: Names): Transform[] {
  const [deed, text] = split(part);
  const row = Number(text);
  const size = deed === "collapse" ? names.libraries.texts.length : names.profile.function_name.length;
  return (DEEDS as readonly string[]).includes(deed) && isRow(row, size) ? [{ deed: deed as Deed, row }] : [];
}

function readWindow(text: string | null): TimeWindow | null {
  const [from, to] = (text ?? "").split("-").map((instant) => Math.round(Number(instant) * 1e9));
  return Number.isFinite(from) && Number.isFinite(to) && from >= 0 && from < to ? [from, to] : null;
}
