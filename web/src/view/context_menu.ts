// What can be done with one box: by the right button, the menu key, or `m`.

import type { Filter } from "../model/filters";
import { NONE } from "../data/profile";
import { KIND_GROUP, KIND_PROCESS, KIND_PYTHON, KIND_THREAD } from "../model/kinds";
import { escapePattern } from "../model/search";
import { pathTo, type Deed, type Tree } from "../model/tree";
import type { Page } from "../page";
import { announce, byId, element } from "./dom";
import { shorten } from "./tooltip";

interface Item {
  label: string;
  run: () => void;
}

export class ContextMenu {
  private readonly box = byId("context-menu");
  private opener: Element | null = null;

  constructor(private readonly page: Page) {
    addEventListener("pointerdown", (event) => {
      if (!this.box.contains(event.target as Node)) this.close(false);
    });
    addEventListener("blur", () => this.close(false));
    this.box.addEventListener("keydown", (event) => this.onKey(event));
  }

  get isOpen(): boolean {
    return !this.box.hidden;
  }

  close(refocus = true): void {
    if (this.box.hidden) return;
    this.box.hidden = true;
    if (refocus && this.opener instanceof HTMLElement) this.opener.focus();
  }

  open(tree: Tree, node: number, x: number, y: number): void {
    const items = this.items(tree, node);
    this.opener = document.activeElement;
    this.page.tooltip.hide();
    const name = this.page.names.name(tree.entry[node], this.page.state.mergeProcesses);
    const made = items.map(({ label, run }) => {
      const item = element("button", { type: "button", role: "menuitem", tabindex: "-1" }, label);
      item.addEventListener("click", () => { this.close(); run(); });
      return item;
    });
    this.box.replaceChildren(element("div", { class: "menu-title" }, shorten(name, 80)), ...made);
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    this.box.style.left = `${Math.max(4, Math.min(x, innerWidth - width - 4))}px`;
    this.box.style.top = `${Math.max(4, Math.min(y, innerHeight - height - 4))}px`;
    made[0]?.focus();
  }

  private onKey(event: KeyboardEvent): void {
    const items = [...this.box.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) items[(at + step + items.length) % items.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.close();
    else if (event.key !== "Enter" && event.key !== " ") return;
    event.stopPropagation();
    if (event.key !== "Enter" && event.key !== " ") event.preventDefault();
  }

  private items(tree: Tree, node: number): Item[] {
    const { page } = this;
    const { names } = page;
    const entry = tree.entry[node];
    const kind = names.kind(entry);
    const items: Item[] = [];
    if (tree === page.difference.tree) items.push({ label: "Zoom to this box", run: () => page.difference.zoom(node) });
    if (tree === page.graph.tree) items.push({ label: "Zoom to this box", run: () => page.zoom(node) });
    if (names.functionRow(entry) >= 0) items.push(...this.functionItems(entry));
    if (kind === KIND_GROUP) {
      const row = entry - names.firstGroup;
      const others = page.state.transforms.filter((each) => each.deed !== "collapse" || each.row !== row);
      items.push({ label: "Show its functions again", run: () => page.update({ transforms: others }, "push") });
    }
    if (kind === KIND_PROCESS) {
      const process = names.profile.processes[entry - names.firstProcess];
      const filter: Filter = page.state.mergeProcesses
        ? { by: "process", value: names.profile.strings[process.name], not: false }
        : { by: "pid", value: String(process.pid), not: false };
      items.push(...this.filterItems("this process", filter));
    }
    if (kind === KIND_THREAD) {
      const { tid } = names.profile.threads[entry - names.firstThread];
      items.push(...this.filterItems("this thread", { by: "thread", value: String(tid), not: false }));
    }
    items.push({ label: "Copy name", run: () => copy(names.searchText(entry), "Name copied") });
    items.push({ label: "Copy stack", run: () => copy(stackText(page, tree, node), "Stack copied") });
    return items;
  }

  private functionItems(entry: number): Item[] {
    const { page } = this;
    const { names } = page;
    const row = names.functionRow(entry);
    const library = names.libraries.of[row];
    const change = (deed: Deed, on: number) => () =>
      page.update({ transforms: [...page.state.transforms, { deed, row: on }], zoom: [] }, "push");
    return [
      { label: "Callers and callees", run: () => page.update({ tab: "sandwich", chosen: row }, "push") },
      ...this.sourceItems(entry, row),
      { label: "Focus: only what is below it", run: change("focus", row) },
      { label: "Hide: its time goes to its callers", run: change("hide", row) },
      { label: "Collapse its recursion", run: change("recursion", row) },
      { label: `Collapse ${shorten(names.name(names.firstGroup + library), 40)}`, run: change("collapse", library) },
      ...this.filterItems("samples with it", { by: "function", value: String(row), not: false }),
      { label: "Search for it", run: () => page.update({ search: `^${escapePattern(names.searchText(entry))}$`, regex: true }, "replace") },
    ];
  }

  private sourceItems(entry: number, row: number): Item[] {
    const { page } = this;
    const { names } = page;
    const file = names.profile.function_file[row];
    if (names.kind(entry) !== KIND_PYTHON || file === NONE) return [];
    const line = names.line(entry) || (page.linesOf(row, -1)[0]?.line ?? names.profile.function_line[row]);
    return [{ label: "Open in source", run: () => page.update({ tab: "source", file: names.profile.strings[file], line }, "push") }];
  }

  private filterItems(what: string, filter: Filter): Item[] {
    return [
      { label: `Only ${what}`, run: () => this.page.addFilter(filter) },
      { label: `Without ${what}`, run: () => this.page.addFilter({ ...filter, not: true }) },
    ];
  }
}

/** The stack of a box, the root first, a frame a line. */
function stackText(page: Page, tree: Tree, node: number): string {
  const { names, state } = page;
  const path = pathTo(tree, node);
  const isCallers = tree === page.sandwich.callers.tree;
  const entries = isCallers ? [...path.reverse(), tree.entry[0]] : tree === page.sandwich.callees.tree ? [tree.entry[0], ...path] : path;
  return entries.map((entry) => names.searchText(entry, state.mergeProcesses)).join("\n");
}

function copy(text: string, done: string): void {
  const fallBack = () => {
    // Where the clipboard is closed to files, the old way works from inside a click.
    const field = element("textarea", { class: "off-screen" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(fallBack);
  else fallBack();
  document.documentElement.dataset.copied = text;
  announce(done);
}
