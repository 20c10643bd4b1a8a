// One function between its callers (above, the root on top of them) and its callees (below).

import type { Names } from "../model/names";
import { part, type Steps } from "../model/steps";
import { callersOf, calleesOf, type Sum } from "../model/sums";
import type { Tree } from "../model/tree";
import type { Page } from "../page";
import { byId, element } from "./dom";
import { FlameGraph } from "./graph";
import { Question } from "./job";
import { connectPointer } from "./pointer";
import { Rows } from "./rows";
import { isSameRow, renderAmount, sumRows, tableRows, type TableRow } from "./table";
import { renderTitle } from "./title";
import { renderLines, shorten } from "./tooltip";
import { swatch } from "./swatch";

const LINES_SHOWN = 12;

function* sandwichSteps(tree: Tree, names: Names, row: number): Steps<{ callers: Tree; callees: Tree }> {
  const callers = yield* part(callersOf(tree, names, row), 0, 0.5);
  return { callers, callees: yield* part(calleesOf(tree, names, row), 0.5, 1) };
}

export class Sandwich {
  readonly callers: FlameGraph;
  readonly callees: FlameGraph;
  private readonly rows: Rows<TableRow>;
  /** What the rows, and the boxes, are numbers of. */
  private listOf: Names | null = null;
  private graphsOf: Names | null = null;
  private readonly sums = new Question<Sum[]>();
  private readonly sides = new Question<{ callers: Tree; callees: Tree }>();

  constructor(private readonly page: Page) {
    this.callers = new FlameGraph(byId("callers"), page.names);
    this.callers.flame = true;
    this.callees = new FlameGraph(byId("callees"), page.names);
    for (const graph of [this.callers, this.callees]) connectPointer(page, graph, (node) => this.onChoose(graph, node));
    this.rows = new Rows(byId("sandwich-list"), 28, (row) => this.renderRow(row), isSameRow);
    byId("sandwich-list").addEventListener("keydown", (event) => {
      if (this.rows.moveFocus(event)) event.stopPropagation();
    });
  }

  /** A click on a box puts its function into the middle. */
  private onChoose(graph: FlameGraph, node: number): void {
    const row = graph.tree ? this.page.names.functionRow(graph.tree.entry[node]) : -1;
    if (row >= 0 && row !== this.page.state.chosen) this.page.update({ chosen: row }, "push");
  }

  fill(): void {
    const { page, page: { tree } } = this;
    this.sums.ask([tree, page.zoomOf(tree)], () => sumRows(page, "function"), (sums) => this.fillList(sums));
  }

  private fillList(sums: readonly Sum[]): void {
    const { page, page: { tree, names } } = this;
    const rows = tableRows(page, sums, "function", { sort: "self", ascending: false });
    // Nothing chosen yet: the function that ran most is what one would ask about first.
    const chosen = page.state.chosen >= 0 ? page.state.chosen : rows[0]?.row ?? -1;
    this.listOf = names;
    this.rows.set(rows);
    byId("sandwich-none").hidden = chosen >= 0;
    if (chosen < 0) return this.sides.forget();
    this.sides.ask([tree, chosen], () => sandwichSteps(tree, names, chosen), (sides) => {
      this.fillGraphs(chosen, sides);
      this.renderTitle(chosen, sums.find(({ row }) => row === chosen));
      this.rows.draw();
    });
  }

  private fillGraphs(chosen: number, sides: { callers: Tree; callees: Tree }): void {
    const { page } = this;
    const isOther = this.shown !== chosen;
    this.shown = chosen;
    this.graphsOf = page.names;
    for (const side of ["callers", "callees"] as const) {
      const graph = this[side];
      const { scrolledTo } = graph;
      if (graph.tree !== sides[side]) graph.setTree(sides[side]);
      graph.merged = page.state.mergeProcesses;
      graph.colors = page.colors;
      graph.zoomTo(0);
      if (!isOther) graph.scrolledTo = scrolledTo;
    }
    if (isOther) this.callers.scroller.scrollTop = this.callers.scroller.scrollHeight;
    renderTitle(page);
  }

  /** After another profile has come: what is of the one before is of nothing any more. */
  forgetOthers(): void {
    const { names } = this.page;
    if (this.listOf !== names) this.rows.forget();
    if (this.graphsOf === names) return;
    this.shown = -1;
    for (const graph of [this.callers, this.callees]) graph.forget();
  }

  step(direction: number, keepsFocus: boolean): [at: number, count: number] {
    return this.rows.step(direction, keepsFocus);
  }

  /** The function in the middle; -1 for none. */
  shown = -1;

  redraw(): void {
    for (const graph of [this.callers, this.callees]) {
      graph.colors = this.page.colors;
      graph.redraw();
    }
    this.rows.draw();
  }

  private renderTitle(chosen: number, row: Sum | undefined): void {
    const { page } = this;
    const { names, scale } = page;
    const entry = names.firstFunction + chosen;
    const parts: HTMLElement[] = [element("div", { class: "sandwich-name" }, swatch(page.colors, names.kind(entry)),
      element("strong", {}, shorten(names.functionName(chosen), 200)), element("span", { class: "place" }, shorten(names.place(entry), 200)))];
    const total = this.callees.tree?.total[0] ?? 0, self = row?.self ?? this.callees.tree?.self[0] ?? 0;
    parts.push(element("div", { class: "sandwich-facts" },
      `total ${scale.share(total)} ${scale.amount(total)} · self ${scale.share(self)} ${scale.amount(self)}`,
      row && row.gil > 0 ? ` · taking the GIL ${scale.share(row.gil)} ${scale.amount(row.gil)}` : ""));
    parts.push(...renderLines(page, page.linesOf(chosen, -1), LINES_SHOWN));
    byId("sandwich-title").replaceChildren(...parts);
  }

  private renderRow(row: TableRow): HTMLElement {
    const { page } = this;
    const isShown = row.row === this.shown;
    const made = element("div", {
      class: "list-row", role: "option", tabindex: "0", "aria-selected": String(isShown), title: shorten(`${row.name}\n${row.place}`),
    }, renderAmount(page, row.self), element("span", { class: "row-name" }, swatch(page.colors, row.kind), element("span", {}, shorten(row.name, 200))));
    const choose = () => page.update({ chosen: row.row }, "push");
    made.addEventListener("click", choose);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
    return made;
  }
}
