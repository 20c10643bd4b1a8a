// The page: state, what the controls do to it, and what is drawn from it.
//
// The address keeps what can be passed on (#search=…&regex=1&tab=table); the history keeps the zoom, so that the browser's
// own Back works.

class Page {
  constructor(profile, source) {
    Object.assign(this, { profile, source });
    this.names = new Names(profile);
    this.scale = new Scale(profile, source.total[0]);
    const { threads, merge_processes: mergeProcesses, interpreter_frames: interpreter } = profile.view;
    this.view = { processes: true, mergeProcesses, threads, lines: false, interpreter };
    this.test = null;
    this.pushed = 0;
    this.tab = "graph";
    this.graph = new FlameGraph(byId("graph-scroll"), byId("graph-space"), byId("graph"), this.names);
    this.tooltip = new Tooltip(byId("tooltip"), this.graph, this.names, source, this.scale);
    this.table = new FunctionTable({
      head: byId("table-head"), scroller: byId("table-scroll"), space: byId("table-space"),
      names: this.names, scale: this.scale, graph: this.graph, onChoose: (row) => this.showFunction(row),
    });
    this.theme = new Theme(byId("theme-button"), () => this.recolor());
    renderHead(profile, byId("target"), byId("facts"));
  }

  start() {
    const address = new URLSearchParams(location.hash.slice(1));
    this.setSearchField(address.get("search") ?? "", address.get("regex") === "1");
    this.showPanel(address.get("tab") === "table" ? "table" : "graph");
    this.rebuild(history.state?.path ?? []);
    this.pushed = history.state?.pushed ?? 0;
    connectControls(this);
    connectKeys(this);
    connectPointer(this);
    addEventListener("popstate", (event) => this.restore(event.state));
  }

  // The tree anew, after a change of what it shows.
  rebuild(path = pathTo(this.tree, this.graph.zoom)) {
    this.tree = buildTree(this.source, this.names, this.view);
    this.graph.setTree(this.tree);
    this.graph.zoomTo(findPath(this.tree, path));
    this.search();
    this.recolor();
  }

  recolor() {
    this.graph.setColors(readColors());
    if (!this.tree) return;
    renderLegend(this.profile, this.graph, this.tree, this.names, byId("legend"));
    this.table.render();
  }

  // Zoom

  zoom(node) {
    if (node === this.graph.zoom) return;
    this.applyZoom(node);
    this.pushed++;
    this.store("pushState");
  }

  applyZoom(node) {
    this.tooltip.hide();
    this.graph.zoomTo(node);
    renderPath(this);
    if (this.tab === "table") this.fillTable();
  }

  back() {
    if (this.pushed > 0) history.back();
    else if (this.graph.zoom > 0) this.zoom(0);
    else this.select(-1);
  }

  restore(state) {
    this.pushed = state?.pushed ?? 0;
    this.applyZoom(findPath(this.tree, state?.path ?? []));
  }

  select(node) {
    this.graph.selected = node;
    if (node >= 0) this.graph.reveal(node);
    this.graph.placeOutlines();
  }

  // Search

  search() {
    const { test, error } = compileSearch(byId("search").value, this.regex);
    this.test = test;
    this.graph.found = test ? searchTree(this.tree, this.names, test) : null;
    this.graph.redraw();
    renderSearch(this, error);
    renderPath(this);
    if (this.tab === "table") this.fillTable();
  }

  setSearchField(text, regex) {
    byId("search").value = text;
    this.regex = regex;
    byId("search-regex").setAttribute("aria-pressed", String(regex));
  }

  setSearch(text, regex) {
    this.setSearchField(text, regex);
    this.search();
    this.store("replaceState");
  }

  // Outlines the next match, and zooms so far that it can be seen.
  step(direction) {
    const { found, tree } = this.graph;
    if (!found || found.tops.length === 0) return;
    const count = found.tops.length;
    found.at = found.at < 0 && direction < 0 ? count - 1 : (found.at + direction + count) % count;
    const node = found.tops[found.at];
    let zoom = node;
    while (zoom > 0 && tree.total[zoom] < tree.total[node] * 12) zoom = tree.parent[zoom];
    const inside = tree.start[node] >= tree.start[this.graph.zoom]
      && tree.start[node] < tree.start[this.graph.zoom] + tree.total[this.graph.zoom]
      && tree.depth[node] >= tree.depth[this.graph.zoom];
    const wide = tree.total[node] / tree.total[this.graph.zoom] * this.graph.width > 24;
    if (!inside || !wide) this.zoom(zoom);
    this.select(node);
    renderSearch(this, "");
  }

  // Table

  fillTable() {
    this.table.fill(this.tree, this.graph.zoom, this.test);
  }

  showPanel(tab) {
    this.tab = tab;
    for (const name of ["graph", "table"]) {
      byId(`${name}-tab`).setAttribute("aria-selected", String(name === tab));
      byId(`${name}-panel`).hidden = name !== tab;
    }
  }

  show(tab) {
    this.showPanel(tab);
    this.tooltip.hide();
    if (tab === "table") this.fillTable();
    else this.graph.resize();
    this.store("replaceState");
  }

  // A function of the table as a search in the graph: its own boxes and no others.
  showFunction({ entry }) {
    const exact = escapePattern(this.names.searchText(entry, this.view));
    this.show("graph");
    this.setSearch(`^${this.view.lines ? exact.replace(/(:\d+)?\\\)$/, "(:\\d+)?\\)") : exact}$`, true);
  }

  reset() {
    this.select(-1);
    this.setSearch("", false);
    this.zoom(0);
    this.graph.setFlame(this.graph.flame);
  }

  // Address and history

  store(method) {
    const address = new URLSearchParams();
    const text = byId("search").value;
    if (text) address.set("search", text);
    if (text && this.regex) address.set("regex", "1");
    if (this.tab === "table") address.set("tab", "table");
    const state = { pushed: this.pushed, path: pathTo(this.tree, this.graph.zoom) };
    try {
      history[method](state, "", `#${address}`);
    } catch {
      // A page inside a sandboxed frame may have no history; it zooms all the same.
      this.pushed = 0;
    }
  }
}

// What was measured and found, for tests and for the curious.
function report(page, facts) {
  Object.assign(document.documentElement.dataset, {
    state: "ready", nodes: page.tree.size, height: page.tree.height, boxes: page.graph.boxes ?? 0,
    loadMs: facts.load.toFixed(1), drawMs: (page.graph.drawMilliseconds ?? 0).toFixed(1),
    searchShare: page.graph.found ? (page.graph.found.value / page.tree.total[0]).toFixed(6) : "",
    searchBoxes: page.graph.found ? page.graph.found.boxes : "",
  });
}

async function main() {
  const started = performance.now();
  const profile = await readProfile(byId("profile"));
  const page = new Page(profile, buildSource(profile));
  if (profile.samples === 0) {
    renderEmpty(profile, byId("message"));
    for (const id of ["graph-panel", "path", "legend"]) byId(id).hidden = true;
    document.querySelector(".bar").hidden = true;
    document.documentElement.dataset.state = "empty";
    connectDialogs(profile);
    return;
  }
  page.start();
  page.graph.draw();
  report(page, { load: performance.now() - started });
  globalThis.viperf = page;
}

main().catch((error) => {
  document.documentElement.dataset.state = "failed";
  byId("message").replaceChildren(element("h2", {}, "The profile in this page cannot be read"), element("p", {}, String(error)));
  byId("message").hidden = false;
  byId("graph-panel").hidden = true;
});
