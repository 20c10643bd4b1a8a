// Filters and changes of stacks as chips, and the menu that adds one.

import { formatOffset, formatShare } from "../format";
import { FILTER_SORTS, filterText, RUNNING_KINDS, select, weighSelection, type Filter, type FilterSort } from "../model/filters";
import { printable } from "../model/names";
import { sumBy } from "../model/sums";
import type { Deed } from "../model/tree";
import type { Page } from "../page";
import { button, byId, element } from "./dom";
import { shorten } from "./tooltip";

const SORT_NAMES: Record<FilterSort, string> = {
  process: "process", pid: "pid", thread: "thread", cpu: "CPU", running: "running", library: "library or package", module: "module",
  function: "function", walk: "walk",
};
const DEED_NAMES: Record<Deed, string> = { focus: "focus", hide: "hidden", collapse: "collapsed", recursion: "recursion collapsed" };
/** Values that the menu lists; the field above them finds the others. */
const MOST_VALUES = 200;

interface Value {
  filter: Filter;
  text: string;
  weight: number;
}

export class FilterBar {
  private readonly shares = new Map<string, number>();
  private readonly sort = byId<HTMLSelectElement>("filter-sort");
  private readonly text = byId<HTMLInputElement>("filter-text");
  private readonly without = byId<HTMLInputElement>("filter-without");
  private readonly menu = byId<HTMLDetailsElement>("filter-menu");
  private values: Value[] = [];

  constructor(private readonly page: Page) {
    for (const by of FILTER_SORTS) this.sort.append(element("option", { value: by }, SORT_NAMES[by]));
    this.menu.addEventListener("toggle", () => { if (this.menu.open) this.fillValues(); });
    this.sort.addEventListener("change", () => { this.text.value = ""; this.fillValues(); });
    this.text.addEventListener("input", () => this.renderValues());
  }

  open(): void {
    this.menu.open = true;
    this.sort.focus();
  }

  render(): void {
    const { state } = this.page;
    const chips = state.filters.map((filter) => this.chip(
      `${filter.not ? "without " : ""}${SORT_NAMES[filter.by]}`, shorten(printable(filterText(filter, this.page.names)), 60), this.share(filter),
      () => this.page.update({ filters: state.filters.filter((other) => other !== filter) }, "push")));
    if (state.window) {
      const [from, to] = state.window;
      const { source } = this.page;
      const text = `${formatOffset(from, source.duration)} – ${formatOffset(Math.min(to, source.duration), source.duration)}`;
      const inside = select(source, this.page.names, [], state.window);
      const share = formatShare(weighSelection(source, inside), source.samples.total);
      chips.push(this.chip("time", text, share, () => this.page.update({ window: null }, "push")));
    }
    for (const transform of state.transforms) {
      const { names } = this.page;
      const name = transform.deed === "collapse" ? names.name(names.firstGroup + transform.row) : names.functionName(transform.row);
      chips.push(this.chip(DEED_NAMES[transform.deed], shorten(name, 60), "", () =>
        this.page.update({ transforms: state.transforms.filter((other) => other !== transform), zoom: [] }, "push")));
    }
    if (chips.length > 1) {
      chips.push(button("Remove all", "quiet", () => this.page.update({ filters: [], transforms: [], window: null, zoom: [] }, "push")));
    }
    byId("chips").replaceChildren(...chips);
  }

  /** The share of everything that the filter lets through by itself. */
  private share(filter: Filter): string {
    const key = `${filter.not}:${filter.by}:${filter.value}`;
    const { source, names } = this.page;
    const known = this.shares.get(key);
    const weight = known ?? weighSelection(source, select(source, names, [filter], null));
    this.shares.set(key, weight);
    return formatShare(weight, source.samples.total);
  }

  private chip(sort: string, text: string, share: string, remove: () => void): HTMLElement {
    const close = button("×", "chip-close", remove);
    close.setAttribute("aria-label", `Remove ${sort} ${text}`);
    return element("span", { class: "chip" }, element("span", { class: "chip-sort" }, sort), element("span", { class: "chip-text" }, text),
      element("span", { class: "chip-share" }, share), close);
  }

  private fillValues(): void {
    const by = this.sort.value as FilterSort;
    this.values = listValues(this.page, by).sort((a, b) => b.weight - a.weight || a.text.localeCompare(b.text));
    this.renderValues();
  }

  private renderValues(): void {
    const wanted = this.text.value.toLowerCase();
    const { total } = this.page.source.samples;
    const shown = this.values.filter(({ text }) => text.toLowerCase().includes(wanted));
    const made = shown.slice(0, MOST_VALUES).map(({ filter, text, weight }) => {
      const item = button("", "filter-value", () => {
        this.menu.open = false;
        this.page.addFilter({ ...filter, not: this.without.checked });
      });
      item.title = shorten(text);
      item.append(element("span", {}, shorten(text, 200)), element("span", { class: "number" }, formatShare(weight, total)));
      return item;
    });
    const none = element("p", { class: "soft" }, this.values.length === 0 ? "Nothing here to choose from." : "None has this in its name.");
    byId("filter-values").replaceChildren(...made.length > 0 ? made : [none]);
  }
}

/** What there is to choose from, with what it weighs in the whole profile, or for stacks in what is shown. */
function listValues(page: Page, by: FilterSort): Value[] {
  const { names, source } = page;
  const sums = new Map<string, Value>();
  const add = (value: string, text: string, weight: number) => {
    const known = sums.get(value);
    if (known) known.weight += weight;
    else sums.set(value, { filter: { by, value, not: false }, text, weight });
  };
  if (by === "library" || by === "module" || by === "function") {
    const grouping = by === "library" ? names.libraries : names.modules;
    const size = names.profile.function_name.length;
    const key = (entry: number) => {
      const row = names.functionRow(entry);
      return row < 0 || by === "function" ? row : grouping.of[row];
    };
    for (const { row, total } of sumBy(page.tree, names, 0, size, key)) {
      if (by === "function") add(String(row), names.searchText(names.firstFunction + row), total);
      else add(grouping.texts[row], printable(grouping.texts[row]), total);
    }
    return [...sums.values()];
  }
  const { node, weight, cpu, complete, count } = source.samples;
  const { threads, processes, strings } = names.profile;
  const labels = threads.map((thread, row): [string, string] => {
    const process = processes[thread.process];
    if (by === "process") return [strings[process.name], names.string(process.name) || "(no name)"];
    if (by === "pid") return [String(process.pid), names.name(names.firstProcess + thread.process)];
    return [String(thread.tid), names.name(names.firstThread + row)];
  });
  for (let at = 0; at < count; at++) {
    const amount = weight ? weight[at] : 1;
    if (by === "cpu") add(String(cpu[at]), `CPU ${cpu[at]}`, amount);
    else if (by === "walk") add(complete[at] ? "complete" : "incomplete", complete[at] ? "complete" : "incomplete", amount);
    else if (by === "running") {
      const kind = RUNNING_KINDS[source.kind[node[at]]] || "incomplete";
      add(kind === "interpreter" ? "native" : kind, kind === "interpreter" ? "native" : kind, amount);
    } else {
      const label = labels[source.thread[node[at]]];
      if (label) add(label[0], label[1], amount);
    }
  }
  return [...sums.values()];
}
