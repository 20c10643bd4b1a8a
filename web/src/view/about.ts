// What was profiled and how well: the head line, the quality of the data, the keys.

import type { Cost, Profile } from "../data/profile";
import { formatBytes, formatCount, formatDuration, formatInstant, formatNumber, formatShare, formatTime, Scale } from "../format";
import { gilByFunction } from "../model/gil";
import { printable, type Names } from "../model/names";
import type { Source } from "../model/source";
import { finish } from "../model/steps";
import { byId, element, type Child } from "./dom";
import { profileTitle, targetName } from "./title";
import { shorten } from "./tooltip";

function processesAndThreads(profile: Profile): string {
  const processes = formatCount(profile.processes.length, "process", "processes");
  return `${processes}, ${formatCount(profile.threads.length, "thread")}`;
}

export function renderHead(profile: Profile): void {
  const { information } = profile;
  const name = shorten(targetName(profile), 300);
  byId("target").textContent = name;
  byId("target").title = name;
  const parts = [
    element("span", {}, formatCount(profile.samples, "sample")),
    element("span", {}, information.rate_hz ? `${formatNumber(information.rate_hz)} Hz` : ""),
    element("span", {}, information.duration_ns ? formatDuration(information.duration_ns) : ""),
    element("span", {}, processesAndThreads(profile)),
    element("span", {}, profile.samples === 0 ? "" : `${formatShare(profile.complete, profile.samples)} complete`),
    element("span", { class: "warn" }, profile.lost ? `${formatNumber(profile.lost)} lost` : ""),
  ];
  byId("facts").replaceChildren(...parts.filter((part) => part.textContent));
}

function closeForm(): HTMLElement {
  return element("form", { method: "dialog" }, element("button", { class: "quiet", "aria-label": "Close" }, "Close"));
}

function factTable(rows: [title: string, value: string][]): HTMLElement {
  return element("table", {}, ...rows.filter(([, value]) => value).map(([title, value]) =>
    element("tr", {}, element("th", { scope: "row" }, title), element("td", {}, value))));
}

/** `null` when nothing is known. */
function costTable(profile: Profile, cost: Cost, duration: number): HTMLElement | null {
  const { duration_ns: recorded } = profile.information;
  const all = profile.samples + profile.lost, lasted = recorded || duration;
  const share = (time: number) => lasted > 0 ? `${formatShare(time, lasted)} of one CPU` : "";
  const rows: [title: string, value: string][] = [
    ["In the kernel", cost.bpf_time_ns ? [all > 0 ? `${formatTime(cost.bpf_time_ns / all)} per sample` : "", share(cost.bpf_time_ns)].filter(Boolean).join(", ") : ""],
    ["viperf itself", cost.cpu_time_ns ? [formatTime(cost.cpu_time_ns), share(cost.cpu_time_ns)].filter(Boolean).join(", ") : ""],
    ["Memory", [cost.peak_memory_bytes ? `${formatBytes(cost.peak_memory_bytes)} at most` : "", cost.bpf_map_bytes ? `${formatBytes(cost.bpf_map_bytes)} in the kernel` : ""].filter(Boolean).join(", ")],
    ["Lowest rate", cost.lowest_rate_hz ? `${formatNumber(cost.lowest_rate_hz)} Hz, lowered to keep the CPU budget` : ""],
    ["First sample", cost.first_sample_ns ? `${formatTime(cost.first_sample_ns)} after viperf was called` : ""],
  ];
  return rows.some(([, value]) => value) ? factTable(rows) : null;
}

/** Functions that the details name. */
const MOST_TAKING = 10;

/** Which Python functions take the GIL, in the whole profile; `null` if none does. */
function gilPart(source: Source, names: Names): Child[] | null {
  const all = finish(gilByFunction(source, names));
  const sum = all.reduce((before, [, amount]) => before + amount, 0);
  if (sum === 0) return null;
  const scale = new Scale(names.profile, source.samples.total);
  const rows = all.slice(0, MOST_TAKING).map(([row, amount]) => element("tr", {}, element("td", {}, shorten(names.searchText(names.firstFunction + row), 300)),
    element("td", { class: "number" }, scale.time(amount) || scale.samples(amount)), element("td", { class: "number" }, scale.share(amount))));
  const more = all.length > MOST_TAKING ? [element("p", { class: "soft" }, `and ${formatCount(all.length - MOST_TAKING, "more function")}`)] : [];
  return [element("h3", {}, `${scale.share(sum)} of the time was spent on taking the GIL`),
    element("p", { class: "soft" }, `${scale.amount(sum)} on the CPU in asking for it, going to sleep and waking up; the time asleep is not in it. By Python function:`),
    element("table", { id: "gil" }, ...rows), ...more];
}

/** `source` is `null` when there are no samples. */
export function renderDetails(profile: Profile, known: { source: Source; names: Names } | null, dialog: HTMLDialogElement): void {
  const duration = known?.source.duration ?? 0;
  const { information } = profile;
  const text = (value: string) => printable(value ?? "");
  const period = information.period_ns ? `one sample stands for ${formatTime(information.period_ns)}` : "";
  const rate = information.rate_hz ? `${formatNumber(information.rate_hz)} Hz asked for` : "";
  const achieved = duration > 0 ? `${(profile.samples / duration * 1e9).toFixed(1)} samples per second over all targets` : "";
  const share = (count: number) => formatShare(count, profile.samples);
  const meter = element("div", { class: "quality", role: "img", "aria-label": `${share(profile.complete)} of samples are complete` });
  const whole = element("span", { class: "quality-complete" });
  whole.style.width = `${profile.samples > 0 ? profile.complete / profile.samples * 100 : 0}%`;
  meter.append(whole);
  const parts: Child[] = [closeForm(), element("h2", { id: "details-title" }, "About this profile"),
    element("h3", {}, `${share(profile.complete)} of samples are complete`), meter, factTable([
      ["Samples", `${formatNumber(profile.samples)}, of which ${formatNumber(profile.complete)} complete`],
      ["Lost", profile.lost ? `${formatNumber(profile.lost)} that the kernel took and that never arrived` : "none"],
      ["Rate", [rate, period].filter(Boolean).join("; ")],
      ["Achieved", achieved],
    ])];
  const reasons = Object.entries(profile.incomplete).sort((a, b) => b[1] - a[1]);
  if (reasons.length > 0) {
    parts.push(element("h3", {}, "Why samples are incomplete"), element("table", {}, ...reasons.map(([reason, count]) =>
      element("tr", {}, element("td", {}, printable(reason)), element("td", { class: "number" }, formatNumber(count)),
        element("td", { class: "number" }, share(count))))));
  }
  parts.push(...known && gilPart(known.source, known.names) || []);
  const cost = information.cost && costTable(profile, information.cost, duration);
  if (cost) parts.push(element("h3", {}, "What the recording has cost"), cost);
  for (const [at, side] of (profile.comparison?.sides ?? []).entries()) {
    parts.push(element("h3", {}, at === 0 ? "The base" : "The new recording"), factTable([
      ["File", shorten(text(side.name))], ["Target", shorten(text(side.target))], ["Machine", text(side.hostname)],
      ["Started", side.started_unix_ms ? formatInstant(side.started_unix_ms) : ""],
      ["Duration", side.duration_ns ? formatDuration(side.duration_ns) : ""],
      ["Rate", side.rate_hz ? `${formatNumber(side.rate_hz)} Hz asked for` : ""],
    ]));
  }
  if (!profile.comparison) parts.push(element("h3", {}, "What was recorded"), factTable([
    ["Target", shorten(text(information.target))],
    ["Machine", [text(information.hostname), information.kernel && `Linux ${text(information.kernel)}`].filter(Boolean).join(", ")],
    ["Started", information.started_unix_ms ? formatInstant(information.started_unix_ms) : ""],
    ["Duration", information.duration_ns ? formatDuration(information.duration_ns) : ""],
    ["Written by", information.viperf_version && `viperf ${text(information.viperf_version)}`],
  ]));
  parts.push(element("h3", {}, processesAndThreads(profile)), element("table", {}, ...profile.processes.slice(0, MOST_PROCESSES).map((process) => {
    const string = (index: number) => shorten(text(profile.strings[index]), 300);
    const version = process.python_version === null ? "" : `Python ${string(process.python_version)}`;
    return element("tr", {}, element("th", {}, `${string(process.title ?? process.name)} (${process.pid})`),
      element("td", {}, string(process.command_line)), element("td", { class: "number" }, version));
  })));
  if (profile.processes.length > MOST_PROCESSES) parts.push(element("p", { class: "soft" }, `and ${profile.processes.length - MOST_PROCESSES} more`));
  dialog.replaceChildren(...parts);
}

const MOST_PROCESSES = 200;

const KEYS: [string, string][] = [
  ["1 … 7", "flame graph, sandwich, functions, call tree, source, timeline, difference"],
  ["/", "search"], ["n", "next match, the largest first; in lists, the next row; in the source, the next hot line"], ["N", "previous match, row or hot line"],
  ["← → ↑ ↓", "outline the box beside, above or below"], ["Enter", "zoom to the outlined box"],
  ["m", "what can be done with the outlined box"], ["Escape", "one step back; leave the search"],
  ["[ ]", "back and forward in history"], ["r", "reset: everything, no search, no filters"],
  ["i", "root on top or at the bottom"], ["o", "order of size, of time, or inverted"], ["c", "next colouring"],
  ["p", "Python only, or all frames"], ["f", "add a filter"], ["w", "choose a stretch of time: ← → move it, with Shift its end"],
  ["e", "export"], ["v", "view menu"], ["q", "quality and details"], ["z", "live: stand still, or follow"], ["d", "light or dark"], ["?", "these keys"],
];

export function renderHelp(dialog: HTMLDialogElement): void {
  const row = ([keys, text]: [string, string]) => element("tr", {},
    element("th", {}, ...keys.split(" ").flatMap((key) => [element("kbd", {}, key), " "])), element("td", {}, text));
  dialog.replaceChildren(closeForm(), element("h2", { id: "help-title" }, "Keys"), element("table", {}, ...KEYS.map(row)),
    element("p", { class: "soft" }, "In lists, arrows move from row to row and Enter chooses. A right click or a long touch opens the menu of a box. Drag on the timeline to choose a stretch of time; a double click takes it back."));
}

export function renderEmpty(profile: Profile): void {
  document.title = profileTitle(profile);
  const reasons = Object.keys(profile.incomplete).map(printable);
  const message = byId("message");
  message.replaceChildren(element("h2", {}, "No samples were taken"),
    element("p", {}, "Samples are taken while a thread runs on a CPU. What was profiled may have slept, waited or ended."),
    element("p", {}, "Record for longer, at a higher rate, or while there is work to do."),
    element("p", {}, profile.lost ? `${formatCount(profile.lost, "sample was", "samples were")} lost.` : ""),
    element("p", {}, reasons.length > 0 ? `Seen on the way: ${reasons.join(", ")}.` : ""));
  message.hidden = false;
}
