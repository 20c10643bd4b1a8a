// What is under the pointer, in full.

import { formatShare } from "../format";
import { KIND_NAMES, KIND_PROCESS, KIND_PYTHON } from "../model/kinds";
import { printable } from "../model/names";
import type { LineSum } from "../model/sums";
import type { Tree } from "../model/tree";
import type { Page } from "../page";
import { byId, element } from "./dom";
import { swatch } from "./swatch";

const LINES_SHOWN = 5;
/** Longer names are cut in the middle: both ends of a hostile or generated name say more than its middle. */
const LONGEST_NAME = 600;

export function shorten(text: string, longest = LONGEST_NAME): string {
  if (text.length <= longest) return text;
  return `${text.slice(0, longest / 2)} … ${text.length - longest} more … ${text.slice(-longest / 2)}`;
}

export class Tooltip {
  private readonly box = byId("tooltip");
  private shown: { tree: Tree; node: number } | null = null;

  constructor(private readonly page: Page) {}

  hide(): void {
    this.shown = null;
    this.box.hidden = true;
  }

  show(tree: Tree, node: number, zoom: number, x: number, y: number): void {
    if (this.shown?.tree !== tree || this.shown.node !== node) {
      this.shown = { tree, node };
      this.box.replaceChildren(...this.content(tree, node, zoom));
      this.box.hidden = false;
    }
    // Beside the pointer, on whichever side there is room.
    const { width, height } = this.box.getBoundingClientRect();
    const left = x + 14 + width > innerWidth - 8 ? Math.max(8, x - 14 - width) : x + 14;
    const top = y + 18 + height > innerHeight - 8 ? Math.max(8, y - 12 - height) : y + 18;
    this.box.style.transform = `translate(${left}px, ${top}px)`;
  }

  private content(tree: Tree, node: number, zoom: number): HTMLElement[] {
    const { names, state, colors, difference } = this.page;
    if (tree === difference.tree) return difference.tooltip(node);
    const entry = tree.entry[node];
    const kind = names.kind(entry);
    const parts: HTMLElement[] = [element("div", { class: "name" }, shorten(names.name(entry, state.mergeProcesses)))];
    const place = this.place(entry, kind);
    if (place) parts.push(element("div", { class: "place" }, shorten(place)));
    parts.push(element("div", { class: "kind" }, swatch(colors, kind), KIND_NAMES[kind]));
    if (kind === KIND_PROCESS) parts.push(...this.fields(entry));
    parts.push(this.amounts(tree, node, zoom));
    if (kind === KIND_PYTHON && !state.lines && tree === this.page.tree) {
      const row = names.functionRow(entry);
      const { profile, sourceView: { sources } } = this.page;
      const path = profile.strings[profile.function_file[row]] ?? "";
      parts.push(...renderLines(this.page, this.page.linesOf(row, node), LINES_SHOWN, (line) => sources.line(profile, path, line)));
    }
    return parts;
  }

  private place(entry: number, kind: number): string {
    const { names } = this.page;
    if (kind === KIND_PROCESS) return names.string(names.profile.processes[entry - names.firstProcess].command_line);
    return names.place(entry);
  }

  private fields(entry: number): HTMLElement[] {
    const { names } = this.page;
    const row = entry - names.firstProcess;
    const fields = names.fieldsOf(row);
    // The box is called by its title.
    const isTitled = fields.delete("title");
    const name: [string, string][] = isTitled ? [["process", names.profile.strings[names.profile.processes[row].name] ?? ""]] : [];
    return [...name, ...fields].map(([name, value]) =>
      element("div", { class: "kind" }, shorten(`${printable(name.replaceAll("_", " "))}: ${printable(value)}`)));
  }

  private amounts(tree: Tree, node: number, zoom: number): HTMLElement {
    const { scale } = this.page;
    const row = (title: string, value: number) => element("tr", {},
      element("th", {}, title), element("td", {}, scale.share(value)),
      element("td", {}, scale.time(value)), element("td", {}, scale.samples(value)));
    const table = element("table", {}, row("Total", tree.total[node]), row("Self", tree.self[node]));
    const part = (title: string, of: number) => table.append(element("tr", {},
      element("th", {}, title), element("td", {}, formatShare(tree.total[node], tree.total[of]))));
    if (node > 0) part("Of its parent", tree.parent[node]);
    if (zoom > 0 && tree.depth[node] > tree.depth[zoom] + 1) part("Of the zoomed", zoom);
    return table;
  }
}

/** Longer lines of source are cut. */
const LONGEST_LINE = 120;

/** Where in a function the time goes: a line has total while it waits for what it calls; `text` is what stands on it. */
export function renderLines(page: Page, lines: LineSum[], most: number, text: (line: number) => string = () => ""): HTMLElement[] {
  const shown = lines.slice(0, most);
  if (shown.length === 0 || (lines.length === 1 && shown[0].line === 0)) return [];
  const table = element("table", {}, element("tr", {},
    element("th", {}, lines.length > shown.length ? `Top ${shown.length} of ${lines.length} lines` : "Lines"),
    element("th", {}, "total"), element("th", {}, "self")));
  for (const { line, total, self } of shown) {
    const row = element("tr", {},
      element("th", {}, line === 0 ? "unknown" : `line ${line}`),
      element("td", {}, page.scale.share(total)), element("td", {}, page.scale.share(self)));
    const source = printable(text(line).trim().slice(0, LONGEST_LINE));
    if (source) row.append(element("td", { class: "code" }, source));
    table.append(row);
  }
  return [element("div", { class: "lines" }, table)];
}
