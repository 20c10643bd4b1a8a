// The table of changes: functions or stacks, what each had before and after, and how sure that is.

import { formatPoints, formatShare } from "../../format";
import type { ChangeRow, Changes } from "../../model/compare/changes";
import { changeSize, type Change } from "../../model/compare/rows";
import { KIND_INCOMPLETE } from "../../model/kinds";
import type { Page } from "../../page";
import { byId, element } from "../dom";
import { Rows } from "../rows";
import { swatch } from "../swatch";
import { shorten } from "../tooltip";
import { changeColor, type ChangePalette } from "./paint";

/** Functions of a stack that its row names, the leaf first. */
const NAMED_FUNCTIONS = 4;
function shareOf(value: number): string {
  return value > 0 ? formatShare(value, 1) : "–";
}

const VERDICTS: Record<string, string> = { "too-few-samples": "too few samples", unchanged: "may be chance" };

const HEAD: [string, string, string][] = [
  ["change", "Self", "How much more of the whole it has by itself than before, in points of 100 %, and where that surely lies"],
  ["change", "Total", "The same with all that it calls"],
  ["before", "Base", "Self before"], ["after", "New", "Self after"], ["verdict", "", ""], ["name", "Name", ""], ["place", "Where", ""],
];

export class ChangeTable {
  readonly rows: Rows<number>;
  palette: ChangePalette | null = null;
  private changes: Changes | null = null;

  constructor(private readonly page: Page) {
    const scroller = byId("changes-scroll");
    byId("changes-head").append(...HEAD.map(([name, title, hint]) =>
      element("span", { role: "columnheader", class: `change-${name}`, title: hint }, title)));
    this.rows = new Rows(scroller, 28, (of) => this.renderRow(of));
    scroller.addEventListener("keydown", (event) => { if (this.rows.moveFocus(event)) event.stopPropagation(); });
  }

  show(changes: Changes, rows: Int32Array): void {
    this.changes = changes;
    this.rows.set(Array.from(rows));
  }

  /** What is shown. */
  all(): ChangeRow[] {
    return this.rows.rows.flatMap((of) => this.changes ? [this.changes.describe(of)] : []);
  }

  private renderRow(of: number): HTMLElement {
    const { page } = this;
    const { names } = page;
    if (!this.changes) return element("div");
    const row = this.changes.describe(of);
    const callers = row.path.slice(0, -1).reverse().slice(0, NAMED_FUNCTIONS - 1);
    const label = [row.name, ...callers].join(" ‹ ");
    const title = row.path.length > 0 ? row.path.join("\n") : `${row.name}\n${row.place}`;
    const kind = row.row < 0 ? KIND_INCOMPLETE : names.kind(names.firstFunction + row.row);
    const made = element("div", { class: "change-row", role: "row", tabindex: "0", title: shorten(title) },
      this.renderChange(row.own, row), this.renderChange(row.total, row),
      element("span", { role: "cell", class: "change-before" }, shareOf(row.own.base)),
      element("span", { role: "cell", class: "change-after" }, shareOf(row.own.after)),
      element("span", { role: "cell", class: `change-verdict ${row.verdict}` }, VERDICTS[row.verdict] ?? row.verdict),
      element("span", { role: "cell", class: "row-name" }, swatch(page.colors, kind), element("span", {}, shorten(label, 300))),
      element("span", { role: "cell", class: "place" }, element("bdi", {}, shorten(row.place, 300))));
    const choose = () => { if (row.row >= 0) page.update({ tab: "sandwich", chosen: row.row }, "push"); };
    made.addEventListener("click", choose);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
    return made;
  }

  /** The change, its interval, and a bar to the side it goes. */
  private renderChange(change: Change, { verdict }: ChangeRow): HTMLElement {
    const size = changeSize(change);
    const cell = element("span", { role: "cell", class: "change-change", title: `from ${formatPoints(change.interval.low)} to ${formatPoints(change.interval.high)}` },
      element("span", { class: "points" }, formatPoints(size)),
      element("span", { class: "soft" }, `${formatPoints(change.interval.low)} … ${formatPoints(change.interval.high)}`));
    if (this.palette) {
      const bar = element("span", { class: "change-bar" });
      const wide = Math.min(50, Math.abs(size) * 100);
      bar.style.width = `${wide}%`;
      bar.style.left = size < 0 ? `${50 - wide}%` : "50%";
      bar.style.backgroundColor = changeColor(this.palette, verdict, size);
      cell.append(bar);
    }
    return cell;
  }
}
