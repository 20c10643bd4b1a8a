// What the window is called: a tab or a bookmark among others tells what it shows.

import type { Profile } from "../data/profile";
import { baseName, printable } from "../model/names";
import type { Page } from "../page";
import type { Tab } from "../state";
import { shorten } from "./tooltip";

const TAB_NAMES: Record<Tab, string> = {
  graph: "", sandwich: "Sandwich", table: "Functions", tree: "Call tree", source: "Source", timeline: "Timeline", difference: "Difference",
};
const LONGEST = 80;

/** What was recorded, or what is compared. */
export function targetName({ information, comparison }: Profile): string {
  return printable(comparison ? comparison.sides.map((side) => side.name).join(" → ") : information.target) || "profile";
}

/** The profile by its name, whatever is shown of it. */
export function profileTitle(profile: Profile): string {
  return `${shorten(targetName(profile), LONGEST)} – viperf`;
}

/** The box, function or file that somebody looks at; empty for everything. */
function lookedAt({ state, names, graph, sandwich }: Page): string {
  const { tree, zoom } = graph;
  switch (state.tab) {
    case "source": return state.file ? `${baseName(state.file)}${state.line > 0 ? `:${state.line}` : ""}` : "";
    case "sandwich": return state.chosen >= 0 ? names.functionName(state.chosen) : sandwich.shown >= 0 ? names.functionName(sandwich.shown) : "";
    case "timeline": case "difference": return "";
    default: return tree && zoom > 0 ? names.name(tree.entry[zoom], state.mergeProcesses) : "";
  }
}

export function renderTitle(page: Page): void {
  const { state, profile } = page;
  const parts = [shorten(printable(lookedAt(page)), LONGEST), state.search && `“${shorten(printable(state.search), 40)}”`, TAB_NAMES[state.tab], profileTitle(profile)];
  document.title = parts.filter(Boolean).join(" – ");
}
