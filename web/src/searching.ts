// Search on the page: what matches, and from one match to the next, from the last on to the first.

import { compileSearch, searchTree, type Found } from "./model/search";
import type { Tree } from "./model/tree";
import type { Page } from "./page";
import { announce } from "./view/dom";
import type { FlameGraph } from "./view/graph";
import { Job, Question } from "./view/job";
import { renderPath, renderSearch } from "./view/path";

export class Searching {
  private readonly job = new Job();
  /** In the tree as the call tree shows it, where the graph has another order. */
  private readonly rows = new Question<Found>();
  /** The match that is outlined stays the one to go on from, once there are matches again. */
  private goesOn = false;

  constructor(private readonly page: Page) {}

  start(): void {
    const { page, page: { graph, names, state: { search, regex, mergeProcesses } } } = this;
    page.searchTest = compileSearch(search, regex);
    const { test } = page.searchTest;
    this.goesOn = false;
    const finish = (found: Found | null) => {
      graph.found = found;
      if (this.goesOn) this.findPlace();
      graph.redraw();
      renderSearch(page);
      renderPath(page);
      page.report();
    };
    this.job.cancel();
    if (!test || !graph.tree) return finish(null);
    this.job.start(searchTree(graph.tree, names, mergeProcesses, test), finish);
  }

  /** What is searched in the open view, and what is found there. */
  get shown(): { tree: Tree | null; found: Found | null } {
    const { page } = this;
    return this.isApart ? { tree: page.tree, found: page.searchTest.test && this.rows.last } : page.shownGraph;
  }

  /** The call tree has neither the order of time nor stacks from the leaf. */
  private get isApart(): boolean {
    const { state: { tab }, tree, graph } = this.page;
    return tab === "tree" && graph.tree !== tree;
  }

  /** Searches what the call tree shows, where that is not what the graph shows. */
  fill(): void {
    const { page, page: { tree, names, state: { mergeProcesses }, searchTest: { test } } } = this;
    if (!this.isApart || !test) return this.rows.forget();
    this.rows.ask([tree, mergeProcesses, test], () => searchTree(tree, names, mergeProcesses, test), () => renderSearch(page));
  }

  /** Whether somebody goes from match to match in the graph. */
  get isStepping(): boolean {
    return this.goesOn || (this.page.graph.found?.at ?? -1) >= 0;
  }

  /** After new data: goes on from the box that is outlined. */
  goOn(): void {
    this.goesOn = true;
    this.findPlace();
  }

  private findPlace(): void {
    const { found, selected } = this.page.graph;
    if (found && selected >= 0) found.at = found.tops.indexOf(selected);
  }

  /** To the next match of what is shown, or the one before: a box, a row, a hot line. A row gets the focus unless that is to stay, as in the field. */
  step(direction: number, keepsFocus = false): void {
    const { page } = this;
    switch (page.state.tab) {
      case "source": return page.sourceView.step(direction);
      case "table": return this.stepRows(() => page.table.step(direction, keepsFocus));
      case "sandwich": return this.stepRows(() => page.sandwich.step(direction, keepsFocus));
      case "timeline": return;
      case "tree": return this.stepBoxes(direction, (tree, node) => {
        if (tree === page.graph.tree) page.graph.selected = node;
        page.callTree.reveal(node, keepsFocus);
      });
      case "graph": return this.stepBoxes(direction, (tree, node) => this.show(page.graph, tree, node, (zoom) => page.zoom(zoom)));
      case "difference": {
        const { difference } = page;
        return this.stepBoxes(direction, (tree, node) => this.show(difference.graph, tree, node, (zoom) => difference.zoom(zoom)));
      }
    }
  }

  /** Rows are those that match. */
  private stepRows(step: () => [at: number, count: number]): void {
    if (!this.page.searchTest.test) return;
    const [at, count] = step();
    if (count > 0) announce(`row ${at + 1} of ${count}`);
  }

  private stepBoxes(direction: number, show: (tree: Tree, node: number) => void): void {
    const { found, tree } = this.shown;
    if (!found || !tree || found.tops.length === 0) return;
    const count = found.tops.length;
    const at = found.at < 0 && direction < 0 ? count - 1 : (found.at + direction + count) % count;
    const node = found.tops[at];
    show(tree, node);
    // Another zoom may have been another search.
    const again = this.shown.found;
    if (again) again.at = at;
    renderSearch(this.page);
    announce(`match ${at + 1} of ${count}: ${this.page.names.searchText(tree.entry[node], this.page.state.mergeProcesses).slice(0, 300)}`);
  }

  /** Outlines a match, and zooms so far that it can be seen. */
  private show(graph: FlameGraph, tree: Tree, node: number, zoomTo: (node: number) => void): void {
    let zoom = node;
    while (zoom > 0 && tree.total[zoom] < tree.total[node] * 12) zoom = tree.parent[zoom];
    const top = graph.zoom;
    const inside = tree.start[node] >= tree.start[top] && tree.start[node] < tree.start[top] + tree.total[top] && tree.depth[node] >= tree.depth[top];
    const wide = tree.total[node] / tree.total[top] * graph.width > 24;
    if (!inside || !wide) zoomTo(zoom);
    this.page.select(node);
  }
}
