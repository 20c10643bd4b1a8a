// What the colours mean.

import { formatShare } from "../format";
import { KIND_INCOMPLETE, KIND_INTERPRETER, KIND_KERNEL, KIND_NAMES, KIND_NATIVE, KIND_PROCESS, KIND_PYTHON } from "../model/kinds";
import { printable } from "../model/names";
import type { Tree } from "../model/tree";
import type { Page } from "../page";
import type { Colors } from "./colors";
import { byId, element } from "./dom";
import { colorSwatch, swatch } from "./swatch";
import { shorten } from "./tooltip";

/** Libraries or modules that the legend names. */
const MOST = 8;

/** The share of each kind is that of the frame that was running, so the shares add up to the whole. */
function kindShares(page: Page): Float64Array {
  const shares = new Float64Array(KIND_NAMES.length);
  const { tree: { size, entry, self }, names } = page;
  // Of each entry first: there are many more nodes than entries.
  const ofEntry = new Float64Array(names.size);
  for (let node = 0; node < size; node++) ofEntry[entry[node]] += self[node];
  ofEntry.forEach((amount, at) => { if (amount > 0) shares[names.kind(at)] += amount; });
  return shares;
}

function kindLegend(page: Page): HTMLElement[] {
  const shares = kindShares(page);
  const whole = page.tree.total[0];
  const kinds = [KIND_PYTHON, KIND_NATIVE, KIND_KERNEL, KIND_INCOMPLETE, KIND_INTERPRETER];
  const parts = kinds.filter((kind) => shares[kind] > 0 || kind <= KIND_KERNEL).map((kind) => {
    const share = formatShare(shares[kind], whole);
    const name = `${KIND_NAMES[kind][0].toUpperCase()}${KIND_NAMES[kind].slice(1)}`;
    return element("span", { title: `${share} of the time, by the frame that was running` }, swatch(page.colors, kind), `${name} ${share}`);
  });
  return [...parts, element("span", {}, swatch(page.colors, KIND_PROCESS), "Process, thread")];
}

/** The groups that ran most, by the frame that was running. */
function groupLegend(page: Page): HTMLElement[] {
  const { tree, names, colors } = page;
  const { texts, of } = page.state.color === "library" ? names.libraries : names.modules;
  const self = new Float64Array(texts.length), sample = new Int32Array(texts.length).fill(-1);
  for (let node = 0; node < tree.size; node++) {
    const row = names.functionRow(tree.entry[node]);
    if (row < 0) continue;
    self[of[row]] += tree.self[node];
    sample[of[row]] = tree.entry[node];
  }
  const most = [...texts.keys()].filter((at) => self[at] > 0).sort((a, b) => self[b] - self[a]);
  const parts = most.slice(0, MOST).map((at) => element("span", { title: shorten(printable(texts[at])) },
    colorSwatch(colors.of(sample[at], 0)), `${shorten(printable(texts[at]), 36)} ${formatShare(self[at], tree.total[0])}`));
  if (most.length > MOST) parts.push(element("span", {}, `and ${most.length - MOST} more`));
  return parts;
}

function heatLegend(page: Page): HTMLElement[] {
  const steps = page.colors.palette.heat.filter((_, at) => at % 2 === 0).map((color) => colorSwatch(color));
  return [element("span", { class: "heat-scale" }, "no self time", ...steps, "all of the box is self time")];
}

/** What the legend was made of: a legend reads the whole tree. */
let made: { tree: Tree; colors: Colors } | null = null;

export function renderLegend(page: Page): void {
  const { color, tab } = page.state;
  if (tab === "difference") {
    made = null;
    byId("legend").replaceChildren(...page.difference.legend());
    return;
  }
  if (made?.tree === page.tree && made.colors === page.colors) return;
  made = { tree: page.tree, colors: page.colors };
  const parts = color === "kind" ? kindLegend(page) : color === "self" ? heatLegend(page) : groupLegend(page);
  const version = page.profile.information.viperf_version;
  parts.push(element("span", { class: "version" }, version ? `viperf ${printable(version)}` : "viperf"));
  byId("legend").replaceChildren(...parts);
}
