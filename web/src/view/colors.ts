// Colours of the boxes, from the style sheet, so that light and dark are told in one place.
//
// Each kind has its own hue and its own lightness: the kinds differ for a colour-blind reader and in grey print too.
// Libraries and modules take hues that the common forms of colour blindness tell apart, in three depths.
// Self time is one hue, the deeper the more.

import { KIND_INTERPRETER, KIND_KERNEL, KIND_PYTHON } from "../model/kinds";
import type { Names } from "../model/names";
import type { Coloring } from "../state";

const SHADES = 4;
const KIND_COLORS = ["level", "python", "native", "kernel", "incomplete", "interpreter", "level", "level", "group"];
/** Hues of the palette of Okabe and Ito, in oklch. */
const SAFE_HUES = [245, 70, 165, 20, 330, 100, 210];
const DEPTHS = 3;
export const HEAT_STEPS = 12;

export interface Palette {
  kinds: string[][];
  matched: string[];
  /** By hue and depth. */
  groups: string[][];
  /** From no self time to all of it. */
  heat: string[];
  faded: string;
  text: string;
  fadedText: string;
  place: string;
  background: string;
  accent: string;
  hatch: string;
  edge: string;
  soft: string;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const numbers = (name: string) => value(name).split(/\s+/).map(Number);
  const step = Number(value("shade-step")), deeper = Number(value("match-step"));
  const bases = KIND_COLORS.map((name) => numbers(`box-${name}`));
  const [lightness, chroma] = numbers("box-hue");
  const [cold, hot, warmth, hue] = numbers("box-heat");
  const heat = (at: number) => `oklch(${cold + (hot - cold) * at} ${0.012 + warmth * at} ${hue - 40 * at})`;
  return {
    kinds: bases.map(([light, strong, tone]) =>
      Array.from({ length: SHADES }, (_, shade) => `oklch(${light + (shade - 1) * step} ${strong} ${tone})`)),
    matched: bases.map(([light, strong, tone]) => `oklch(${light + deeper} ${strong * 1.5} ${tone})`),
    groups: SAFE_HUES.map((tone) =>
      Array.from({ length: DEPTHS }, (_, depth) => `oklch(${lightness + (depth - 1) * step * 2.6} ${chroma} ${tone})`)),
    heat: Array.from({ length: HEAT_STEPS }, (_, at) => heat(at / (HEAT_STEPS - 1))),
    faded: value("box-faded"), text: value("box-text"), fadedText: value("box-faded-text"), place: value("box-place"),
    background: value("graph"), accent: value("accent"), hatch: value("box-hatch"), edge: value("edge"), soft: value("ink-soft"),
  };
}

function hash(text: string): number {
  let sum = 0;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  return sum >>> 8;
}

/** The colour of an entry; self time also asks for its share of the box. */
export class Colors {
  private readonly known = new Map<number, string>();

  constructor(private readonly names: Names, readonly palette: Palette, private readonly coloring: Coloring) {}

  /** `plain`: without the shades that tell neighbours apart, so that slivers of one kind are one stretch. */
  of(entry: number, selfShare: number, plain = false): string {
    if (plain && this.coloring === "kind") return this.plain(this.names.kind(entry));
    if (this.coloring === "self") {
      const at = Math.round(Math.sqrt(Math.min(1, Math.max(0, selfShare))) * (HEAT_STEPS - 1));
      return this.palette.heat[at];
    }
    let color = this.known.get(entry);
    if (color === undefined) this.known.set(entry, color = this.choose(entry));
    return color;
  }

  plain(kind: number): string {
    return this.palette.kinds[kind][1];
  }

  private choose(entry: number): string {
    const { names, palette } = this;
    const kind = names.kind(entry);
    const row = names.functionRow(entry);
    if (row < 0) return palette.kinds[kind][1];
    const hasGroup = kind >= KIND_PYTHON && kind <= KIND_KERNEL || kind === KIND_INTERPRETER;
    if (this.coloring !== "kind" && hasGroup) {
      const { texts, of } = this.coloring === "library" ? names.libraries : names.modules;
      const mark = hash(texts[of[row]]);
      const hues = palette.groups[mark % palette.groups.length];
      return hues[(mark >>> 5) % hues.length];
    }
    return palette.kinds[kind][hash(names.profile.strings[names.profile.function_name[row]] ?? "") % SHADES];
  }
}
