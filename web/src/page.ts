// The page: its state, what follows from it, and who draws that.
//
// Every choice is in `state`; `update` is the only way to change it. What is computed from it (weights, tree, matches) is
// computed anew only when the part of the state that it depends on has changed.

import type { Profile } from "./data/profile";
import { Scale } from "./format";
import { nodeAt, placeOf } from "./model/carry";
import { computeSteps, haveSame, orderSteps, TREE_PARTS, type Computed } from "./model/computed";
import { select, weigh, type Filter, type Selection } from "./model/filters";
import { Names } from "./model/names";
import type { TextTest } from "./model/search";
import { buildSource, type Source } from "./model/source";
import { membersOf, sumLines, sumLinesIn, totalsOf, type LineSum, type LineWeights, type Members } from "./model/sums";
import { finish, type Steps } from "./model/steps";
import { succeed } from "./model/successor";
import { buildTree, findPath, pathTo, type MappedTree, type Tree } from "./model/tree";
import { Searching } from "./searching";
import { initialState, readAddress, writeAddress, type Group, type State, type Tab, TABS } from "./state";
import { CallTree } from "./view/call_tree";
import { Colors, readPalette } from "./view/colors";
import { ContextMenu } from "./view/context_menu";
import { Difference } from "./view/difference/difference";
import { byId } from "./view/dom";
import { FilterBar } from "./view/filter_bar";
import { FlameGraph } from "./view/graph";
import { cancelJobs, Job, postpone } from "./view/job";
import { renderLegend } from "./view/legend";
import { renderPath, renderSearch } from "./view/path";
import { Sandwich } from "./view/sandwich";
import { SourceView } from "./view/source/source";
import { FunctionTable } from "./view/table";
import { Timeline } from "./view/timeline";
import { renderTitle } from "./view/title";
import { Tooltip } from "./view/tooltip";
import { ViewMenu } from "./view/view_menu";

type History = "push" | "replace";

/** What the first tooltip needs is made once the page has been seen for so long. */
const PREPARE_MS = 500;

export class Page {
  names: Names;
  source: Source;
  scale: Scale;
  initial: State;
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
  readonly difference: Difference;
  readonly sourceView: SourceView;
  readonly filterBar: FilterBar;
  readonly viewMenu: ViewMenu;
  readonly searching = new Searching(this);
  private readonly preparing = new Job();
  private lineWeights: LineWeights | null = null;
  private members: { tree: MappedTree; of: Members } | null = null;
  private readonly computing = new Job();
  private readonly replacing = new Job();
  /** What the tree is of, and what it is computed for. */
  private computed: State;
  private aim: State;
  private depth = 0;

  constructor(public profile: Profile) {
    this.names = new Names(profile);
    this.source = buildSource(profile);
    this.scale = new Scale(profile, this.source.samples.total);
    this.initial = initialState(this.names);
    this.state = readAddress(location.hash.slice(1), this.initial, this.names);
    this.computed = this.aim = this.state;
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
    this.difference = new Difference(this);
    this.sourceView = new SourceView(this);
    this.filterBar = new FilterBar(this);
    this.viewMenu = new ViewMenu(this);
  }

  /** The flame graph that is seen, or that would be if its tab were open. */
  get shownGraph(): FlameGraph {
    return this.state.tab === "difference" ? this.difference.graph : this.graph;
  }

  start(): void {
    addEventListener("popstate", () => this.restore());
    addEventListener("hashchange", () => this.restore());
    postpone(() => this.timeline.begin());
    setTimeout(() => this.preparing.start(this.prepare(), () => undefined), PREPARE_MS);
    this.rebuild(finish(orderSteps(this, this.tree, this.selection, this.state)));
    this.showTab();
    this.graph.setFlame(this.state.root === "bottom");
    this.show();
  }

  /** Changes the state, and remembers the one before if the reader may want to go back to it. */
  update(patch: Partial<State>, how: History): void {
    const before = this.state;
    this.state = { ...before, ...patch };
    // What is empty stays the same: nothing that depends on it is computed anew.
    for (const name of ["filters", "transforms"] as const) if (this.state[name].length + before[name].length === 0) Object.assign(this.state, { [name]: before[name] });
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

  /**
   * Another profile, or this one grown: what was chosen stays chosen, found again by what it is called. The old one stays on
   * the screen until the new one is computed; `false` if it is not shown then, because `isHeld` says that it must not be.
   */
  async replace(profile: Profile, isHeld: () => boolean): Promise<boolean> {
    const next = await this.replacing.run(succeed(this.names, profile, () => this.state));
    if (isHeld()) return false;
    cancelJobs();
    const { graph, callTree } = this;
    const { carrier, source, initial, state, selection, self, tree: whole, ordered } = next;
    const isTimed = this.state.order === "time" && graph.tree !== this.tree;
    const place = isTimed && graph.tree ? placeOf(graph.tree, graph.zoom) : [];
    const zoomName = graph.tree ? this.names.name(graph.tree.entry[graph.zoom]) : "";
    const selected = graph.tree && graph.selected > 0 ? (isTimed ? placeOf : pathTo)(graph.tree, graph.selected) : null;
    const { isStepping } = this.searching;
    const open = callTree.openPaths().map((path) => carrier.path(path));
    const scrolled = graph.scrolledTo;
    Object.assign(this, { profile, names: carrier.after, source, initial, state, computed: state, aim: state, selection, self, tree: whole });
    this.scale = new Scale(profile, source.samples.total);
    this.colors = new Colors(this.names, readPalette(), state.color);
    this.filterBar.forget();
    callTree.carryOver(open);
    for (const each of [graph, this.sandwich.callers, this.sandwich.callees]) each.names = this.names;
    this.rebuild(ordered);
    const tree = graph.tree as Tree;
    if (isTimed && tree !== this.tree && place.length > 0) {
      const node = nodeAt(tree, place);
      if (this.names.name(tree.entry[node]) === zoomName) {
        this.state.zoom = [node];
        graph.zoomTo(node);
      }
    }
    graph.scrolledTo = scrolled;
    if (selected) graph.selected = isTimed ? nodeAt(tree, selected) : findPath(tree, carrier.path(selected));
    if (selected && isStepping) this.searching.goOn();
    this.store("replace");
    this.showTab();
    this.show();
    // Numbers of rows are the same in a profile that has grown, and else are of something else.
    if (!profile.served?.append) for (const view of [this.sandwich, this.table]) view.forgetOthers();
    graph.placeOutlines();
    return true;
  }

  private restore(): void {
    const before = this.state;
    const next = readAddress(location.hash.slice(1), this.initial, this.names);
    if (writeAddress(next, this.initial, this.names) === writeAddress(before, this.initial, this.names)) return;
    this.depth = Number(history.state?.depth ?? 0);
    // What is the same stays the same object: nothing that depends on it is computed anew.
    const isSame = (name: "filters" | "transforms" | "window" | "zoom" | "windowA" | "windowB") => JSON.stringify(next[name]) === JSON.stringify(before[name]);
    this.state = {
      ...next, filters: isSame("filters") ? before.filters : next.filters, transforms: isSame("transforms") ? before.transforms : next.transforms,
      window: isSame("window") ? before.window : next.window, zoom: isSame("zoom") ? before.zoom : next.zoom,
      windowA: isSame("windowA") ? before.windowA : next.windowA, windowB: isSame("windowB") ? before.windowB : next.windowB,
    };
    this.apply(before);
  }

  private store(how: History): void {
    try {
      const address = `#${writeAddress(this.state, this.initial, this.names)}`;
      history[how === "push" ? "pushState" : "replaceState"]({ depth: this.depth }, "", address);
    } catch {
      // A page inside a sandboxed frame may have no history; all else works.
      this.depth = 0;
    }
  }

  private apply(before: State): void {
    this.tooltip.hide();
    const differs = (...names: (keyof State)[]) => !haveSame(names, this.state, before);
    const { tree } = this;
    if (differs("color")) this.colors = new Colors(this.names, readPalette(), this.state.color);
    if (differs("tab")) this.showTab();
    this.compute();
    // The graph stays as it is until there is another, which is zoomed and searched anew.
    if (!this.computing.isRunning && tree === this.tree && haveSame(TREE_PARTS, this.state, before)) {
      if (differs("zoom")) this.graph.zoomTo(this.zoomOf(this.graph.tree as Tree));
    }
    if (differs("search", "regex")) this.searching.start();
    if (differs("root")) this.graph.setFlame(this.state.root === "bottom");
    this.show();
  }

  /** Has the tree made that was chosen: at once, or, when that takes long, with the old one on the screen meanwhile. */
  private compute(): void {
    const { state, computed, computing } = this;
    if (haveSame(TREE_PARTS, state, computed)) return computing.cancel();
    if (computing.isRunning && haveSame(TREE_PARTS, state, this.aim)) return;
    this.aim = state;
    let isAtOnce = true;
    computing.start(computeSteps(this, state, computed), (result) => {
      this.take(state, result);
      if (!isAtOnce) this.show();
    });
    isAtOnce = false;
  }

  private take(state: State, { selection, self, tree, ordered }: Computed): void {
    const open = this.callTree.openPaths();
    const isOther = tree !== this.tree;
    Object.assign(this, { computed: state, selection, self, tree });
    if (isOther) this.callTree.carryOver(open);
    this.rebuild(ordered);
  }

  /** The graph has another tree. */
  private rebuild(ordered: Tree | null): void {
    this.scale.whole = this.tree.total[0];
    byId("too-many").hidden = ordered !== null;
    byId("nothing").hidden = this.tree.total[0] > 0;
    this.graph.setTree(ordered ?? this.tree);
    this.graph.merged = this.state.mergeProcesses;
    this.graph.flame = this.state.root === "bottom";
    this.graph.colors = this.colors;
    this.graph.zoomTo(this.zoomOf(ordered ?? this.tree));
    this.searching.start();
  }

  /** The zoomed node: by its path, or in the order of time, where paths are not distinct, by its number. */
  zoomOf(tree: Tree): number {
    const { zoom } = this.state;
    // A path from the leaf leads nowhere in a tree of paths from the root.
    if (this.state.order === "inverted") return tree === this.tree ? 0 : findPath(tree, zoom);
    if (this.state.order !== "time" || this.graph.tree === this.tree) return findPath(tree, zoom);
    return tree === this.graph.tree && zoom.length === 1 && zoom[0] < tree.size ? zoom[0] : 0;
  }

  zoom(node: number): void {
    const { tree } = this.graph;
    if (!tree || node === this.graph.zoom) return;
    // In the order that comes next this box has another place.
    if (this.computing.isRunning && this.state.order !== this.computed.order) return;
    const isTimed = this.state.order === "time" && tree !== this.tree;
    this.update({ zoom: isTimed ? (node === 0 ? [] : [node]) : pathTo(tree, node) }, "push");
  }

  select(node: number): void {
    const { shownGraph } = this;
    shownGraph.selected = node;
    if (node >= 0) shownGraph.reveal(node);
    shownGraph.placeOutlines();
  }

  /** A row of the table: a function between its callers and callees; a module or library as a filter. */
  chooseRow(group: Group, row: number): void {
    if (group === "function") return this.update({ tab: "sandwich", chosen: row }, "push");
    const { libraries, modules } = this.names;
    const value = (group === "library" ? libraries : modules).texts[row];
    this.addFilter({ by: group, value, not: false });
  }

  /** What the selected samples weigh at each node of the source, and with all below it. */
  weights(): LineWeights {
    if (this.lineWeights?.self !== this.self) this.lineWeights = { self: this.self, totals: totalsOf(this.source, this.self) };
    return this.lineWeights;
  }

  /** What the first tooltip would wait for. */
  private *prepare(): Steps<void> {
    yield 0;
    // Made when it is asked for.
    void this.tree.target;
    yield 0.3;
    this.weights();
    yield 0.5;
    this.membersOfBoxes();
  }

  /** The lines of a function in the selected samples; only inside one box if that is given. */
  linesOf(row: number, box: number): LineSum[] {
    const { source, names, tree } = this;
    if (box < 0) return sumLines(source, names, tree, this.weights(), row);
    return sumLinesIn(source, names, this.membersOfBoxes(), this.weights(), row, box);
  }

  private membersOfBoxes(): Members {
    const { tree } = this;
    if (this.members?.tree !== tree) this.members = { tree, of: membersOf(tree) };
    return this.members.of;
  }

  // What is shown

  private showTab(): void {
    for (const tab of TABS) {
      const button = byId(`${tab}-tab`);
      button.setAttribute("aria-selected", String(tab === this.state.tab));
      button.tabIndex = tab === this.state.tab ? 0 : -1;
      byId(`${tab}-panel`).hidden = tab !== this.state.tab;
      if (tab === this.state.tab) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    // What has no place in this view is gone before a menu opens, not once it is open.
    for (const item of document.querySelectorAll<HTMLElement>("[data-on]")) item.hidden = !item.dataset.on?.split(" ").includes(this.state.tab);
    this.shownGraph.resize();
  }

  /** Draws what stands on the screen; what does not is drawn when its tab is opened. */
  show(): void {
    const fill: Record<Tab, () => void> = {
      graph: () => { this.graph.colors = this.colors; this.graph.redraw(); },
      sandwich: () => this.sandwich.fill(),
      table: () => this.table.fill(),
      tree: () => { this.callTree.fill(); this.searching.fill(); },
      timeline: () => this.timeline.fill(),
      difference: () => this.difference.fill(),
      source: () => this.sourceView.fill(),
    };
    fill[this.state.tab]();
    this.timeline.drawOverview();
    this.filterBar.render();
    this.viewMenu.render();
    renderLegend(this);
    renderSearch(this);
    renderPath(this);
    renderTitle(this);
    this.report();
  }

  /** Light or dark, or another palette. */
  recolor(): void {
    this.colors = new Colors(this.names, readPalette(), this.state.color);
    this.graph.colors = this.colors;
    this.sandwich.redraw();
    this.show();
    // At once: before a page is printed there is no next frame.
    this.shownGraph.draw();
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
