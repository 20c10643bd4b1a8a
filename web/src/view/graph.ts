// A flame graph on a canvas. It knows boxes and pixels; what a click means is not its matter.

import { KIND_INCOMPLETE } from "../model/kinds";
import type { Names } from "../model/names";
import { isMatch, type Found } from "../model/search";
import { findNode, findNodeFrom, type Tree } from "../model/tree";
import type { Colors } from "./colors";
import { element } from "./dom";
import { TextFitter } from "./text";

export const ROW = 20;
const PADDING = 6;
const FONT = '12px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
// Boxes narrower than two pixels are slivers: one per pixel, in the plain colour of their kind, and drawn as one stretch
// with the sliver before if that has the same colour.
const SLIVER = 2, GAP_FROM = 3, TEXT_FROM = 28;

/** How boxes look where they are not coloured by what they are. */
export interface Decoration {
  color(node: number): string;
  /** Stripes from the lower left to the upper right, or from the upper left to the lower right. */
  stripes(node: number): "" | "rising" | "falling";
  /** Stands in the place of where the function is. */
  note(node: number): string;
}

export interface Box {
  node: number;
  x: number;
  y: number;
  width: number;
}

export class FlameGraph {
  tree: Tree | null = null;
  zoom = 0;
  hover = -1;
  selected = -1;
  found: Found | null = null;
  /** The root at the bottom. */
  flame = false;
  merged = false;
  width = 0;
  height = 0;
  boxes = 0;
  drawMilliseconds = 0;
  colors: Colors | null = null;
  decoration: Decoration | null = null;
  private readonly context: CanvasRenderingContext2D;
  private readonly fitter: TextFitter;
  private readonly outlines: HTMLElement[];
  /** Without an area before its first drawing: a canvas that lets nothing through is black. */
  private readonly canvas = element("canvas", { "aria-hidden": "true", width: "0", height: "0" });
  private readonly space = element("div", { class: "graph-space" });
  private pending = 0;
  private ratio = 1;
  private rows = 0;
  private content = 0;
  private shownHeight = 0;
  private scrolled = 0;
  private left = 0;
  private pixel = 1;
  private stretch = { left: 0, right: 0, color: "" };
  /** Stretches of this picture by colour, as left, top, width: setting a colour takes longer than filling a sliver. */
  private readonly stretches = new Map<string, number[]>();

  constructor(readonly scroller: HTMLElement, public names: Names) {
    const context = this.canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("this browser has no canvas");
    this.context = context;
    context.font = FONT;
    this.fitter = new TextFitter(context);
    this.outlines = ["outline selected", "outline"].map((name) => element("div", { class: name, hidden: "" }));
    this.space.append(this.canvas, ...this.outlines);
    scroller.append(this.space);
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => {
      // It tells of the size at the beginning, too, which is drawn already.
      if (scroller.clientWidth === this.width && scroller.clientHeight === this.height) return;
      this.resize();
      // This is told after what is drawn for the next picture, so a canvas of another size would be empty in that.
      if (this.pending) this.draw();
    }).observe(scroller);
  }

  /** How far it is scrolled, from where the root is. */
  get scrolledTo(): number {
    const { scrollTop, scrollHeight } = this.scroller;
    return this.flame ? scrollHeight - scrollTop : scrollTop;
  }

  set scrolledTo(distance: number) {
    this.scroller.scrollTop = this.flame ? this.scroller.scrollHeight - distance : distance;
  }

  setTree(tree: Tree | null): void {
    Object.assign(this, { tree, zoom: 0, hover: -1, selected: -1, found: null });
  }

  /** Until there is another tree the picture stays, but nothing in it can be pointed at. */
  forget(): void {
    this.setTree(null);
    this.placeOutlines();
  }

  setFlame(flame: boolean): void {
    this.flame = flame;
    // At the root, also if that is seen only later.
    this.content = this.shownHeight = this.scrolled = 0;
    this.resize();
  }

  /** Shows this node and all below it over the full width. */
  zoomTo(node: number): void {
    this.zoom = node;
    this.hover = -1;
    this.resize();
    this.reveal(node);
  }

  /** The canvas is as large as the window; only the space behind it is as high as the graph. */
  resize(): void {
    // While another tab is shown there is no height, and the browser forgets how far this one was scrolled.
    if (!this.tree || this.scroller.clientHeight === 0) return;
    const ratio = window.devicePixelRatio || 1;
    this.width = this.scroller.clientWidth;
    this.height = this.scroller.clientHeight;
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.canvas.style.width = `${this.width}px`;
      this.canvas.style.height = `${this.height}px`;
    }
    this.ratio = ratio;
    this.rows = this.countRows(this.tree);
    // A flame stands on the ground: what is kept in view is the distance from there.
    const fromTop = this.scrolled, fromBottom = Math.max(0, this.content - fromTop - this.shownHeight);
    this.shownHeight = this.height;
    this.content = Math.max(this.contentHeight(), this.height);
    this.space.style.height = `${this.content}px`;
    this.scroller.scrollTop = this.flame ? this.content - this.height - fromBottom : fromTop;
    // Another size may follow before anything is drawn.
    this.scrolled = this.scroller.scrollTop;
    this.redraw();
  }

  /** As high as all levels are. */
  contentHeight(): number {
    return this.rows * ROW + 2 * PADDING;
  }

  /** How many levels the zoomed node reaches down. */
  private countRows(tree: Tree): number {
    const left = tree.start[this.zoom], right = left + tree.total[this.zoom];
    let depth = tree.depth[this.zoom];
    for (; depth + 1 < tree.height; depth++) {
      const node = findNode(tree, depth + 1, left);
      if (node === tree.levels[depth + 2] || tree.start[node] >= right) break;
    }
    return depth + 1;
  }

  private top(depth: number): number {
    const above = PADDING + depth * ROW;
    return (this.flame ? this.content - above - ROW : above) - this.scroller.scrollTop;
  }

  /** Scrolls so that the node's row can be seen, with its callers where there is room. */
  reveal(node: number): void {
    if (!this.tree) return;
    const top = this.top(this.tree.depth[node]);
    if (top >= 0 && top + ROW <= this.height) return;
    const margin = this.flame ? this.height - 4 * ROW : 3 * ROW;
    this.scroller.scrollTop += top - margin;
  }

  redraw(): void {
    if (this.pending || !this.tree) return;
    this.pending = requestAnimationFrame(() => this.draw());
  }

  draw(): void {
    cancelAnimationFrame(this.pending);
    this.pending = 0;
    const { context, tree, colors } = this;
    if (!tree || !colors || this.scroller.clientHeight === 0) return;
    if (this.rows === 0) this.resize();
    this.scrolled = this.scroller.scrollTop;
    const started = performance.now();
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = colors.palette.background;
    context.fillRect(0, 0, this.width, this.height);
    context.font = FONT;
    context.textBaseline = "middle";
    this.left = tree.start[this.zoom] ?? 0;
    this.pixel = tree.total[this.zoom] / this.width;
    this.boxes = 0;
    for (const box of this.visibleLevels()) this.drawLevel(tree, colors, box.depth, box.top);
    this.fillStretches();
    this.placeOutlines();
    this.drawMilliseconds = performance.now() - started;
  }

  private visibleLevels(): { depth: number; top: number }[] {
    const levels = Array.from({ length: this.rows }, (_, depth) => ({ depth, top: this.top(depth) }));
    return levels.filter(({ top }) => top + ROW > 0 && top < this.height);
  }

  private drawLevel(tree: Tree, colors: Colors, depth: number, top: number): void {
    const { left, pixel } = this;
    const end = tree.levels[depth + 1], right = left + this.width * pixel;
    const isAncestor = depth < tree.depth[this.zoom];
    let node = findNode(tree, depth, left);
    while (node < end && tree.start[node] < right) {
      const x = Math.max(0, (tree.start[node] - left) / pixel);
      const to = Math.min(this.width, (tree.start[node] + tree.total[node] - left) / pixel);
      if (to - x >= SLIVER) {
        this.drawStretch(top);
        this.drawBox(tree, colors, { node, x: this.snap(x), y: top, width: this.snap(to) - this.snap(x) }, isAncestor);
        node++;
      } else {
        // Everything up to the next whole pixel is one sliver.
        const next = to >= Math.floor(x) + 1 ? node + 1 : findNodeFrom(tree, node, end, left + (Math.floor(x) + 1) * pixel);
        this.addSliver(tree, colors, node, Math.max(node + 1, next), x, top);
        node = Math.max(node + 1, next);
      }
    }
    this.drawStretch(top);
  }

  /** Edges on whole pixels of the screen are sharp, and several times faster to fill. */
  private snap(x: number): number {
    return Math.round(x * this.ratio) / this.ratio;
  }

  private addSliver(tree: Tree, colors: Colors, node: number, next: number, x: number, top: number): void {
    const { stretch } = this;
    const last = next - 1;
    const right = (tree.start[last] + tree.total[last] - this.left) / this.pixel;
    const color = this.color(tree, colors, node, next, true);
    if (color !== stretch.color || x > stretch.right + 0.5) {
      this.drawStretch(top);
      stretch.left = x;
      stretch.color = color;
    }
    stretch.right = right;
  }

  private drawStretch(top: number): void {
    const { stretch, stretches } = this;
    if (stretch.color === "") return;
    const left = this.snap(stretch.left), width = Math.max(this.snap(stretch.right) - left, 1 / this.ratio);
    const same = stretches.get(stretch.color);
    if (same) same.push(left, top, width);
    else stretches.set(stretch.color, [left, top, width]);
    stretch.color = "";
    this.boxes++;
  }

  private fillStretches(): void {
    const { context, stretches } = this;
    for (const [color, places] of stretches) {
      context.fillStyle = color;
      for (let at = 0; at < places.length; at += 3) context.fillRect(places[at], places[at + 1], places[at + 2], ROW - 1);
    }
    stretches.clear();
  }

  private drawBox(tree: Tree, colors: Colors, { node, x, y, width }: Box, isAncestor: boolean): void {
    const { context } = this;
    const faded = this.found ? !isMatch(this.found, node) : false;
    const shown = width >= GAP_FROM ? width - 1 : width;
    context.fillStyle = this.color(tree, colors, node, node + 1, false);
    context.globalAlpha = isAncestor ? 0.55 : 1;
    context.fillRect(x, y, shown, ROW - 1);
    const stripes = this.stripesOf(node);
    if (!faded && width >= 6 && stripes) this.drawHatch(colors, x, y, shown, stripes === "rising");
    context.globalAlpha = 1;
    if (width >= TEXT_FROM) this.drawLabel(tree, colors, node, x + 6, y + ROW / 2, shown - 10, faded);
    this.boxes++;
  }

  /** What is not known must not look like what is, whatever the colours. */
  stripesOf(node: number): "" | "rising" | "falling" {
    if (this.decoration) return this.decoration.stripes(node);
    return this.tree && this.names.kind(this.tree.entry[node]) === KIND_INCOMPLETE ? "rising" : "";
  }

  /** The colour of a box while nothing is searched for. */
  plainColor(node: number): string {
    const { tree, colors, decoration } = this;
    if (!tree || !colors) return "";
    return decoration ? decoration.color(node) : colors.of(tree.entry[node], tree.self[node] / tree.total[node]);
  }

  private drawHatch(colors: Colors, x: number, top: number, width: number, rising: boolean): void {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, top, width, ROW - 1);
    context.clip();
    context.beginPath();
    for (let at = x - ROW - (x % 7); at < x + width; at += 7) {
      context.moveTo(at, rising ? top + ROW : top);
      context.lineTo(at + ROW, rising ? top : top + ROW);
    }
    context.strokeStyle = colors.palette.hatch;
    context.lineWidth = 1;
    context.stroke();
    context.restore();
  }

  private drawLabel(tree: Tree, colors: Colors, node: number, x: number, middle: number, room: number, faded: boolean): void {
    const { context, names, fitter } = this;
    const entry = tree.entry[node];
    const text = fitter.fit(names.name(entry, this.merged), room);
    if (!text) return;
    context.fillStyle = faded ? colors.palette.fadedText : colors.palette.text;
    context.fillText(text, x, middle);
    const used = fitter.width(text) + 8;
    if (text.endsWith("…") || room - used < 40) return;
    context.fillStyle = faded ? colors.palette.fadedText : colors.palette.place;
    context.fillText(fitter.fit(this.decoration ? this.decoration.note(node) : names.shortPlace(entry), room - used), x + used, middle);
  }

  setHover(node: number): void {
    this.hover = node;
    this.placeOutlines();
  }

  /** Outlines are elements over the canvas, so that moving one draws nothing anew. */
  placeOutlines(): void {
    this.placeOutline(this.outlines[0], this.selected);
    this.placeOutline(this.outlines[1], this.hover === this.selected ? -1 : this.hover);
  }

  private placeOutline(outline: HTMLElement, node: number): void {
    const box = this.tree && node >= 0 && node < this.tree.size ? this.bounds(node) : null;
    outline.hidden = !box || box.right < 0 || box.left > this.width;
    if (!box || outline.hidden) return;
    const left = Math.max(0, box.left), right = Math.min(this.width, box.right);
    outline.style.left = `${left}px`;
    outline.style.top = `${box.top + this.scroller.scrollTop}px`;
    outline.style.width = `${Math.max(3, right - left - 1)}px`;
  }

  bounds(node: number): { left: number; right: number; top: number } {
    const tree = this.tree as Tree;
    const left = (tree.start[node] - this.left) / this.pixel;
    return { left, right: left + tree.total[node] / this.pixel, top: this.top(tree.depth[node]) };
  }

  /** While there is a search, matches are deeper than their kind usually is and all else fades. */
  private color(tree: Tree, colors: Colors, node: number, next: number, plain: boolean): string {
    const entry = tree.entry[node];
    const kind = this.names.kind(entry);
    if (this.found && !isMatch(this.found, node, next)) return colors.palette.faded;
    if (this.decoration) return this.decoration.color(node);
    if (this.found) return colors.palette.matched[kind];
    return colors.of(entry, tree.self[node] / tree.total[node], plain);
  }

  /** The boxes wide enough to be told apart, for pictures: all levels, not only those in the window. */
  *wideBoxes(): Generator<Box> {
    const { tree } = this;
    if (!tree) return;
    const left = tree.start[this.zoom], right = left + tree.total[this.zoom];
    for (let depth = 0; depth < this.rows; depth++) {
      const y = this.flame ? this.contentHeight() - PADDING - (depth + 1) * ROW : PADDING + depth * ROW;
      let node = findNode(tree, depth, left);
      while (node < tree.levels[depth + 1] && tree.start[node] < right) {
        const x = Math.max(0, (tree.start[node] - left) / this.pixel);
        const to = Math.min(this.width, (tree.start[node] + tree.total[node] - left) / this.pixel);
        if (to - x >= 0.5) yield { node, x, y, width: to - x };
        node = to - x >= 0.5 ? node + 1 : Math.max(node + 1, findNode(tree, depth, left + (x + 0.5) * this.pixel));
      }
    }
  }

  /** The node under a point of the canvas; -1 for none. */
  nodeAt(x: number, y: number): number {
    const { tree } = this;
    if (!tree) return -1;
    const inContent = y + this.scroller.scrollTop;
    const depth = Math.floor(((this.flame ? this.content - inContent : inContent) - PADDING) / ROW);
    if (!(depth >= 0 && depth < this.rows)) return -1;
    const value = this.left + x * this.pixel;
    const node = findNode(tree, depth, value);
    return node < tree.levels[depth + 1] && tree.start[node] <= value ? node : -1;
  }

  /** The picture as it is on the screen. */
  get picture(): HTMLCanvasElement {
    return this.canvas;
  }
}
