// What is under the pointer, in full.

const LINES_SHOWN = 5;

class Tooltip {
  constructor(box, graph, names, source, scale) {
    Object.assign(this, { box, graph, names, source, scale, node: -1 });
  }

  hide() {
    this.node = -1;
    this.box.hidden = true;
  }

  show(node, x, y) {
    if (node !== this.node) {
      this.node = node;
      this.box.replaceChildren(...this.content(node));
      this.box.hidden = false;
    }
    // Beside the pointer, on whichever side there is room.
    const { width, height } = this.box.getBoundingClientRect();
    const left = x + 14 + width > innerWidth - 8 ? Math.max(8, x - 14 - width) : x + 14;
    const top = y + 18 + height > innerHeight - 8 ? Math.max(8, y - 12 - height) : y + 18;
    this.box.style.transform = `translate(${left}px, ${top}px)`;
  }

  content(node) {
    const { names, graph } = this;
    const { tree } = graph;
    const entry = tree.entry[node];
    const kind = names.kind(entry);
    const label = KIND_NAMES[kind];
    const parts = [element("div", { class: "name" }, names.name(entry, tree.view))];
    const place = this.place(entry, kind);
    if (place) parts.push(element("div", { class: "place" }, place));
    parts.push(element("div", { class: "kind" }, swatch(graph, kind), label));
    parts.push(this.amounts(node));
    if (kind === KIND_PYTHON && !tree.view.lines) parts.push(...this.lines(node));
    return parts;
  }

  place(entry, kind) {
    const { names } = this;
    if (kind === KIND_PROCESS) return names.string(names.profile.processes[entry - names.firstProcess].command_line);
    return names.place(entry);
  }

  amounts(node) {
    const { graph: { tree, zoom }, scale } = this;
    const row = (title, value) => element("tr", {},
      element("th", {}, title),
      element("td", {}, scale.share(value)),
      element("td", {}, scale.time(value)),
      element("td", {}, scale.samples(value)));
    const table = element("table", {}, row("Total", tree.total[node]), row("Self", tree.self[node]));
    if (zoom > 0 && tree.depth[node] > tree.depth[zoom]) {
      table.append(element("tr", {},
        element("th", {}, "Of the zoomed"), element("td", {}, formatShare(tree.total[node], tree.total[zoom]))));
    }
    return table;
  }

  // Where in the function the time goes: a line has total while it waits for what it calls.
  lines(node) {
    const { graph: { tree }, source, names, scale } = this;
    const lines = sumLines(tree, source, names, node);
    const shown = lines.slice(0, LINES_SHOWN);
    if (shown.length === 0 || (lines.length === 1 && shown[0].line === 0)) return [];
    const table = element("table", {}, element("tr", {},
      element("th", {}, lines.length > shown.length ? `Top ${shown.length} of ${lines.length} lines` : "Lines"),
      element("th", {}, "total"), element("th", {}, "self")));
    for (const { line, total, self } of shown) {
      table.append(element("tr", {},
        element("th", {}, line === 0 ? "unknown" : `line ${line}`),
        element("td", {}, scale.share(total)), element("td", {}, scale.share(self))));
    }
    return [element("div", { class: "lines" }, table)];
  }
}
