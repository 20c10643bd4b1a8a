// The tree as an outline: a row per node, opened and closed by hand.

import type { Page } from "../page";
import { findPath, pathTo } from "../model/tree";
import { byId, element } from "./dom";
import { Rows } from "./rows";
import { renderAmount } from "./table";
import { shorten } from "./tooltip";
import { swatch } from "./swatch";

export class CallTree {
  private readonly rows: Rows<number>;
  /** The paths of open nodes, so that they stay open in a new tree. */
  private open = new Set<number>();
  private isNew = true;

  constructor(private readonly page: Page) {
    this.rows = new Rows(byId("tree-scroll"), 26, (node, at) => this.renderRow(node, at));
    byId("tree-scroll").addEventListener("keydown", (event) => this.onKey(event));
    byId("tree-hot").addEventListener("click", () => { const end = this.openHottest(); this.fill(); this.rows.focus(this.rows.rows.indexOf(end)); });
    byId("tree-close").addEventListener("click", () => { this.open.clear(); this.fill(); });
  }

  /** After the tree has changed: what was open stays open if it is still there. */
  carryOver(paths: number[][]): void {
    this.open = new Set(paths.map((path) => findPath(this.page.tree, path)));
  }

  openPaths(): number[][] {
    return [...this.open].map((node) => pathTo(this.page.tree, node));
  }

  fill(): void {
    const { tree } = this.page;
    const top = this.page.zoomOf(tree);
    // At first the path that holds most: what one would open anyway.
    if (this.isNew) this.openHottest();
    this.isNew = false;
    const rows: number[] = [];
    const walk = [top];
    this.open.add(top);
    for (let node = walk.pop(); node !== undefined; node = walk.pop()) {
      rows.push(node);
      if (!this.open.has(node)) continue;
      for (let child = tree.firstChild[node + 1] - 1; child >= tree.firstChild[node]; child--) walk.push(child);
    }
    this.rows.set(rows);
  }

  redraw(): void {
    this.rows.draw();
  }

  /** Down the largest child, as long as it holds most of its parent. */
  private openHottest(): number {
    const { tree } = this.page;
    let node = this.page.zoomOf(tree);
    for (;;) {
      this.open.add(node);
      const child = tree.firstChild[node];
      if (child >= tree.firstChild[node + 1] || tree.total[child] < tree.total[node] * 0.2) break;
      node = child;
    }
    return node;
  }

  /** Opens the way to a node, and gives its row the focus, or marks it. */
  reveal(node: number, keepsFocus: boolean): void {
    const { page, page: { tree } } = this;
    const top = page.zoomOf(tree);
    let above = tree.parent[node];
    for (; above > top; above = tree.parent[above]) this.open.add(above);
    if (above < top && node !== top) page.update({ zoom: [] }, "push");
    for (above = tree.parent[node]; above >= 0; above = tree.parent[above]) this.open.add(above);
    this.fill();
    this.rows.focus(this.rows.rows.indexOf(node), keepsFocus);
  }

  private toggle(node: number, at: number): void {
    if (!this.open.delete(node)) this.open.add(node);
    this.fill();
    this.rows.focus(at);
  }

  private onKey(event: KeyboardEvent): void {
    const at = Number((document.activeElement as HTMLElement | null)?.dataset.at ?? -1);
    const node = this.rows.rows[at];
    const { tree } = this.page;
    if (this.rows.moveFocus(event)) return event.stopPropagation();
    if (node === undefined) return;
    if (event.key === "ArrowRight" && !this.open.has(node)) this.toggle(node, at);
    else if (event.key === "ArrowLeft" && this.open.has(node) && at > 0) this.toggle(node, at);
    else if (event.key === "ArrowLeft" && at > 0) this.rows.focus(this.rows.rows.indexOf(tree.parent[node]));
    else if (event.key === "Enter") this.toggle(node, at);
    else if (event.key === "m") this.openMenu(node, document.activeElement as HTMLElement);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private openMenu(node: number, row: HTMLElement): void {
    const { left, bottom } = row.getBoundingClientRect();
    this.page.menu.open(this.page.tree, node, left + 200, bottom);
  }

  private renderRow(node: number, at: number): HTMLElement {
    const { page } = this;
    const { tree, names, state } = page;
    const entry = tree.entry[node];
    const level = tree.depth[node] - tree.depth[page.zoomOf(tree)];
    const hasChildren = tree.firstChild[node + 1] > tree.firstChild[node];
    const name = names.name(entry, state.mergeProcesses);
    const label = element("span", { class: "tree-name" },
      element("span", { class: hasChildren ? "twist" : "twist leaf", "aria-hidden": "true" }), swatch(page.colors, names.kind(entry)),
      element("span", { class: "tree-text" }, shorten(name, 300)), element("span", { class: "place" }, names.shortPlace(entry)));
    // On a narrow screen the names would be pushed out of it.
    label.style.paddingInlineStart = `min(${Math.min(level, 60) * 14}px, 45vw)`;
    const made = element("div", {
      class: "tree-row", role: "treeitem", tabindex: "0", "aria-level": String(level + 1), title: shorten(names.searchText(entry)),
    }, renderAmount(page, tree.total[node]), renderAmount(page, tree.self[node]), label);
    if (hasChildren) made.setAttribute("aria-expanded", String(this.open.has(node)));
    made.addEventListener("click", () => { if (hasChildren) this.toggle(node, at); });
    made.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      page.menu.open(tree, node, event.clientX, event.clientY);
    });
    return made;
  }
}
