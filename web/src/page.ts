// The page: its state, what follows from it, and who draws that.
//
// Every choice is in `state`; `update` is the only way to change it. What is computed from it (weights, tree, matches) is
// computed anew only when the part of the state that it depends on has changed.

import type { Profile } from "./data/profile";
import { Scale } from "./format";
import { select, weigh, type Filter, type Selection } from "./model/filters";
import { Names } from "./model/names";
import { compileSearch, searchTree, type Found, type TextTest } from "./model/search";
import { buildSource, type Source } from "./model/source";
import { sumLines, totalsOf, type LineSum } from "./model/sums";
import { buildTimeTree } from "./model/time_tree";
import { buildTree, findPath, pathTo, type MappedTree, type Tree } from "./model/tree";
import { initialState, readAddress, writeAddress, type Group, type State, type Tab, TABS } from "./state";
import { CallTree } from "./view/call_tree";
import { Colors, readPalette } from "./view/colors";
import { ContextMenu } from "./view/context_menu";
import { byId } from "./view/dom";
import { FilterBar } from "./view/filter_bar";
import { FlameGraph } from "./view/graph";
import { renderLegend } from "./view/legend";
import { renderPath, renderSearch } from "./view/path";
import { Sandwich } from "./view/sandwich";
import { FunctionTable } from "./view/table";
import { Timeline } from "./view/timeline";
import { Tooltip } from "./view/tooltip";
import { ViewMenu } from "./view/view_menu";

/** How long the page may work before it looks whether somebody wants something. */
const SLICE_MS = 10;

type History = "push" | "replace";

/** What chooses samples, and what makes boxes of them. */
const SAMPLE_PARTS = ["filters", "window"] as const;
const SHAPE_PARTS = ["processes", "mergeProcesses", "threads", "lines", "native", "kernel", "interpreter", "transforms", "minimum"] as const;
const TREE_PARTS = [...SAMPLE_PARTS, ...SHAPE_PARTS, "order"] as const;

export class Page {
  readonly names: Names;
  readonly source: Source;
  readonly scale: Scale;
  readonly initial: State;
  state: State;
  colors: Colors;
  selection: Selection;
  /** What the selected samples weigh at each node of the source. */
  self: Float64Array;
  tree: MappedTree;
  searchTest: { test: TextTest | null; error: string } = { test: null, error: "" };
  readonly graph: FlameGraph;
  readonly tooltip: Tooltip;
  readonly menu: ContextMenu;
  readonly sandwich: Sandwich;
  readonly table: FunctionTable;
  readonly callTree: CallTree;
  readonly timeline: Timeline;
  readonly filterBar: FilterBar;
  readonly viewMenu: ViewMenu;
  private lineWeights: { self: Float64Array; totals: Float64Array } | null = null;
  private searching = 0;
  private depth = 0;

  constructor(readonly profile: Profile) {
    this.names = new Names(profile);
    this.source = buildSource(profile);
    this.scale = new Scale(profile, this.source.samples.total);
    this.initial = initialState(this.names);
    this.state = readAddress(location.hash.slice(1), this.initial, this.names);
    this.depth = Number(history.state?.depth ?? 0);
    this.selection = select(this.source, this.names, this.state.filters, this.state.window);
    this.self = weigh(this.source, this.selection);
    this.tree = buildTree(this.source, this.names, this.state, this.self);
    this.colors = new Colors(this.names, readPalette(), this.state.color);
    this.graph = new FlameGraph(byId("graph-scroll"), this.names);
    this.tooltip = new Tooltip(this);
    this.menu = new ContextMenu(this);
    this.sandwich = new Sandwich(this);
    this.table = new FunctionTable(this);
    this.callTree = new CallTree(this);
    this.timeline = new Timeline(this);
    this.filterBar = new FilterBar(this);
    this.viewMenu = new ViewMenu(this);
  }

  start(): void {
    addEventListener("popstate", () => this.restore());
    addEventListener("hashchange", () => this.restore());
    this.rebuild();
    this.showTab();
    this.graph.setFlame(this.state.root === "bottom");
    this.show();
  }

  /** Changes the state, and remembers the one before if the reader may want to go back to it. */
  update(patch: Partial<State>, how: History): void {
    const before = this.state;
    this.state = { ...before, ...patch };
    // In the order of time a zoom is a box of one tree, which is gone with it.
    const hasOtherTree = TREE_PARTS.some((name) => this.state[name] !== before[name]) && before.order === "time";
    if (hasOtherTree && !patch.zoom) this.state.zoom = [];
    if (how === "push") this.depth++;
    this.store(how);
    this.apply(before);
  }

  addFilter(filter: Filter): void {
    const others = this.state.filters.filter(({ by, value }) => by !== filter.by || value !== filter.value);
    this.update({ filters: [...others, filter] }, "push");
  }

  /** Back to how the page opens, in the same tab and the same looks. */
  reset(): void {
    const { tab, color, root, group, sort, ascending } = this.state;
    this.update({ ...this.initial, tab, color, root, group, sort, ascending }, "push");
    this.graph.setFlame(root === "bottom");
  }

  /** One step back in history if the step before was made here; else out of the zoom. */
  back(): void {
    if (this.state.search) this.update({ search: "" }, "replace");
    else if (this.depth > 0) history.back();
    else if (this.state.zoom.length > 0) this.update({ zoom: [] }, "replace");
    else this.select(-1);
  }

  private restore(): void {
    const before = this.state;
    const next = readAddress(location.hash.slice(1), this.initial, this.names);
    if (writeAddress(next, this.initial) === writeAddress(before, this.initial)) return;
    this.depth = Number(history.state?.depth ?? 0);
    // What is the same stays the same object: nothing that depends on it is computed anew.
    const isSame = (name: "filters" | "transforms" | "window" | "zoom") => JSON.stringify(next[name]) === JSON.stringify(before[name]);
    this.state = {
      ...next, filters: isSame("filters") ? before.filters : next.filters, transforms: isSame("transforms") ? before.transforms : next.transforms,
      window: isSame("window") ? before.window : next.window, zoom: isSame("zoom") ? before.zoom : next.zoom,
    };
    this.apply(before);
  }

  private store(how: History): void {
    try {
      const address = `#${writeAddress(this.state, this.initial)}`;
      history[how === "push" ? "pushState" : "replaceState"]({ depth: this.depth }, "", address);
    } catch {
      // A page inside a sandboxed frame may have no history; all else works.
      this.depth = 0;
    }
  }

  private apply(before: State): void {
    this.tooltip.hide();
    const differs = (...names: (keyof State)[]) => names.some((name) => this.state[name] !== before[name]);
    const samples = differs(...SAMPLE_PARTS);
    if (samples) {
      this.selection = select(this.source, this.names, this.state.filters, this.state.window);
      this.self = weigh(this.source, this.selection);
    }
    const shape = differs(...SHAPE_PARTS);
    if (samples || shape) {
      const open = this.callTree.openPaths();
      this.tree = buildTree(this.source, this.names, this.state, this.self);
      this.callTree.carryOver(open);
    }
    if (differs("color")) this.colors = new Colors(this.names, readPalette(), this.state.color);
    if (samples || shape || differs("order")) this.rebuild();
    else if (differs("zoom")) this.graph.zoomTo(this.zoomOf(this.graph.tree as Tree));
    if (differs("search", "regex")) this.search();
    if (differs("root")) this.graph.setFlame(this.state.root === "bottom");
    if (differs("tab")) this.showTab();
    this.show();
  }

  /** The graph's tree anew. */
  private rebuild(): void {
    this.scale.whole = this.tree.total[0];
    const isTimed = this.state.order === "time";
    const processOf = (thread: number) => {
      const { process } = this.profile.threads[thread];
      return this.state.mergeProcesses ? this.names.namesakes[process] : process;
    };
    const timed = isTimed ? buildTimeTree(this.source, this.tree, this.state, this.selection, processOf) : null;
    byId("too-many").hidden = !isTimed || timed !== null;
    byId("nothing").hidden = this.tree.total[0] > 0;
    this.graph.setTree(timed ?? this.tree);
    this.graph.merged = this.state.mergeProcesses;
    this.graph.flame = this.state.root === "bottom";
    this.graph.colors = this.colors;
    this.graph.zoomTo(this.zoomOf(timed ?? this.tree));
    this.search();
  }

  /** The zoomed node: by its path, or in the order of time, where paths are not distinct, by its number. */
  zoomOf(tree: Tree): number {
    const { zoom } = this.state;
    if (this.state.order !== "time" || this.graph.tree === this.tree) return findPath(tree, zoom);
    return tree === this.graph.tree && zoom.length === 1 && zoom[0] < tree.size ? zoom[0] : 0;
  }

  zoom(node: number): void {
    const { tree } = this.graph;
    if (!tree || node === this.graph.zoom) return;
    const isTimed = tree !== this.tree;
    this.update({ zoom: isTimed ? (node === 0 ? [] : [node]) : pathTo(tree, node) }, "push");
  }

  select(node: number): void {
    this.graph.selected = node;
    if (node >= 0) this.graph.reveal(node);
    this.graph.placeOutlines();
  }

  // Search

  private search(): void {
    const { search, regex, mergeProcesses } = this.state;
    this.searchTest = compileSearch(search, regex);
    const { test } = this.searchTest;
    const turn = ++this.searching;
    const finish = (found: Found | null) => {
      this.graph.found = found;
      this.graph.redraw();
      renderSearch(this);
      renderPath(this);
      this.report();
    };
    if (!test || !this.graph.tree) return finish(null);
    const steps = searchTree(this.graph.tree, this.names, mergeProcesses, test);
    const run = () => {
      if (turn !== this.searching) return;
      const until = performance.now() + SLICE_MS;
      while (performance.now() < until) {
        const step = steps.next();
        if (step.done) return finish(step.value);
      }
      setTimeout(run);
    };
    run();
  }

  /** Outlines the next match, and zooms so far that it can be seen. */
  step(direction: number): void {
    const { found, tree } = this.graph;
    if (!found || !tree || found.tops.length === 0) return;
    const count = found.tops.length;
    const at = found.at < 0 && direction < 0 ? count - 1 : (found.at + direction + count) % count;
    const node = found.tops[at];
    let zoom = node;
    while (zoom > 0 && tree.total[zoom] < tree.total[node] * 12) zoom = tree.parent[zoom];
    const top = this.graph.zoom;
    const inside = tree.start[node] >= tree.start[top] && tree.start[node] < tree.start[top] + tree.total[top] && tree.depth[node] >= tree.depth[top];
    const wide = tree.total[node] / tree.total[top] * this.graph.width > 24;
    if (!inside || !wide) this.zoom(zoom);
    if (this.graph.found) this.graph.found.at = at;
    this.select(node);
    renderSearch(this);
  }

  /** A row of the table: a function between its callers and callees; a module or library as a filter. */
  chooseRow(group: Group, row: number): void {
    if (group === "function") return this.update({ tab: "sandwich", chosen: row }, "push");
    const { libraries, modules } = this.names;
    const value = (group === "library" ? libraries : modules).texts[row];
    this.addFilter({ by: group, value, not: false });
  }

  /** The lines of a function in the selected samples; only inside one node if that is given. */
  linesOf(row: number, node: number): LineSum[] {
    if (this.lineWeights?.self !== this.self) this.lineWeights = { self: this.self, totals: totalsOf(this.source, this.self) };
    return sumLines(this.source, this.names, this.tree, this.lineWeights, row, node);
  }

  // What is shown

  private showTab(): void {
    for (const tab of TABS) {
      const button = byId(`${tab}-tab`);
      button.setAttribute("aria-selected", String(tab === this.state.tab));
      button.tabIndex = tab === this.state.tab ? 0 : -1;
      byId(`${tab}-panel`).hidden = tab !== this.state.tab;
    }
    if (this.state.tab === "graph") this.graph.resize();
  }

  /** Draws what stands on the screen; what does not is drawn when its tab is opened. */
  show(): void {
    const fill: Record<Tab, () => void> = {
      graph: () => { this.graph.colors = this.colors; this.graph.redraw(); },
      sandwich: () => this.sandwich.fill(),
      table: () => this.table.fill(),
      tree: () => this.callTree.fill(),
      timeline: () => this.timeline.fill(),
    };
    fill[this.state.tab]();
    this.timeline.drawOverview();
    this.filterBar.render();
    this.viewMenu.render();
    renderLegend(this);
    renderSearch(this);
    renderPath(this);
    this.report();
  }

  /** Light or dark, or another palette. */
  recolor(): void {
    this.colors = new Colors(this.names, readPalette(), this.state.color);
    this.graph.colors = this.colors;
    this.sandwich.redraw();
    this.show();
    // At once: before a page is printed there is no next frame.
    this.graph.draw();
  }

  /** What was found, for tests and for the curious. */
  report(): void {
    const { found, tree } = this.graph;
    const share = found && tree ? found.value / tree.total[0] : 0;
    Object.assign(document.documentElement.dataset, {
      nodes: tree?.size ?? 0, height: tree?.height ?? 0, boxes: this.graph.boxes, drawMs: this.graph.drawMilliseconds.toFixed(1),
      whole: this.tree.total[0], searchShare: found ? share.toFixed(6) : "", searchBoxes: found ? found.boxes : "",
    });
  }
}
