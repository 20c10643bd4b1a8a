// Filters and changes of stacks as chips, and the menu that adds one.

import { formatOffset, formatShare } from "../format";
import { FILTER_SORTS, fieldNames, filterText, RUNNING_KINDS, select, splitField, weighFilter, weighSelection, type Filter, type FilterSort, type TimeWindow } from "../model/filters";
import { printable } from "../model/names";
import { sumBy } from "../model/sums";
import { finish, inChunks, type Steps } from "../model/steps";
import type { Deed } from "../model/tree";
import type { Page } from "../page";
import { button, byId, element, onToggle } from "./dom";
import { Job, Question } from "./job";
import { shorten } from "./tooltip";

const SORT_NAMES: Record<FilterSort, string> = {
  process: "process", pid: "pid", thread: "thread", cpu: "CPU", running: "running", library: "library or package", module: "module",
  function: "function", walk: "walk", recording: "recording", field: "field",
};
const DEED_NAMES: Record<Deed, string> = { focus: "focus", hide: "hidden", collapse: "collapsed", recursion: "recursion collapsed" };
/** Values that the menu lists; the field above them finds the others. */
const MOST_VALUES = 200;

/** `container_name` in words. */
function fieldTitle(name: string): string {
  return printable(name.replaceAll("_", " "));
}

function keyOf({ not, by, value }: Filter): string {
  return `${not}:${by}:${value}`;
}

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
  private readonly weighing = new Job();
  private readonly listing = new Question<Value[]>();

  constructor(private readonly page: Page) {
    this.fillSorts();
    onToggle(this.menu, (isOpen) => { if (isOpen) this.fillValues(); });
    this.sort.addEventListener("change", () => { this.text.value = ""; this.fillValues(); });
    this.text.addEventListener("input", () => this.renderValues());
  }

  /** After the profile has changed: shares are others, and there may be more to filter by. */
  forget(): void {
    this.shares.clear();
    this.weighing.cancel();
    this.fillSorts();
  }

  private fillSorts(): void {
    const { profile, names } = this.page;
    const sorts: [value: string, title: string][] = FILTER_SORTS
      .filter((by) => by !== "field" && (by !== "recording" || profile.comparison)).map((by) => [by, SORT_NAMES[by]]);
    for (const name of fieldNames(names)) sorts.push([`field=${name}`, fieldTitle(name)]);
    const chosen = this.sort.value;
    if (sorts.map(([value]) => value).join() === [...this.sort.options].map(({ value }) => value).join()) return;
    this.sort.replaceChildren(...sorts.map(([value, title]) => element("option", { value }, title)));
    if (sorts.some(([value]) => value === chosen)) this.sort.value = chosen;
  }

  open(): void {
    this.menu.open = true;
    this.sort.focus();
  }

  render(): void {
    const { state } = this.page;
    const chips = state.filters.map((filter) => this.chip(
      `${filter.not ? "without " : ""}${filter.by === "field" ? fieldTitle(splitField(filter.value)[0]) : SORT_NAMES[filter.by]}`, shorten(printable(filterText(filter, this.page.names)), 60), this.share(filter),
      () => this.page.update({ filters: state.filters.filter((other) => other !== filter) }, "push")));
    if (state.window) {
      const [from, to] = state.window;
      const { source } = this.page;
      const text = `${formatOffset(from, source.duration)} – ${formatOffset(Math.min(to, source.duration), source.duration)}`;
      const inside = select(source, this.page.names, [], state.window);
      const share = formatShare(finish(weighSelection(source, inside)), source.samples.total);
      const chip = this.chip("time", text, share, () => this.page.update({ window: null }, "push"));
      if (!this.page.profile.comparison) chip.lastElementChild?.before(...this.compareButtons(state.window));
      chips.push(chip);
    }
    for (const transform of state.transforms) {
      const { names } = this.page;
      const name = transform.deed === "collapse" ? names.name(names.firstGroup + transform.row) : names.functionName(transform.row);
      chips.push(this.chip(DEED_NAMES[transform.deed], shorten(name, 60), "", () =>
        this.page.update({ transforms: state.transforms.filter((other) => other !== transform), zoom: [] }, "push")));
    }
    if (state.minimum > 0) chips.push(this.minimumChip());
    if (chips.length > 1) {
      chips.push(button("Remove all", "quiet", () => this.page.update({ filters: [], transforms: [], window: null, minimum: 0, zoom: [] }, "push")));
    }
    byId("chips").replaceChildren(...chips);
    this.weigh();
  }

  /** A chosen stretch of time can be a side of the comparison. */
  private compareButtons(window: TimeWindow): HTMLElement[] {
    return (["windowA", "windowB"] as const).map((name) => {
      const letter = name === "windowA" ? "A" : "B";
      const made = button(letter, "chip-close", () => this.page.update({ [name]: window, window: null, tab: "difference" }, "push"));
      made.title = letter === "A" ? "Compare: this is A, the base" : "Compare: this is B, what is compared with the base";
      made.setAttribute("aria-label", made.title);
      return made;
    });
  }

  /** Small boxes are left out; the share is that of the time which ends in a box that is shown. */
  private minimumChip(): HTMLElement {
    const { tree, state } = this.page;
    const kept = tree.self.reduce((sum, each) => sum + each, 0);
    return this.chip("boxes", `from ${+(state.minimum * 100).toPrecision(12)} %`, formatShare(kept, tree.total[0]), () => this.page.update({ minimum: 0 }, "push"));
  }

  /** The share of everything that the filter lets through by itself; as long as that is not known, nothing. */
  private share(filter: Filter): string {
    const weight = this.shares.get(keyOf(filter));
    return weight === undefined ? "…" : formatShare(weight, this.page.source.samples.total);
  }

  /** Finds the shares that are not known yet, and shows them. */
  private weigh(): void {
    const { source, names, state: { filters } } = this.page;
    const filter = filters.find((each) => !this.shares.has(keyOf(each)));
    if (!filter) return this.weighing.cancel();
    if (this.weighing.isRunning) return;
    this.weighing.start(weighFilter(source, names, filter), (weight) => {
      this.shares.set(keyOf(filter), weight);
      this.render();
    });
  }

  private chip(sort: string, text: string, share: string, remove: () => void): HTMLElement {
    const close = button("×", "chip-close", remove);
    close.setAttribute("aria-label", `Remove ${sort} ${text}`);
    return element("span", { class: "chip" }, element("span", { class: "chip-sort" }, sort), element("span", { class: "chip-text" }, text),
      element("span", { class: "chip-share" }, share), close);
  }

  private fillValues(): void {
    const [by, field] = this.sort.value.split("=") as [FilterSort, string?];
    const { page } = this;
    const key = [page.source, by, field, STACK_SORTS.includes(by) ? page.tree : null];
    this.listing.ask(key, () => listValues(page, by, field), (values) => {
      this.values = values.sort((a, b) => b.weight - a.weight || a.text.localeCompare(b.text));
      this.renderValues();
    });
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

/** What a stack holds, as the tree that is shown has it. */
const STACK_SORTS: readonly FilterSort[] = ["library", "module", "function"];

/** What there is to choose from, with what it weighs in the whole profile, or for stacks in what is shown. */
function* listValues(page: Page, by: FilterSort, field = ""): Steps<Value[]> {
  return yield* STACK_SORTS.includes(by) ? listStacks(page, by) : listSamples(page, by, field);
}

/** Values by their name, added up. */
class Sums {
  private readonly values = new Map<string, Value>();

  constructor(private readonly by: FilterSort) {}

  add(value: string, text: string, weight: number): void {
    const known = this.values.get(value);
    if (known) known.weight += weight;
    else this.values.set(value, { filter: { by: this.by, value, not: false }, text, weight });
  }

  get all(): Value[] {
    return [...this.values.values()];
  }
}

function* listStacks({ names, tree }: Page, by: FilterSort): Steps<Value[]> {
  const sums = new Sums(by);
  const grouping = by === "library" ? names.libraries : names.modules;
  const key = (entry: number) => {
    const row = names.functionRow(entry);
    return row < 0 || by === "function" ? row : grouping.of[row];
  };
  for (const { row, total } of yield* sumBy(tree, names, 0, names.profile.function_name.length, key)) {
    if (by === "function") sums.add(String(row), names.searchText(names.firstFunction + row), total);
    else sums.add(grouping.texts[row], printable(grouping.texts[row]), total);
  }
  return sums.all;
}

/** What a sample counts for: its value and how that reads; an empty value for none. */
function labeler({ names, source }: Page, by: FilterSort, field: string): (at: number) => [value: string, text: string] {
  const { node, cpu, complete } = source.samples;
  const { threads, processes, strings, sample_side: side, comparison } = names.profile;
  switch (by) {
    case "cpu": return (at) => [String(cpu[at]), `CPU ${cpu[at]}`];
    case "recording": return (at) => [String(side?.[at] ?? 0), comparison?.sides[side?.[at] ?? 0]?.name ?? ""];
    case "walk": return (at) => complete[at] ? ["complete", "complete"] : ["incomplete", "incomplete"];
    case "running": return (at) => {
      const kind = RUNNING_KINDS[source.kind[node[at]]] || "incomplete";
      return kind === "interpreter" ? ["native", "native"] : [kind, kind];
    };
  }
  const labels = threads.map((thread, row): [string, string] => {
    const process = processes[thread.process];
    if (by === "field") {
      const value = names.fieldsOf(thread.process).get(field);
      return value === undefined ? ["", ""] : [`${field}=${value}`, printable(value)];
    }
    if (by === "process") return [strings[process.name], names.string(process.name) || "(no name)"];
    if (by === "pid") return [String(process.pid), names.name(names.firstProcess + thread.process)];
    return [String(thread.tid), names.name(names.firstThread + row)];
  });
  return (at) => labels[source.thread[node[at]]] ?? ["", ""];
}

/** Samples that are gone through at a time. */
const CHUNK = 50_000;

function* listSamples(page: Page, by: FilterSort, field: string): Steps<Value[]> {
  const { count, weight } = page.source.samples;
  const sums = new Sums(by), label = labeler(page, by, field);
  yield* inChunks(count, CHUNK, (from, to) => {
    for (let at = from; at < to; at++) {
      const [value, text] = label(at);
      if (value !== "") sums.add(value, text, weight ? weight[at] : 1);
    }
  });
  return sums.all;
}
