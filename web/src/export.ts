// What is seen, as a file.

import { KIND_INCOMPLETE, KIND_KERNEL, KIND_NATIVE, KIND_INTERPRETER, KIND_PYTHON } from "./model/kinds";
import { NONE } from "./data/profile";
import { pngOf, svgOf } from "./export_picture";
import { compress, pprofOf, seenStacks, speedscopeOf } from "./export_profile";
import type { Page } from "./page";
import { finish } from "./model/steps";
import { sumRows, tableRows } from "./view/table";

/** As in `crates/encode/src/folded.rs`: a line is always one stack, and `;` always separates frames. */
function escapeFolded(text: string): string {
  const short: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return text.replace(/[\\;\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => short[character] ?? `\\u{${character.charCodeAt(0).toString(16)}}`);
}

/** A box as a frame of the folded format; the whole has none. */
export function foldedFrame(page: Page, entry: number): string {
  const { names, profile, state } = page;
  const row = names.functionRow(entry);
  const raw = (index: number) => index === NONE ? "" : escapeFolded(profile.strings[index]);
  if (row < 0) {
    if (entry >= names.firstGroup) return escapeFolded(names.libraries.texts[entry - names.firstGroup]);
    if (entry >= names.firstThread) {
      const { name, tid } = profile.threads[entry - names.firstThread];
      return `${raw(name)} (${tid})`;
    }
    const { name, pid } = profile.processes[entry - names.firstProcess];
    return state.mergeProcesses ? raw(name) : `${raw(name)} (${pid})`;
  }
  const name = raw(profile.function_name[row]), file = raw(profile.function_file[row]), library = raw(profile.function_library[row]);
  const line = names.line(entry);
  switch (profile.function_kind[row]) {
    case KIND_PYTHON: return `${file ? `${name} (${line ? `${file}:${line}` : file})` : name}_[p]`;
    case KIND_NATIVE: case KIND_INTERPRETER: {
      const bare = name.startsWith("[") && name.endsWith("]") && name.includes("+0x");
      return `${library && !bare ? `${name} (${library})` : name}_[pn]`;
    }
    case KIND_KERNEL: return `${name}_[k]`;
    case KIND_INCOMPLETE: return `[${name}]_[e]`;
    default: return name;
  }
}

/** By code points, as UTF-8 sorts. */
function compareTexts(left: string, right: string): number {
  const rank = (unit: number) => unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit;
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at++) {
    const [a, b] = [left.charCodeAt(at), right.charCodeAt(at)];
    if (a !== b) return rank(a) - rank(b);
  }
  return left.length - right.length;
}

/** The stacks below the zoomed box, with the way to it. */
export function foldedStacks(page: Page): string {
  const texts = new Map<number, string>();
  const sums = new Map<string, number>();
  const textOf = (entry: number) => {
    let text = texts.get(entry);
    if (text === undefined) texts.set(entry, text = foldedFrame(page, entry));
    return text;
  };
  for (const { entries, value } of seenStacks(page)) {
    if (entries.length === 0) continue;
    const line = entries.map(textOf).join(";");
    sums.set(line, (sums.get(line) ?? 0) + value);
  }
  return [...sums].sort(([a], [b]) => compareTexts(a, b)).map(([line, count]) => `${line} ${Math.round(count)}\n`).join("");
}

/** A cell that a spreadsheet would take for a formula gets a quote in front; a number is none. */
function csvCell(value: string | number): string {
  if (typeof value === "number") return `"${value}"`;
  return `"${value.replace(/^[=+\-@\t\r]/, "'$&").replace(/"/g, '""')}"`;
}

/** The table as it is sorted. */
export function csvOf(page: Page): string {
  const head = ["name", "where", "self", "total", "python", "native", "kernel", "gil"];
  const rows = tableRows(page, finish(sumRows(page, page.state.group)), page.state.group, page.state).map((row) => [row.name, row.place, row.self, row.total, row.python, row.native, row.kernel, row.gil]);
  return csv([head, ...rows]);
}

function download(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function csv(rows: (string | number)[][]): string {
  return rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
}

export type ExportFormat = "svg" | "png" | "folded" | "csv" | "changes" | "lines" | "pprof" | "speedscope";

export function exportSeen(page: Page, format: ExportFormat): void {
  const text = (name: string, content: string, type: string) => download(name, new Blob([content], { type }));
  switch (format) {
    case "svg": return text("viperf.svg", svgOf(page), "image/svg+xml");
    case "png": return pngOf(page).toBlob((blob) => { if (blob) download("viperf.png", blob); });
    case "folded": return text("viperf.folded", foldedStacks(page), "text/plain");
    case "speedscope": return text("viperf.speedscope.json", speedscopeOf(page), "application/json");
    case "pprof": return void compress(pprofOf(page)).then((blob) => download("viperf.pb.gz", blob));
    case "csv": return text("viperf.csv", csvOf(page), "text/csv");
    case "changes": return text("viperf-changes.csv", csv(page.difference.csvRows()), "text/csv");
    case "lines": return text("viperf-lines.csv", csv(page.sourceView.csvRows()), "text/csv");
  }
}
