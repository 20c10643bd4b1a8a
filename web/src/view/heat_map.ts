// A column per second, the second from top to bottom: what happens every second or every so many parts of one is a pattern.

import { formatOffset } from "../format";
import { mapSeconds, type SecondMap } from "../model/density";
import type { Selection, TimeWindow } from "../model/filters";
import type { Steps } from "../model/steps";
import type { Page } from "../page";
import { fillAxis, roundStep } from "./axis";
import { byId, fitCanvas } from "./dom";
import { HEAT_STEPS } from "./colors";

/** Twenty milliseconds. */
const PARTS = 50;
const ROW_PIXELS = 3, WIDEST = 28;

export class HeatMap {
  private readonly canvas = byId<HTMLCanvasElement>("heat-map");
  private readonly panel = byId("timeline-panel");
  private map: SecondMap | null = null;
  private column = 1;

  constructor(private readonly page: Page, choose: (window: TimeWindow | null) => void) {
    let start = -1;
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      start = this.cellAt(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const cell = this.cellAt(event);
      this.describe(cell);
      if (start >= 0) this.draw(Math.min(start, cell), Math.max(start, cell));
    });
    canvas.addEventListener("pointerup", (event) => {
      const [from, to] = [start, this.cellAt(event)].sort((a, b) => a - b);
      start = -1;
      if (from >= 0) choose(this.windowOf(from, to));
    });
    // The browser scrolls instead.
    canvas.addEventListener("pointercancel", () => {
      start = -1;
      if (this.map) this.show(this.map);
    });
    canvas.addEventListener("pointerleave", () => { byId("heat-readout").textContent = ""; });
    canvas.addEventListener("dblclick", () => choose(null));
  }

  /** What `show` shows. */
  steps(selection: Selection): Steps<SecondMap> {
    return mapSeconds(this.page.source, PARTS, selection);
  }

  show(map: SecondMap): void {
    this.map = map;
    this.column = Math.max(1, Math.min(WIDEST, Math.floor((this.panel.clientWidth - 40) / this.map.columns)));
    const { window } = this.page.state;
    const { step, columns } = this.map;
    const duration = columns * step * 1e9, width = columns * this.column;
    fillAxis(byId("heat-axis"), duration, 0, width, Math.max(1e9, roundStep(duration, width)));
    byId("heat-note").textContent = step === 1 ? "a column is a second, from top to bottom" : `a column is ${step} seconds, one over the other`;
    if (!window) this.draw(0, -1);
    else if (step === 1) this.draw(Math.floor(window[0] / 1e9 * PARTS + 1e-6), Math.ceil(window[1] / 1e9 * PARTS - 1e-6) - 1);
    else this.draw(Math.floor(window[0] / 1e9 / step) * PARTS, Math.ceil(window[1] / 1e9 / step) * PARTS - 1);
  }

  /** From one cell up to another; whole columns where seconds share one. */
  private windowOf(from: number, to: number): TimeWindow {
    const step = this.map?.step ?? 1;
    if (step === 1) return [from * 1e9 / PARTS, (to + 1) * 1e9 / PARTS];
    return [Math.floor(from / PARTS) * step * 1e9, (Math.floor(to / PARTS) + 1) * step * 1e9];
  }

  private draw(from: number, to: number): void {
    const { map, column } = this;
    const context = map && fitCanvas(this.canvas, map.columns * column, PARTS * ROW_PIXELS);
    if (!context) return;
    const { palette } = this.page.colors;
    context.fillStyle = palette.background;
    context.fillRect(0, 0, map.columns * column, PARTS * ROW_PIXELS);
    const gap = column > 3 ? 1 : 0;
    map.cells.forEach((value, cell) => {
      if (value === 0) return;
      const step = Math.max(1, Math.round(Math.sqrt(value / map.highest) * (HEAT_STEPS - 1)));
      context.globalAlpha = to >= from && (cell < from || cell > to) ? 0.3 : 1;
      context.fillStyle = palette.heat[step];
      context.fillRect(Math.floor(cell / PARTS) * column, cell % PARTS * ROW_PIXELS, column - gap, ROW_PIXELS);
    });
    context.globalAlpha = 1;
  }

  private cellAt(event: PointerEvent): number {
    const { left, top } = this.canvas.getBoundingClientRect();
    const columns = this.map?.columns ?? 1;
    const second = Math.max(0, Math.min(columns - 1, Math.floor((event.clientX - left) / this.column)));
    const part = Math.max(0, Math.min(PARTS - 1, Math.floor((event.clientY - top) / ROW_PIXELS)));
    return second * PARTS + part;
  }

  private describe(cell: number): void {
    const value = this.map?.cells[cell] ?? 0;
    const [from] = this.windowOf(cell, cell);
    const at = formatOffset(from, 1e9);
    byId("heat-readout").textContent = `${at}: ${value > 0 ? this.page.scale.amount(value) : "nothing was running"}`;
  }
}
