// The way to the zoomed box, and what a search has found.

import { formatCount, formatShare } from "../format";
import type { Page } from "../page";
import type { Tab } from "../state";
import { byId, element } from "./dom";
import { shorten } from "./tooltip";

/** Ancestors shown on either end of a long way. */
const FIRST = 2, LAST = 4;

export function renderPath(page: Page): void {
  const { shownGraph: { tree, zoom: node }, names } = page;
  if (!tree) return;
  const isCompared = page.state.tab === "difference";
  const way = [];
  for (let step = node; step >= 0; step = tree.parent[step]) way.unshift(step);
  const shown = way.length > FIRST + LAST + 1 ? [...way.slice(0, FIRST), -1, ...way.slice(-LAST)] : way;
  const parts: HTMLElement[] = [];
  for (const step of shown) {
    if (parts.length > 0) parts.push(element("span", { class: "step", "aria-hidden": "true" }, "›"));
    if (step < 0) {
      parts.push(element("span", { class: "step" }, "…"));
      continue;
    }
    const made = element("button", { type: "button" }, shorten(names.name(tree.entry[step], isCompared || page.state.mergeProcesses), 120));
    if (step === node) made.setAttribute("aria-current", "true");
    made.addEventListener("click", () => isCompared ? page.difference.zoom(step) : page.zoom(step));
    parts.push(made);
  }
  // A comparison's boxes are parts of two wholes; its tooltip tells them.
  const { scale } = page;
  if (!isCompared) parts.push(element("span", { class: "share" }, node > 0
    ? `${scale.share(tree.total[node])} · ${scale.amount(tree.total[node])}` : scale.amount(tree.total[0])));
  byId("path").replaceChildren(...parts);
}

/** What the buttons beside the field step through: in the source view it needs no search. */
function renderButtons(tab: Tab, hasMatches: boolean): void {
  const isSource = tab === "source";
  for (const [id, text, key] of [["search-next", "Next", "n"], ["search-previous", "Previous", "N"]]) {
    const made = byId<HTMLButtonElement>(id);
    const title = `${text} ${isSource ? "hot line" : "match"}`;
    made.title = `${title} (${key})`;
    made.setAttribute("aria-label", title);
    made.disabled = tab === "timeline" || (!isSource && !hasMatches);
  }
}

export function renderSearch(page: Page): void {
  const { state, searching: { shown: { found, tree } }, searchTest: { error } } = page;
  const field = byId<HTMLInputElement>("search");
  if (field.value !== state.search) field.value = state.search;
  byId("search-regex").setAttribute("aria-pressed", String(state.regex));
  const result = byId("search-result");
  field.classList.toggle("wrong", error !== "");
  result.classList.toggle("wrong", error !== "");
  result.title = error;
  renderButtons(state.tab, found !== null && found.tops.length > 0);
  if (error) return result.replaceChildren(error);
  if (!found || !tree) return result.replaceChildren();
  const at = found.at >= 0 ? `${found.at + 1} of ` : "";
  const matches = `${at}${formatCount(found.tops.length, "match", "matches")}`;
  // A comparison's boxes are parts of two wholes.
  if (state.tab === "difference") return result.replaceChildren(matches);
  result.replaceChildren(element("strong", {}, formatShare(found.value, tree.total[0])), ` in ${matches}`);
}
