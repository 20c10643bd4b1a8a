// A scale of time below or above what is drawn over it: round steps, with room between their texts.

import { element } from "./dom";

/** Pixels from one text to the next, at least. */
const ROOM = 70;

/** The smallest of 1, 2 and 5 times a power of ten that leaves this room; both in nanoseconds. */
export function roundStep(duration: number, width: number): number {
  const least = Math.max(1e3, duration / Math.max(1, width) * ROOM);
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((times) => times * power >= least * (1 - 1e-9)) ?? 10);
}

/** Texts at round times of a stretch that begins `left` pixels into the box and is `width` wide. */
export function fillAxis(box: HTMLElement, duration: number, left: number, width: number, step = roundStep(duration, width)): void {
  const ticks = [];
  for (let at = 0; at * step <= duration * (1 + 1e-9); at++) {
    const place = duration > 0 ? at * step / duration * width : 0;
    // The last may have no room for its text.
    if (at > 0 && place > width - ROOM / 3) break;
    const tick = element("span", {}, at === 0 ? "0 s" : formatTick(at * step));
    tick.style.left = `${left + place}px`;
    ticks.push(tick);
  }
  box.replaceChildren(...ticks);
}

/** Round times need no zeros behind the point. */
function formatTick(time: number): string {
  const minutes = time / 60e9;
  if (minutes >= 2 && Number.isInteger(minutes)) return `${minutes} min`;
  const [unit, size] = time >= 1e9 ? ["s", 1e9] as const : time >= 1e6 ? ["ms", 1e6] as const : ["µs", 1e3] as const;
  return `${+(time / size).toFixed(3)} ${unit}`;
}
