// A strip of time on which one side of a comparison is chosen: by dragging, or with arrow keys.

import { formatOffset } from "../../format";
import { binFiltered, highestBin, type Lane } from "../../model/density";
import type { TimeWindow } from "../../model/filters";
import type { Page } from "../../page";
import { byId, element, fitCanvas } from "../dom";
import { Question } from "../job";

const HEIGHT = 30;

export class Strip {
  private readonly area: HTMLElement;
  private readonly canvas = element("canvas", { "aria-hidden": "true" });
  private readonly label: HTMLElement;
  /** Both strips show the same samples. */
  private static readonly lane = new Question<Lane>();
  private static readonly all: Strip[] = [];
  private dragged: TimeWindow | null = null;

  constructor(private readonly page: Page, id: string, private readonly read: () => TimeWindow, private readonly choose: (window: TimeWindow) => void) {
    this.area = byId(id);
    this.label = byId(`${id}-text`);
    this.area.append(this.canvas);
    Strip.all.push(this);
    this.connectDrag();
    this.area.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(this.area);
  }

  private connectDrag(): void {
    let start = -1;
    const timeAt = (event: PointerEvent) => {
      const { left, width } = this.area.getBoundingClientRect();
      return Math.round(Math.max(0, Math.min(1, (event.clientX - left) / width)) * this.page.source.duration);
    };
    const windowAt = (event: PointerEvent): TimeWindow => start < timeAt(event) ? [start, timeAt(event)] : [timeAt(event), start];
    this.area.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = timeAt(event);
      this.area.setPointerCapture(event.pointerId);
    });
    this.area.addEventListener("pointermove", (event) => {
      if (start < 0) return;
      this.dragged = windowAt(event);
      this.draw();
    });
    this.area.addEventListener("pointerup", (event) => {
      const window = start < 0 ? null : windowAt(event);
      start = -1;
      this.dragged = null;
      const { width } = this.area.getBoundingClientRect();
      const least = this.page.source.duration / Math.max(width, 1) * 2;
      if (window && window[1] - window[0] > least) this.choose(window); else this.draw();
    });
    this.area.addEventListener("pointercancel", () => { start = -1; this.dragged = null; this.draw(); });
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const { duration } = this.page.source;
    const [from, to] = this.read();
    const step = (event.key === "ArrowRight" ? 1 : -1) * duration / 50;
    if (event.shiftKey) this.choose([from, Math.round(Math.max(from + duration / 50, Math.min(duration, to + step)))]);
    else {
      const moved = Math.round(Math.max(0, Math.min(duration - (to - from), from + step)));
      this.choose([moved, moved + (to - from)]);
    }
    event.preventDefault();
    event.stopPropagation();
  }

  draw(): void {
    const { page } = this;
    const { source, names, state: { filters } } = page;
    const [from, to] = this.dragged ?? this.read();
    const text = `${formatOffset(from, source.duration)} – ${formatOffset(to, source.duration)}`;
    this.label.textContent = text;
    this.area.setAttribute("aria-valuetext", text);
    const width = this.area.clientWidth;
    if (width === 0) return;
    const bins = Math.max(1, Math.min(Math.floor(width / 3), 600));
    Strip.lane.ask([source, filters, bins], () => binFiltered(source, names, filters, bins), (lane) => {
      for (const strip of Strip.all) strip.paint(lane, bins);
    });
  }

  private paint(lane: Lane, bins: number): void {
    const { page } = this;
    const width = this.area.clientWidth;
    const context = fitCanvas(this.canvas, width, HEIGHT);
    if (!context) return;
    const { palette } = page.colors;
    const [from, to] = this.dragged ?? this.read();
    const { duration } = page.source;
    const highest = Math.max(highestBin(lane, bins), 1e-9);
    context.clearRect(0, 0, width, HEIGHT);
    const step = width / bins;
    for (let bin = 0; bin < bins; bin++) {
      let amount = 0;
      for (let at = bin; at < lane.bins.length; at += bins) amount += lane.bins[at];
      const middle = (bin + 0.5) / bins * duration;
      context.fillStyle = middle >= from && middle < to ? palette.accent : palette.edge;
      const high = amount / highest * (HEIGHT - 3);
      context.fillRect(bin * step, HEIGHT - high, Math.max(1, step - 0.5), high);
    }
  }
}
