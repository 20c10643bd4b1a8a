// What buttons and keys do.

import type { Profile } from "./data/profile";
import { exportSeen, type ExportFormat } from "./export";
import type { Page } from "./page";
import { COLORINGS, ORDERS, TABS } from "./state";
import { renderDetails, renderHelp } from "./view/about";
import { announce, byId, onToggle } from "./view/dom";
import { connectPointer } from "./view/pointer";
import type { Theme } from "./view/theme";

/** `shown` gives the profile, and the page of it: `null` when it has no samples. */
export function connectDialogs(shown: () => { profile: Profile; page: Page | null }): void {
  const open = (id: string, render: (dialog: HTMLDialogElement) => void) => {
    const dialog = byId<HTMLDialogElement>(id);
    render(dialog);
    dialog.showModal();
  };
  byId("details-button").addEventListener("click", () => open("details", (dialog) => {
    const { profile, page } = shown();
    renderDetails(profile, page, dialog);
  }));
  byId("help-button").addEventListener("click", () => open("help", renderHelp));
  for (const id of ["details", "help"]) {
    const dialog = byId<HTMLDialogElement>(id);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
}

export function connectControls(page: Page): void {
  for (const tab of TABS) byId(`${tab}-tab`).addEventListener("click", () => page.update({ tab }, "push"));
  byId("reset").addEventListener("click", () => page.reset());
  const field = byId<HTMLInputElement>("search");
  field.addEventListener("input", () => page.update({ search: field.value }, "replace"));
  byId("search-regex").addEventListener("click", () => page.update({ regex: !page.state.regex }, "replace"));
  byId("search-next").addEventListener("click", () => page.searching.step(1, true));
  byId("search-previous").addEventListener("click", () => page.searching.step(-1, true));
  connectPointer(page, page.graph, (node) => page.zoom(node));
  connectMenus(page);
}

function connectMenus(page: Page): void {
  const menus = [...document.querySelectorAll<HTMLDetailsElement>("details.menu")];
  for (const menu of menus) {
    onToggle(menu, (isOpen) => {
      if (isOpen) for (const other of menus) if (other !== menu) other.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary")?.focus();
      event.stopPropagation();
    });
  }
  addEventListener("pointerdown", (event) => {
    for (const menu of menus) if (!menu.contains(event.target as Node)) menu.open = false;
  });
  const menu = byId<HTMLDetailsElement>("export-menu");
  const items = menu.querySelectorAll<HTMLButtonElement>("[data-export]");
  for (const item of items) {
    item.addEventListener("click", () => {
      menu.open = false;
      exportSeen(page, item.dataset.export as ExportFormat);
      announce(`${item.textContent} written`);
    });
  }
}

/** Moves the outline: along a level, to the caller, or to the largest callee. */
function moveSelection(page: Page, key: string): void {
  const { shownGraph: graph } = page;
  const { tree, zoom } = graph;
  if (!tree) return;
  const node = graph.selected >= 0 ? graph.selected : zoom;
  if (graph.selected < 0) return selectAndSay(page, zoom);
  const toCaller = graph.flame ? "ArrowDown" : "ArrowUp";
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const next = node + (key === "ArrowRight" ? 1 : -1);
    const isBeside = next > 0 && next < tree.size && tree.depth[next] === tree.depth[node];
    const isShown = isBeside && tree.start[next] >= tree.start[zoom] && tree.start[next] < tree.start[zoom] + tree.total[zoom];
    if (isShown) selectAndSay(page, next);
  } else if (key === toCaller) {
    if (node > 0) selectAndSay(page, tree.parent[node]);
  } else if (tree.firstChild[node] < tree.firstChild[node + 1]) selectAndSay(page, tree.firstChild[node]);
}

function selectAndSay(page: Page, node: number): void {
  const { shownGraph: { tree }, names, scale, state } = page;
  page.select(node);
  if (!tree) return;
  const amounts = state.tab === "difference" ? page.difference.spoken(node) : `${scale.share(tree.total[node])}, self ${scale.share(tree.self[node])}`;
  announce(`${names.searchText(tree.entry[node], state.mergeProcesses || state.tab === "difference").slice(0, 300)}: ${amounts}, level ${tree.depth[node]}`);
}

function openSelectedMenu(page: Page): void {
  const { shownGraph: graph } = page;
  const node = graph.selected >= 0 ? graph.selected : graph.hover;
  if (!graph.tree || node < 0) return;
  const { left, top } = graph.scroller.getBoundingClientRect();
  const box = graph.bounds(node);
  page.menu.open(graph.tree, node, left + Math.max(0, box.left) + 8, top + box.top + 20);
}

function openMenu(id: string): void {
  const menu = byId<HTMLDetailsElement>(id);
  menu.open = true;
  menu.querySelector<HTMLElement>("input, button, select")?.focus();
}

export function connectKeys(page: Page, theme: Theme): void {
  const next = <T>(all: readonly T[], now: T) => all[(all.indexOf(now) + 1) % all.length];
  const step = (direction: number) => page.searching.step(direction);
  const actions: Record<string, () => void> = {
    "/": () => byId("search").focus(),
    n: () => step(1), N: () => step(-1),
    r: () => page.reset(),
    i: () => page.update({ root: page.state.root === "top" ? "bottom" : "top" }, "push"),
    o: () => page.update({ order: next(ORDERS, page.state.order), zoom: [] }, "push"),
    c: () => page.update({ color: next(COLORINGS, page.state.color) }, "push"),
    p: () => page.update({ native: !page.state.native, kernel: !page.state.native }, "push"),
    f: () => page.filterBar.open(),
    w: () => byId("overview").focus(),
    e: () => openMenu("export-menu"), v: () => openMenu("view-menu"),
    q: () => byId("details-button").click(), "?": () => byId("help-button").click(),
    d: () => theme.toggle(),
    "[": () => history.back(), "]": () => history.forward(),
    m: () => openSelectedMenu(page), ContextMenu: () => openSelectedMenu(page),
    Escape: () => {
      const open = document.querySelectorAll<HTMLDetailsElement>("details.menu[open]");
      for (const menu of open) menu.open = false;
      if (open.length === 0) page.back();
    },
  };
  TABS.forEach((tab, at) => { actions[String(at + 1)] = () => page.update({ tab }, "push"); });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    if (target.closest("input:not([type=checkbox]):not([type=radio]), select, textarea")) {
      if (event.key === "Escape") {
        target.blur();
        if (target.id === "search") page.update({ search: "" }, "replace");
      } else if (event.key === "Enter" && target.id === "search") page.searching.step(event.shiftKey ? -1 : 1, true);
      return;
    }
    const hasGraph = page.state.tab === "graph" || page.state.tab === "difference";
    const isOnButton = target.closest("button, summary, input");
    if (hasGraph && event.key.startsWith("Arrow") && !target.closest("[role=tablist], input")) {
      moveSelection(page, event.key);
      event.preventDefault();
    } else if (event.key === "Enter" && hasGraph && !isOnButton) {
      const { selected } = page.shownGraph;
      if (selected >= 0) (page.state.tab === "graph" ? page : page.difference).zoom(selected);
    } else if (target.closest("[role=tablist]") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const at = TABS.indexOf(page.state.tab) + (event.key === "ArrowRight" ? 1 : -1) + TABS.length;
      const tab = TABS[at % TABS.length];
      page.update({ tab }, "push");
      byId(`${tab}-tab`).focus();
    } else if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  });
}
