// Samples over time: the strip above everything, a lane per process and thread, and the second-by-second map.

import { formatOffset, formatShare } from "../format";
import { addLanes, BIN_KINDS, binFiltered, binThreads, highestBin, type Lane, type SecondMap } from "../model/density";
import { selectSteps, type Filter, type TimeWindow } from "../model/filters";
import { KIND_INCOMPLETE, KIND_KERNEL, KIND_NATIVE, KIND_PYTHON } from "../model/kinds";
import { part, type Steps } from "../model/steps";
import type { Page } from "../page";
import { fillAxis } from "./axis";
import { byId, element, fitCanvas } from "./dom";
import { HeatMap } from "./heat_map";
import { Question } from "./job";
import { Rows } from "./rows";
import { shorten } from "./tooltip";

const KINDS = [KIND_PYTHON, KIND_NATIVE, KIND_KERNEL, KIND_INCOMPLETE];
const LANE_HEIGHT = 34, OVERVIEW_HEIGHT = 40;
/** Narrower than this, labels stand above the lanes, which reach from margin to margin. */
const STACKED_BELOW = 560, LABEL_HEIGHT = 18, STACKED_MARGIN = 10;
/** Bins are no narrower than this, in pixels and in time: a bin of one sample shows noise. */
const BIN_PIXELS = 2, BIN_NS = 20e6;

interface LaneRow {
  name: string;
  filter: Filter;
  lane: Lane;
  isProcess: boolean;
}

export class Timeline {
  private readonly overview = byId("overview");
  private readonly canvas = byId<HTMLCanvasElement>("overview-canvas");
  private readonly rows: Rows<LaneRow>;
  private readonly heatMap: HeatMap;
  private highest = { process: 1, thread: 1 };
  private bins = 1;
  private laneWidth = 1;
  private overviewWidth = 0;
  /** The first picture does not wait for the strip. */
  private hasBegun = false;
  /** Labels stand above their lanes: there is no room for both beside each other. */
  private isStacked = false;
  private readonly whole = new Question<Lane>();
  private readonly lanes = new Question<{ lanes: Lane[]; map: SecondMap }>();

  constructor(private readonly page: Page) {
    this.rows = new Rows(byId("lanes"), LANE_HEIGHT, (row) => this.renderLane(row));
    this.heatMap = new HeatMap(page, (window) => this.choose(window));
    this.connectDrag(this.overview, () => this.overview.getBoundingClientRect());
    this.connectDrag(byId("lanes"), () => this.laneBounds(), ".lane-canvas");
    this.overview.addEventListener("keydown", (event) => this.onKey(event));
    byId("lanes").addEventListener("keydown", (event) => { if (this.rows.moveFocus(event)) event.stopPropagation(); });
    new ResizeObserver(() => { if (this.overview.clientWidth !== this.overviewWidth) this.drawOverview(); }).observe(this.overview);
    new ResizeObserver(() => { if (this.page.state.tab === "timeline") this.fill(); }).observe(byId("lanes"));
  }

  private laneBounds(): DOMRect {
    return document.querySelector(".lane-canvas")?.getBoundingClientRect() ?? new DOMRect();
  }

  private choose(window: TimeWindow | null): void {
    const { page } = this;
    if (window?.[0] === page.state.window?.[0] && window?.[1] === page.state.window?.[1]) return;
    page.update({ window }, "push");
  }

  /** Dragging selects a stretch of time; a double click takes it back. */
  private connectDrag(area: HTMLElement, bounds: () => DOMRect, on = ""): void {
    let start = -1;
    const timeAt = (event: PointerEvent) => {
      const { left, width } = bounds();
      return Math.max(0, Math.min(1, (event.clientX - left) / width)) * this.page.source.duration;
    };
    const band = element("div", { class: "band", hidden: "" });
    document.body.append(band);
    const place = (event: PointerEvent) => {
      const { left, width } = bounds();
      const { top, height } = area.getBoundingClientRect();
      const [from, to] = [start, timeAt(event)].sort((a, b) => a - b).map((time) => left + time / this.page.source.duration * width);
      Object.assign(band.style, { left: `${from}px`, width: `${to - from}px`, top: `${top}px`, height: `${height}px` });
      band.hidden = to - from < 2;
    };
    area.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || (on && !(event.target as Element).closest(on))) return;
      start = timeAt(event);
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => { if (start >= 0) place(event); });
    area.addEventListener("pointerup", (event) => {
      if (start < 0) return;
      const [from, to] = [start, timeAt(event)].sort((a, b) => a - b).map(Math.round);
      start = -1;
      const isDrag = !band.hidden;
      band.hidden = true;
      if (isDrag && to > from) this.choose([from, to]);
    });
    area.addEventListener("pointercancel", () => { start = -1; band.hidden = true; });
    area.addEventListener("dblclick", () => this.choose(null));
  }

  /** Arrows move the window, with shift its end; Escape takes it back. */
  private onKey(event: KeyboardEvent): void {
    const { duration } = this.page.source;
    const [from, to] = this.page.state.window ?? [duration * 0.4, duration * 0.6];
    const isFirst = this.page.state.window === null;
    const step = (event.key === "ArrowRight" ? 1 : -1) * duration / 50;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (isFirst) this.choose([Math.round(from), Math.round(to)]);
      else if (event.shiftKey) this.choose([from, Math.round(Math.max(from + duration / 50, Math.min(duration, to + step)))]);
      else {
        const moved = Math.round(Math.max(0, Math.min(duration - (to - from), from + step)));
        this.choose([moved, moved + (to - from)]);
      }
    } else if (event.key === "Escape" && !isFirst) this.choose(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** From now on the strip is drawn. */
  begin(): void {
    this.hasBegun = true;
    this.drawOverview();
  }

  drawOverview(): void {
    const { page, canvas } = this;
    const { duration } = page.source;
    // These have their width before the strip between them has its own.
    byId("overview-from").textContent = "0 s";
    byId("overview-to").textContent = formatOffset(duration, duration);
    const { window, filters } = page.state;
    const width = this.overview.clientWidth;
    this.overviewWidth = width;
    const bins = this.countBins(width);
    if (width > 0 && this.hasBegun) this.whole.ask([page.source, filters, bins], () => binFiltered(page.source, page.names, filters, bins), (lane) => {
      const context = fitCanvas(canvas, width, OVERVIEW_HEIGHT);
      if (context) this.drawBins(context, lane, bins, width, OVERVIEW_HEIGHT, Math.max(highestBin(lane, bins), 1e-9));
    });
    this.overview.setAttribute("aria-valuetext", window
      ? `${formatOffset(window[0], duration)} to ${formatOffset(window[1], duration)}` : "the whole recording");
  }

  private drawBins(context: CanvasRenderingContext2D, lane: Lane, bins: number, width: number, height: number, highest: number): void {
    const { colors, state, source } = this.page;
    context.clearRect(0, 0, width, height);
    const step = width / bins;
    const bases = new Float32Array(bins);
    for (let kind = 0; kind < BIN_KINDS; kind++) {
      context.fillStyle = colors.plain(KINDS[kind]);
      context.beginPath();
      for (let bin = 0; bin < bins; bin++) {
        const amount = (lane.bins[kind * bins + bin] ?? 0) / highest * (height - 2);
        if (amount > 0) context.rect(bin * step, height - bases[bin] - amount, step, amount);
        bases[bin] += amount;
      }
      context.fill();
    }
    if (!state.window) return;
    const [from, to] = state.window.map((time) => time / source.duration * width);
    context.globalAlpha = 0.72;
    context.fillStyle = colors.palette.background;
    context.fillRect(0, 0, from, height);
    context.fillRect(to, 0, width - to, height);
    context.globalAlpha = 1;
    context.fillStyle = colors.palette.accent;
    context.fillRect(from - 1, 0, 2, height);
    context.fillRect(to - 1, 0, 2, height);
  }

  fill(): void {
    const { page } = this;
    const room = byId("lanes").clientWidth;
    if (room === 0) return;
    this.isStacked = room < STACKED_BELOW;
    byId("lanes").classList.toggle("stacked", this.isStacked);
    this.rows.height = LANE_HEIGHT + (this.isStacked ? LABEL_HEIGHT : 0);
    const laneWidth = Math.max(40, Math.floor(room - (this.isStacked ? 2 * STACKED_MARGIN : this.labelWidth()))), bins = this.countBins(laneWidth);
    this.lanes.ask([page.source, page.state.filters, bins], () => this.steps(bins), ({ lanes, map }) => {
      Object.assign(this, { laneWidth, bins });
      this.fillLanes(lanes);
      fillAxis(byId("lane-axis"), page.source.duration, this.isStacked ? STACKED_MARGIN : 16 + this.labelWidth() - 24, laneWidth);
      this.heatMap.show(map);
    });
  }

  /** Filters of stacks hold here too; the window does not, for it is chosen here. */
  private *steps(bins: number): Steps<{ lanes: Lane[]; map: SecondMap }> {
    const { source, names, profile, state: { filters } } = this.page;
    const all = yield* part(selectSteps(source, names, filters, null), 0, 0.2);
    const lanes = yield* part(binThreads(source, profile.threads.length, bins, all), 0.2, 0.7);
    return { lanes, map: yield* part(this.heatMap.steps(all), 0.7, 1) };
  }

  private fillLanes(lanes: Lane[]): void {
    const { names, profile } = this.page;
    const rows: LaneRow[] = [];
    const byProcess = profile.processes.map((process, row) => {
      const threads = profile.threads.flatMap((thread, at) => thread.process === row && lanes[at].total > 0 ? [at] : []);
      return { process, row, threads, total: threads.reduce((sum, at) => sum + lanes[at].total, 0) };
    });
    this.highest = { process: 1e-9, thread: 1e-9 };
    for (const { process, row, threads } of byProcess.filter(({ total }) => total > 0).sort((a, b) => b.total - a.total)) {
      const lane = addLanes(threads.map((at) => lanes[at]), this.bins);
      this.highest.process = Math.max(this.highest.process, highestBin(lane, this.bins));
      rows.push({ name: names.name(names.firstProcess + row), filter: { by: "pid", value: String(process.pid), not: false }, lane, isProcess: true });
      for (const at of threads.sort((a, b) => lanes[b].total - lanes[a].total)) {
        this.highest.thread = Math.max(this.highest.thread, highestBin(lanes[at], this.bins));
        const tid = String(profile.threads[at].tid);
        rows.push({ name: names.name(names.firstThread + at), filter: { by: "thread", value: tid, not: false }, lane: lanes[at], isProcess: false });
      }
    }
    this.rows.set(rows);
  }

  private countBins(width: number): number {
    const finest = Math.min(width / BIN_PIXELS, this.page.source.duration / BIN_NS);
    return Math.max(1, Math.min(width, Math.floor(Math.max(50, finest))));
  }

  private labelWidth(): number {
    return Math.min(240, byId("lanes").clientWidth * 0.4) + 24;
  }

  private renderLane(row: LaneRow): HTMLElement {
    const { page } = this;
    const isChosen = page.state.filters.some(({ by, value, not }) => by === row.filter.by && value === row.filter.value && !not);
    const label = element("span", { class: "lane-label" }, element("span", { class: "lane-name" }, shorten(row.name, 120)),
      element("span", { class: "lane-share" }, formatShare(row.lane.total, page.source.samples.total)));
    if (!this.isStacked) label.style.width = `${this.labelWidth() - 24}px`;
    const canvas = element("canvas", { class: "lane-canvas", "aria-hidden": "true" });
    const made = element("div", {
      class: row.isProcess ? "lane process" : "lane", role: "option", tabindex: "0", "aria-selected": String(isChosen),
      title: `${shorten(row.name, 300)}: ${page.scale.amount(row.lane.total)}. A click on the name shows only this.`,
    }, label, canvas);
    const width = this.laneWidth, height = LANE_HEIGHT - 6;
    const context = fitCanvas(canvas, width, height);
    const highest = row.isProcess ? this.highest.process : this.highest.thread;
    if (context) this.drawBins(context, row.lane, this.bins, width, height, highest);
    const toggle = () => {
      const others = page.state.filters.filter(({ by, value }) => by !== row.filter.by || value !== row.filter.value);
      page.update({ filters: isChosen ? others : [...others, row.filter] }, "push");
    };
    label.addEventListener("click", toggle);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") toggle(); });
    return made;
  }
}
