// The mark of a kind in legends, tables and tooltips.

import { KIND_INCOMPLETE } from "../model/kinds";
import type { Colors } from "./colors";
import { element } from "./dom";

export function swatch(colors: Colors, kind: number): HTMLElement {
  return colorSwatch(colors.plain(kind), kind === KIND_INCOMPLETE);
}

export function colorSwatch(color: string, hatched = false): HTMLElement {
  const made = element("span", { class: hatched ? "swatch hatched" : "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = color;
  return made;
}
