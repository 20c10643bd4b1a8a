// The functions as a table. Only the rows in the window are elements.

const TABLE_ROW = 28;
const TABLE_COLUMNS = [
  { key: "self", title: "Self", hint: "the function itself was running", first: "descending" },
  { key: "total", title: "Total", hint: "the function or what it called was running", first: "descending" },
  { key: "name", title: "Function", hint: "", first: "ascending" },
  { key: "place", title: "File or library", hint: "", first: "ascending" },
  { key: "kind", title: "Kind", hint: "", first: "ascending" },
];

class FunctionTable {
  constructor({ head, scroller, space, names, scale, graph, onChoose }) {
    Object.assign(this, { scroller, space, names, scale, graph, onChoose });
    this.key = "self";
    this.direction = "descending";
    this.rows = [];
    this.heads = TABLE_COLUMNS.map((column) => {
      const button = element("button", { type: "button", role: "columnheader", title: column.hint }, column.title);
      button.addEventListener("click", () => this.sortBy(column));
      return button;
    });
    head.replaceChildren(...this.heads);
    scroller.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.render()).observe(scroller);
  }

  // The functions at or below a node that match, all when there is no test.
  fill(tree, top, test) {
    const { names } = this;
    this.rows = sumFunctions(tree, names, top)
      .filter(({ entry }) => !test || test(names.searchText(entry, tree.view)))
      .map((sum) => ({ ...sum, name: names.name(sum.entry, tree.view), place: names.place(sum.entry), kind: names.kind(sum.entry) }));
    this.sort();
    this.scroller.scrollTop = 0;
    this.render();
  }

  sortBy({ key, first }) {
    const other = this.direction === "ascending" ? "descending" : "ascending";
    this.direction = key === this.key ? other : first;
    this.key = key;
    this.sort();
    this.render();
  }

  sort() {
    const sign = this.direction === "ascending" ? 1 : -1;
    const { key } = this;
    const compare = key === "name" || key === "place"
      ? new Intl.Collator("en", { numeric: true }).compare
      : (a, b) => a - b;
    this.rows.sort((a, b) => sign * compare(a[key], b[key]) || b.self - a.self || b.total - a.total || a.entry - b.entry);
    this.heads.forEach((button, index) => {
      if (TABLE_COLUMNS[index].key === key) button.setAttribute("aria-sort", this.direction);
      else button.removeAttribute("aria-sort");
    });
  }

  render() {
    const height = this.scroller.clientHeight;
    if (height === 0) return;
    this.space.style.height = `${this.rows.length * TABLE_ROW}px`;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / TABLE_ROW) - 5);
    const to = Math.min(this.rows.length, from + Math.ceil(height / TABLE_ROW) + 10);
    const shown = this.rows.slice(from, to).map((row, index) => this.renderRow(row, from + index));
    this.space.replaceChildren(...shown);
  }

  renderRow(row, index) {
    const made = element("div", { class: "table-row", role: "row", title: `${row.name}\n${row.place}` },
      this.renderAmount(row.self), this.renderAmount(row.total),
      element("span", {}, row.name), element("span", { class: "place" }, element("bdi", {}, row.place)),
      element("span", { class: "kind" }, swatch(this.graph, row.kind), KIND_NAMES[row.kind]));
    made.style.top = `${index * TABLE_ROW}px`;
    made.addEventListener("click", () => this.onChoose(row));
    return made;
  }

  renderAmount(value) {
    const meter = element("span", { class: "meter" });
    meter.style.width = `${value / this.scale.whole * 100}%`;
    const amount = this.scale.time(value) || this.scale.samples(value);
    return element("span", { class: "amount" },
      element("span", { class: "share" }, this.scale.share(value)), element("span", { class: "time" }, amount), meter);
  }
}
