// What changed: between two recordings, or between two stretches of one. The graph has a box for what either side has; the
// table has the very figures of `viperf diff`.

import { formatCount, formatDuration, formatNumber, formatPoints, formatShare } from "../../format";
import { Computation, type Choice, type Comparison } from "../../model/compare/computation";
import { changeSize, isChange, type DiffRow } from "../../model/compare/rows";
import type { Side } from "../../model/compare/sides";
import type { TimeWindow } from "../../model/filters";
import { KIND_NAMES } from "../../model/kinds";
import { printable } from "../../model/names";
import { findPath, pathTo, type MappedTree } from "../../model/tree";
import type { Page } from "../../page";
import type { State } from "../../state";
import { byId, element, type Child } from "../dom";
import { FlameGraph } from "../graph";
import { Job } from "../job";
import { renderPath, renderSearch } from "../path";
import { connectPointer } from "../pointer";
import { colorSwatch, swatch } from "../swatch";
import { shorten } from "../tooltip";
import { ChangeTable } from "./changes";
import { changeColor, decorate, readChangePalette, type ChangePalette } from "./paint";
import { Strip } from "./strip";

const VERDICT_TEXT: Record<string, string> = {
  appeared: "appeared: the base has none of it", vanished: "vanished: the new one has none of it", grew: "grew", shrank: "shrank",
  unchanged: "no change: chance explains it", "too-few-samples": "too few samples to tell",
};

export class Difference {
  readonly graph: FlameGraph;
  /** What is seen; `null` before the first time. */
  private shown: Comparison | null = null;
  /** What was asked of the boxes that are shown. */
  private readonly judged = new Map<number, DiffRow | null>();
  private readonly computation = new Computation();
  private readonly job = new Job();
  private key: unknown[] = [];
  private readonly table: ChangeTable;
  private readonly strips: Strip[];
  private isNew = true;

  constructor(private readonly page: Page) {
    this.graph = new FlameGraph(byId("difference-graph"), page.names);
    this.graph.merged = true;
    connectPointer(page, this.graph, (node) => this.zoom(node));
    this.table = new ChangeTable(page);
    this.strips = [new Strip(page, "window-a", () => this.windows()[0], (windowA) => page.update({ windowA }, "push")),
      new Strip(page, "window-b", () => this.windows()[1], (windowB) => page.update({ windowB }, "push"))];
    byId("swap-windows").addEventListener("click", () => {
      const [windowB, windowA] = this.windows();
      page.update({ windowA, windowB }, "push");
    });
    this.connectChoices();
  }

  private connectChoices(): void {
    const { page } = this;
    for (const box of this.radios()) {
      box.addEventListener("change", () => page.update({ [box.name]: box.value } as Partial<State>, "push"));
    }
    for (const name of ["boxWidth", "changeColors"] as const) {
      const field = byId<HTMLSelectElement>(name);
      field.addEventListener("change", () => page.update({ [name]: field.value } as Partial<State>, "push"));
    }
    const chance = byId<HTMLInputElement>("chance");
    chance.addEventListener("change", () => page.update({ chance: chance.checked }, "replace"));
  }

  private radios(): NodeListOf<HTMLInputElement> {
    return document.querySelectorAll<HTMLInputElement>("#difference-panel input[type=radio]");
  }

  /** The two stretches; the halves of the recording until others are chosen. */
  windows(): [TimeWindow, TimeWindow] {
    const { state: { windowA, windowB }, source: { duration } } = this.page;
    const middle = Math.round(duration / 2);
    return [windowA ?? [0, middle], windowB ?? [middle, Math.ceil(duration)]];
  }

  zoom(node: number): void {
    if (!this.tree || node === this.graph.zoom) return;
    this.page.update({ zoom: pathTo(this.tree, node) }, "push");
  }

  /** Computes what is chosen and shows it: at once, or, when that takes long, with a line that tells how far it is. */
  fill(): void {
    this.renderChoices();
    byId("difference-windows").hidden = this.page.profile.comparison !== undefined;
    for (const strip of this.strips) strip.draw();
    const choice = this.choice();
    const key = Object.values(choice).flat(2);
    if (this.job.isRunning && key.length === this.key.length && key.every((each, at) => each === this.key[at])) return;
    this.key = key;
    this.job.start(this.computation.steps(choice), (shown) => this.show(shown), (done) => this.wait(done));
  }

  private choice(): Choice {
    const { profile, source, names, selection, state, searchTest: { test } } = this.page;
    const { processes, native, kernel, interpreter, transforms, minimum, normalize, boxWidth, changes, chance } = state;
    const [window, windows] = profile.comparison ? [state.window, null] : [null, this.windows()];
    return {
      profile, source, names, selection, window, windows, processes, native, kernel, interpreter, transforms, minimum,
      normalize, boxWidth, changes, chance, test,
    };
  }

  private wait(done: number): void {
    const { samples } = this.page.source;
    const line = byId("difference-progress");
    line.hidden = false;
    line.textContent = `Comparing ${formatCount(samples.count, "sample")}: ${Math.floor(done * 100)} %`;
    byId("difference-panel").setAttribute("aria-busy", "true");
    // The picture of another profile may stay until its successor is there, but its boxes are nothing to ask of any more.
    if (this.shown && this.shown.source !== this.page.source) Object.assign(this.graph, { tree: null, hover: -1, selected: -1 });
  }

  private show(shown: Comparison): void {
    const { page, graph } = this;
    const { state } = page;
    byId("difference-progress").hidden = true;
    byId("difference-panel").removeAttribute("aria-busy");
    const isNew = this.shown?.tree !== shown.tree;
    if (this.shown?.boxes !== shown.boxes) this.judged.clear();
    this.shown = shown;
    const palette = readChangePalette(state.changeColors);
    Object.assign(graph, { names: shown.names, colors: page.colors, flame: state.root === "bottom", decoration: decorate((node) => this.box(node), palette) });
    if (isNew || graph.tree !== shown.tree) graph.setTree(shown.tree);
    this.isNew ||= isNew;
    graph.zoomTo(findPath(shown.tree, state.zoom));
    this.revealFirstChange();
    graph.found = shown.found;
    graph.redraw();
    this.table.palette = palette;
    this.table.show(shown.changes, shown.rows);
    this.renderSummary(shown);
    renderPath(page);
    renderSearch(page);
  }

  /** What is to be thought of a box; `null` if it has too few samples. */
  box(node: number): DiffRow | null {
    const known = this.judged.get(node);
    if (known !== undefined || !this.shown) return known ?? null;
    const { boxes } = this.shown;
    const box = boxes.has(node) ? boxes.row(node) : null;
    this.judged.set(node, box);
    return box;
  }

  get tree(): MappedTree | null {
    return this.graph.tree && this.shown ? this.shown.tree : null;
  }

  /** What all stacks begin with has seldom changed: a new graph is shown from the first box on that has. */
  private revealFirstChange(): void {
    const { tree, graph } = this;
    if (!this.isNew || !tree || graph.scroller.clientHeight === 0) return;
    this.isNew = false;
    const first = tree.total.findIndex((total, node) => total >= tree.total[0] / 50 && isChange(this.box(node)?.verdict ?? "unchanged"));
    if (first > 0 && graph.zoom === 0) graph.reveal(first);
  }

  private renderChoices(): void {
    const { state } = this.page;
    for (const box of this.radios()) box.checked = state[box.name as "normalize" | "changes"] === box.value;
    byId<HTMLSelectElement>("boxWidth").value = state.boxWidth;
    byId<HTMLSelectElement>("changeColors").value = state.changeColors;
    byId<HTMLInputElement>("chance").checked = state.chance;
  }

  private sideText(which: 0 | 1, side: Side): string {
    const { profile: { comparison }, state } = this.page;
    const name = comparison ? `${shorten(printable(comparison.sides[which].name), 80)}: ` : "";
    const cpus = state.normalize === "time" && side.duration > 0 ? `${formatShare(side.ns, side.duration)} of one CPU` : "";
    return name + [formatCount(side.samples.length, "sample"), side.duration > 0 ? formatDuration(side.duration) : "", cpus].filter(Boolean).join(", ");
  }

  private renderSummary({ sides, changes, rows }: Comparison): void {
    const { state } = this.page;
    byId("difference-base").textContent = this.sideText(0, sides[0]);
    byId("difference-new").textContent = this.sideText(1, sides[1]);
    byId("difference-method").textContent = state.normalize === "samples"
      ? "100 % are all samples of a side" : "100 % is one CPU for the whole time of a side";
    byId("changes-count").textContent = sides.some(({ samples }) => samples.length === 0) ? "One side has no samples: nothing can be compared."
      : `${formatNumber(changes.changed)} of ${formatCount(changes.count, state.changes === "functions" ? "function" : "stack")} changed beyond chance`;
    byId("changes-none").hidden = rows.length > 0;
    byId("changes-none").textContent = state.search ? "Nothing that changed matches the search." : "Nothing changed beyond what chance explains.";
  }

  /** What is under the pointer: both shares, the difference, and where it surely lies. */
  tooltip(node: number): HTMLElement[] {
    const { page, tree, graph: { names } } = this;
    const box = this.box(node);
    if (!tree) return [];
    const entry = tree.entry[node];
    const parts = [element("div", { class: "name" }, shorten(names.name(entry, true)))];
    const place = names.place(entry);
    if (place) parts.push(element("div", { class: "place" }, shorten(place)));
    parts.push(element("div", { class: "kind" }, swatch(page.colors, names.kind(entry)), KIND_NAMES[names.kind(entry)]));
    if (!box) return [...parts, element("div", { class: "kind" }, VERDICT_TEXT["too-few-samples"])];
    const { total, own } = box;
    const row = (title: string, ...cells: Child[]) => element("tr", {}, element("th", {}, title), ...cells.map((cell) => element("td", {}, cell)));
    parts.push(element("table", {},
      row("", "base", "new", "change"),
      row("Total", formatShare(total.base, 1), formatShare(total.after, 1), formatPoints(changeSize(total))),
      row("Self", formatShare(own.base, 1), formatShare(own.after, 1), formatPoints(changeSize(own))),
      row("Samples", formatNumber(total.baseSamples), formatNumber(total.newSamples), "")));
    const palette = readChangePalette(page.state.changeColors);
    parts.push(element("div", { class: "kind" }, colorSwatch(changeColor(palette, box.verdict, changeSize(total))), VERDICT_TEXT[box.verdict]));
    parts.push(element("div", { class: "kind" }, `The total's change lies from ${formatPoints(total.interval.low)} to ${formatPoints(total.interval.high)}.`));
    return parts;
  }

  /** Both sides, in words. */
  caption(): string {
    return this.shown ? `${this.sideText(0, this.shown.sides[0])} → ${this.sideText(1, this.shown.sides[1])}` : "";
  }

  /** What is said of a box to those who do not see it. */
  spoken(node: number): string {
    const box = this.box(node);
    if (!box) return VERDICT_TEXT["too-few-samples"];
    const { total, verdict } = box;
    return `${formatShare(total.base, 1)} before, ${formatShare(total.after, 1)} after, ${VERDICT_TEXT[verdict]}`;
  }

  legend(): HTMLElement[] {
    const palette: ChangePalette = readChangePalette(this.page.state.changeColors);
    const scale = (colors: string[]) => colors.filter((_, at) => at % 2 === 1).map((color) => colorSwatch(color));
    const striped = (color: string, name: string) => {
      const made = colorSwatch(color);
      made.classList.add(name);
      return made;
    };
    return [
      element("span", { class: "heat-scale" }, "shrank", ...scale(palette.shrank).reverse(), colorSwatch(palette.same), ...scale(palette.grew), "grew"),
      element("span", {}, striped(palette.grew[6], "rising"), "appeared"), element("span", {}, striped(palette.shrank[6], "falling"), "vanished"),
      element("span", {}, colorSwatch(palette.same), "chance explains it"),
    ];
  }

  /** The shown table as rows of texts and numbers. */
  csvRows(): (string | number)[][] {
    const head = ["name", "where", "verdict", "self base", "self new", "self change", "self low", "self high",
      "total base", "total new", "total change", "total low", "total high", "path"];
    const cells = ({ base, after, interval }: DiffRow["own"]) => [base, after, after - base, interval.low, interval.high];
    return [head, ...this.table.all().map((row) => [row.name, row.place, row.verdict, ...cells(row.own), ...cells(row.total), row.path.join(";")])];
  }
}
