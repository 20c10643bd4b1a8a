// One line of a source file: its figures, and its text with the heat of each expression. Source text is hostile, too: it is
// only ever text, its marks of direction are shown and not obeyed, and of a line of megabytes only the beginning is drawn.

import { KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "../../model/kinds";
import { printable } from "../../model/names";
import { cutLine, type Heat, type RangeHeat } from "../../model/source_heat";
import type { Page } from "../../page";
import { HEAT_STEPS } from "../colors";
import { element } from "../dom";

/** Characters of a line that are drawn. */
const LONGEST = 2_000;

export interface SourceLine {
  number: number;
  /** `null` when the file's text is not in the page. */
  text: string | null;
  heat: Heat | null;
  ranges: readonly RangeHeat[];
  /** Lines are left out before this one. */
  gap: boolean;
}

/** Tabs stay what they are; what cannot be seen is written out. */
function shown(text: string): string {
  return text.split("\t").map(printable).join("\t");
}

/** The own time of the hottest line, against which all heat is shown. */
export function renderLine(page: Page, line: SourceLine, hottest: number, isChosen: boolean): HTMLElement {
  const { heat } = line;
  const made = element("div", {
    class: `source-line${line.gap ? " gap" : ""}`, role: "row", tabindex: heat ? "0" : "-1", "aria-selected": String(isChosen), "data-line": String(line.number),
  }, element("span", { role: "cell", class: "number" }, String(line.number)), ...figures(page, heat, hottest), renderText(page, line, hottest));
  return made;
}

function figures(page: Page, heat: Heat | null, hottest: number): HTMLElement[] {
  const { scale, colors } = page;
  const cell = (name: string, value: number, title: string) =>
    element("span", { role: "cell", class: `figure ${name}`, title: value > 0 ? title : "" }, value > 0 ? scale.share(value) : "");
  if (!heat) return [cell("total", 0, ""), cell("own", 0, ""), cell("own", 0, ""), element("span", { class: "source-meter" })];
  const native = heat.native + heat.kernel;
  const meter = element("span", { class: "source-meter", role: "cell", title: `self ${scale.share(heat.self)}, ${scale.amount(heat.self)}` });
  for (const [kind, value] of [[KIND_PYTHON, heat.python], [KIND_NATIVE, heat.native], [KIND_KERNEL, heat.kernel]]) {
    const part = element("span", {});
    part.style.width = `${hottest > 0 ? value / hottest * 100 : 0}%`;
    part.style.backgroundColor = colors.plain(kind);
    meter.append(part);
  }
  return [cell("total", heat.total, `executed, or waiting for what it called: ${scale.amount(heat.total)}`),
    cell("own", heat.python, `own time in Python: ${scale.amount(heat.python)}`),
    cell("own", native, `own time in native code and the kernel that it called directly: ${scale.amount(native)}`), meter];
}

function renderText(page: Page, { text, number, ranges }: SourceLine, hottest: number): HTMLElement {
  const cell = element("code", { role: "cell", class: "source-text", dir: "ltr" });
  if (text === null) return cell;
  const cut = text.slice(0, LONGEST);
  for (const piece of cutLine(cut, number, ranges)) {
    if (!piece.range) {
      cell.append(shown(piece.text));
      continue;
    }
    const { scale, colors } = page;
    const { self, python, native, kernel } = piece.range;
    const step = hottest > 0 ? Math.max(1, Math.round(Math.sqrt(self / hottest) * (HEAT_STEPS - 1))) : 0;
    const span = element("span", {
      class: "expression", title: `this expression: self ${scale.share(self)}, Python ${scale.share(python)}, native ${scale.share(native + kernel)}`,
    }, shown(piece.text));
    span.style.backgroundColor = colors.palette.heat[Math.min(HEAT_STEPS - 1, step)];
    cell.append(span);
  }
  if (text.length > LONGEST) cell.append(element("span", { class: "soft" }, ` … ${text.length - LONGEST} more characters`));
  return cell;
}
