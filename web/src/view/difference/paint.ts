// The colours of a comparison: one hue for what grew, one for what shrank, the deeper the more; grey is what chance explains.
// What appeared and what vanished have stripes, rising and falling, so that they differ without colour, too.

import { formatPoints } from "../../format";
import { changeSize, isChange, type DiffRow, type Verdict } from "../../model/compare/rows";
import type { State } from "../../state";
import type { Decoration } from "../graph";

/** Changes this large, as a part of the whole, have the deepest colour. */
const DEEPEST = 0.2;
const STEPS = 8;

export interface ChangePalette {
  grew: string[];
  shrank: string[];
  same: string;
  few: string;
}

export function readChangePalette(colors: State["changeColors"]): ChangePalette {
  const style = getComputedStyle(document.documentElement);
  const numbers = (name: string) => style.getPropertyValue(`--${name}`).trim().split(/\s+/).map(Number);
  const [more, less] = colors === "red-blue" ? ["red", "blue"] : ["orange", "purple"];
  const steps = (name: string) => {
    const [pale, deep, chroma, hue] = numbers(`change-${name}`);
    return Array.from({ length: STEPS }, (_, step) => {
      const at = step / (STEPS - 1);
      return `oklch(${pale + (deep - pale) * at} ${chroma * (0.35 + 0.65 * at)} ${hue})`;
    });
  };
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return { grew: steps(more), shrank: steps(less), same: value("change-same"), few: value("change-few") };
}

export function changeColor(palette: ChangePalette, verdict: Verdict, size: number): string {
  if (verdict === "too-few-samples") return palette.few;
  if (!isChange(verdict)) return palette.same;
  const step = Math.min(STEPS - 1, Math.round(Math.sqrt(Math.abs(size) / DEEPEST) * (STEPS - 1)));
  return (size > 0 ? palette.grew : palette.shrank)[step];
}

/** How boxes of a comparison look; `boxOf` tells of a node's, if it has enough samples to be judged. */
export function decorate(boxOf: (node: number) => DiffRow | null, palette: ChangePalette): Decoration {
  return {
    color: (node) => {
      const box = boxOf(node);
      return box ? changeColor(palette, box.verdict, changeSize(box.total)) : palette.few;
    },
    stripes: (node) => {
      const verdict = boxOf(node)?.verdict;
      return verdict === "appeared" ? "rising" : verdict === "vanished" ? "falling" : "";
    },
    note: (node) => {
      const box = boxOf(node);
      return box && isChange(box.verdict) ? formatPoints(changeSize(box.total)) : "";
    },
  };
}
