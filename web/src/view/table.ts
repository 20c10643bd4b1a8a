// Functions, modules or libraries with their self and total time, and what was running below them.

import { formatCount } from "../format";
import { gilBy, gilNodes } from "../model/gil";
import { KIND_KERNEL, KIND_NAMES, KIND_NATIVE, KIND_PYTHON } from "../model/kinds";
import { printable, type Names } from "../model/names";
import { sumBy, type Sum } from "../model/sums";
import { part, type Steps } from "../model/steps";
import type { Page } from "../page";
import type { Group, Sort } from "../state";
import { byId, element } from "./dom";
import { Question } from "./job";
import { Rows } from "./rows";
import { shorten } from "./tooltip";
import { swatch } from "./swatch";

export interface TableRow extends Sum {
  name: string;
  place: string;
  kind: number;
}

const COLUMNS: [Sort, string, string][] = [
  ["self", "Self", "Time in it, not in what it calls"],
  ["total", "Total", "Time in it and in what it calls"],
  ["python", "Python", "Of its total: while Python code was running"],
  ["native", "Native", "Of its total: while native code was running"],
  ["kernel", "Kernel", "Of its total: while the kernel was running"],
  ["gil", "GIL", "On the CPU in taking the GIL: asking for it, going to sleep, waking up; not the time asleep"],
  ["name", "Name", "By name"],
  ["place", "Where", "By file or library"],
];

/** A share of taking the GIL that is worth a column; as in `viperf report`. */
const LEAST_GIL = 0.005;

/** What the table adds up for the page as it stands; the zoom is taken into account. */
export function* sumRows(page: Page, group: Group): Steps<Sum[]> {
  const { names, tree, source, self } = page;
  const { libraries, modules } = names;
  const grouping = group === "library" ? libraries : modules;
  const size = group === "function" ? names.profile.function_name.length : grouping.texts.length;
  const key = (entry: number) => {
    const row = names.functionRow(entry);
    return row < 0 || group === "function" ? row : grouping.of[row];
  };
  const top = page.zoomOf(tree);
  const sums = yield* part(sumBy(tree, names, top, size, key), 0, 0.8);
  const nodes = yield* gilNodes(source, names);
  if (nodes) {
    const gil = yield* part(gilBy(source, names, nodes, self, tree, top, key), 0.8, 1);
    for (const sum of sums) sum.gil = gil.get(sum.row) ?? 0;
  }
  return sums;
}

/** Sums as rows: those that the search finds, sorted. */
export function tableRows(page: Page, sums: readonly Sum[], group: Group, { sort, ascending }: { sort: Sort; ascending: boolean }): TableRow[] {
  const { names } = page;
  const grouping = group === "library" ? names.libraries : names.modules;
  const rows = sums.map((sum): TableRow => {
    if (group !== "function") return { ...sum, name: printable(grouping.texts[sum.row]), place: "", kind: mainKind(sum) };
    const entry = names.firstFunction + sum.row;
    return { ...sum, name: names.functionName(sum.row), place: names.place(entry), kind: names.kind(entry) };
  });
  const { test } = page.searchTest;
  const wanted = test ? rows.filter((row) => test(row.place ? `${row.name} (${row.place})` : row.name)) : rows;
  const direction = ascending ? 1 : -1;
  return wanted.sort((a, b) => {
    const order = sort === "name" || sort === "place" ? -a[sort].localeCompare(b[sort]) : a[sort] - b[sort];
    return order * direction || b.self - a.self || b.total - a.total || a.name.localeCompare(b.name);
  });
}

/** Whether two rows are of the same function, module or library. */
export function isSameRow(one: TableRow, other: TableRow): boolean {
  return one.row === other.row && one.name === other.name;
}

function mainKind({ python, native, kernel }: Sum): number {
  return python >= native && python >= kernel ? KIND_PYTHON : native >= kernel ? KIND_NATIVE : KIND_KERNEL;
}

export class FunctionTable {
  private readonly sums = new Question<Sum[]>();
  private readonly head = byId("table-head");
  private readonly rows: Rows<TableRow>;
  private hasGil = false;
  /** What the rows are numbers of. */
  private of: Names | null = null;

  constructor(private readonly page: Page) {
    this.rows = new Rows(byId("table-scroll"), 28, (row) => this.renderRow(row), isSameRow);
    for (const [sort, title, hint] of COLUMNS) {
      const made = element("button", { type: "button", title: hint, "data-sort": sort }, title);
      made.addEventListener("click", () => this.sortBy(sort));
      this.head.append(element("span", { role: "columnheader", class: `column-${sort}` }, made));
    }
    byId("table-scroll").addEventListener("keydown", (event) => {
      if (this.rows.moveFocus(event)) event.stopPropagation();
    });
    for (const field of document.querySelectorAll<HTMLInputElement>("input[name=group]")) {
      field.addEventListener("change", () => page.update({ group: field.value as Group }, "replace"));
    }
  }

  private sortBy(sort: Sort): void {
    const { state } = this.page;
    const ascending = state.sort === sort ? !state.ascending : false;
    this.page.update({ sort, ascending }, "replace");
  }

  fill(): void {
    const { state } = this.page;
    for (const made of this.head.querySelectorAll<HTMLElement>("[data-sort]")) {
      const isSorted = made.dataset.sort === state.sort;
      made.classList.toggle("sorted", isSorted);
      const column = made.parentElement as HTMLElement;
      column.setAttribute("aria-sort", isSorted ? (state.ascending ? "ascending" : "descending") : "none");
    }
    for (const field of document.querySelectorAll<HTMLInputElement>("input[name=group]")) field.checked = field.value === state.group;
    const { page, page: { tree } } = this;
    this.sums.ask([tree, page.zoomOf(tree), state.group], () => sumRows(page, state.group), (sums) => {
      const rows = tableRows(page, sums, page.state.group, page.state);
      this.hasGil = sums.some(({ gil }) => gil >= LEAST_GIL * page.scale.whole);
      byId("table-scroll").classList.toggle("with-gil", this.hasGil);
      this.of = page.names;
      this.rows.set(rows);
      byId("table-count").textContent = formatCount(rows.length, "row");
    });
  }

  step(direction: number, keepsFocus: boolean): [at: number, count: number] {
    return this.rows.step(direction, keepsFocus);
  }

  /** After another profile has come: rows of the one before are of nothing any more. */
  forgetOthers(): void {
    if (this.of !== this.page.names) this.rows.forget();
  }

  redraw(): void {
    this.rows.draw();
  }

  private renderRow(row: TableRow): HTMLElement {
    const { page } = this;
    const made = element("div", { class: "table-row", role: "row", tabindex: "0", title: shorten(`${row.name}\n${row.place}`) },
      renderAmount(page, row.self), renderAmount(page, row.total), ...this.renderSplit(row),
      element("span", { role: "cell", class: "row-name" }, swatch(page.colors, row.kind), element("span", {}, shorten(row.name, 300))),
      element("span", { role: "cell", class: "place" }, element("bdi", {}, shorten(row.place, 300))));
    const choose = () => page.chooseRow(page.state.group, row.row);
    made.addEventListener("click", choose);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
    return made;
  }

  /** The three kinds as numbers, and in the colours of the graph behind them. */
  private renderSplit(row: TableRow): HTMLElement[] {
    const { page } = this;
    const gil = element("span", { role: "cell", class: "split", title: `${page.scale.amount(row.gil)} in taking the GIL` }, row.gil > 0 ? page.scale.share(row.gil) : "–");
    const kinds = ([["python", KIND_PYTHON], ["native", KIND_NATIVE], ["kernel", KIND_KERNEL]] as const).map(([name, kind]) => {
      const cell = element("span", { role: "cell", class: "split", title: `${page.scale.amount(row[name])} while ${KIND_NAMES[kind]} code was running` });
      const meter = element("span", { class: "split-meter" });
      meter.style.width = `${row.total > 0 ? row[name] / row.total * 100 : 0}%`;
      meter.style.backgroundColor = page.colors.plain(kind);
      cell.append(meter, element("span", {}, row[name] > 0 ? page.scale.share(row[name]) : "–"));
      return cell;
    });
    return this.hasGil ? [...kinds, gil] : kinds;
  }
}

/** Share and time above a line as long as the share. */
export function renderAmount(page: Page, value: number): HTMLElement {
  const { scale } = page;
  const meter = element("span", { class: "meter" });
  meter.style.width = `${scale.whole > 0 ? value / scale.whole * 100 : 0}%`;
  return element("span", { class: "amount", role: "cell" },
    element("span", { class: "share" }, scale.share(value)),
    element("span", { class: "time" }, scale.time(value) || scale.samples(value)), meter);
}
