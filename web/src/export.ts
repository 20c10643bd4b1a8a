// What is seen, as a file: SVG, PNG, folded stacks, a table.

import { KIND_INCOMPLETE, KIND_KERNEL, KIND_NATIVE, KIND_INTERPRETER, KIND_PYTHON } from "./model/kinds";
import { NONE } from "./data/profile";
import type { Page } from "./page";
import { ROW, type FlameGraph } from "./view/graph";
import { tableRows } from "./view/table";
import { TextFitter } from "./view/text";

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
  const { tree } = page;
  const top = page.zoomOf(tree);
  const texts = new Map<number, string>();
  const inside = new Uint8Array(tree.size);
  const sums = new Map<string, number>();
  const textOf = (entry: number) => {
    let text = texts.get(entry);
    if (text === undefined) texts.set(entry, text = foldedFrame(page, entry));
    return text;
  };
  for (let node = 0; node < tree.size; node++) {
    inside[node] = node === top || (node > 0 && inside[tree.parent[node]]) ? 1 : 0;
    if (!inside[node] || tree.self[node] === 0 || node === 0) continue;
    const frames = [];
    for (let step = node; step > 0; step = tree.parent[step]) frames.push(textOf(tree.entry[step]));
    const line = frames.reverse().join(";");
    sums.set(line, (sums.get(line) ?? 0) + tree.self[node]);
  }
  return [...sums].sort(([a], [b]) => compareTexts(a, b)).map(([line, count]) => `${line} ${Math.round(count)}\n`).join("");
}

function escapeXml(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;" };
  return text.toWellFormed().replace(/[\ufffe\uffff]/g, "\ufffd").replace(/[&<>"']/g, (character) => names[character]);
}

/** The graph as it is zoomed, all of its levels, as a picture that can be scaled. */
export function svgOf(page: Page, graph: FlameGraph): string {
  const { tree, width } = graph;
  if (!tree) return "";
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  context.font = "12px sans-serif";
  const fitter = new TextFitter(context);
  const height = graph.contentHeight() + ROW;
  const { palette } = page.colors;
  const resolve = (color: string): string => {
    // Most programs that show SVG do not know oklch.
    context.fillStyle = palette.background;
    context.fillRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
    return `rgb(${red},${green},${blue})`;
  };
  const resolved = new Map<string, string>();
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="${resolve(palette.background)}"/>`,
    `<text x="6" y="14" fill="${resolve(palette.text)}">${escapeXml(`${document.title} – ${page.scale.amount(tree.total[graph.zoom])}`)}</text>`,
  ];
  for (const { node, x, y, width: wide } of graph.wideBoxes()) {
    const entry = tree.entry[node];
    const color = page.colors.of(entry, tree.self[node] / tree.total[node]);
    const fill = resolved.get(color) ?? resolve(color);
    resolved.set(color, fill);
    const name = page.names.name(entry, page.state.mergeProcesses);
    const title = `${page.names.searchText(entry, page.state.mergeProcesses)}: ${page.scale.share(tree.total[node])}, ${page.scale.amount(tree.total[node])}`;
    const label = wide > 28 ? fitter.fit(name, wide - 10) : "";
    const top = y + ROW;
    parts.push(`<g><title>${escapeXml(title)}</title><rect x="${x.toFixed(2)}" y="${top}" width="${Math.max(0.5, wide - (wide > 3 ? 1 : 0)).toFixed(2)}" height="${ROW - 1}" fill="${fill}"/>${
      label ? `<text x="${(x + 5).toFixed(2)}" y="${top + 14}" fill="${resolve(palette.text)}">${escapeXml(label)}</text>` : ""}</g>`);
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

/** The table as it is sorted. */
export function csvOf(page: Page): string {
  // A cell that a spreadsheet would take for a formula gets a quote in front.
  const cell = (value: string | number) => `"${String(value).replace(/^[=+\-@\t\r]/, "'$&").replace(/"/g, '""')}"`;
  const head = ["name", "where", "self", "total", "python", "native", "kernel"];
  const rows = tableRows(page, page.state.group, page.state).map((row) => [row.name, row.place, row.self, row.total, row.python, row.native, row.kernel]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function download(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export type ExportFormat = "svg" | "png" | "folded" | "csv";

export function exportSeen(page: Page, format: ExportFormat): void {
  const text = (content: string, type: string) => download(`viperf.${format}`, new Blob([content], { type }));
  switch (format) {
    case "svg": return text(svgOf(page, page.graph), "image/svg+xml");
    case "folded": return text(foldedStacks(page), "text/plain");
    case "csv": return text(csvOf(page), "text/csv");
    case "png": page.graph.picture.toBlob((blob) => { if (blob) download("viperf.png", blob); });
  }
}
