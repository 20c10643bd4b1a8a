// The flame graph on a canvas. It knows boxes and pixels; what a click means is main.js's matter.

const ROW = 20;
const PADDING = 6;
const FONT = '12px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
// Boxes narrower than two pixels are slivers: one per pixel, in the plain colour of their kind, and drawn as one stretch
// with the sliver before if that has the same colour.
const SLIVER = 2, GAP_FROM = 3, TEXT_FROM = 28;

class FlameGraph {
  constructor(scroller, space, canvas, names) {
    Object.assign(this, { scroller, space, canvas, names });
    this.context = canvas.getContext("2d", { alpha: false });
    this.context.font = FONT;
    this.fitter = new TextFitter(this.context);
    this.zoom = 0;
    this.hover = -1;
    this.selected = -1;
    this.found = null;
    this.flame = false;
    this.pending = 0;
    this.shades = new Map();
    this.outlines = ["outline selected", "outline"].map((name) => element("div", { class: name, hidden: "" }));
    space.append(...this.outlines);
    this.drawMilliseconds = 0;
    this.content = this.shownHeight = this.scrolled = 0;
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.resize()).observe(scroller);
  }

  setTree(tree) {
    Object.assign(this, { tree, zoom: 0, hover: -1, selected: -1, found: null });
  }

  setFlame(flame) {
    this.flame = flame;
    this.resize();
    this.scroller.scrollTop = flame ? this.scroller.scrollHeight : 0;
  }

  setColors(colors) {
    this.colors = colors;
    this.redraw();
  }

  // Shows this node and all below it over the full width.
  zoomTo(node) {
    this.zoom = node;
    this.hover = -1;
    this.resize();
    this.reveal(node);
  }

  // The canvas is as large as the window; only the space behind it is as high as the graph.
  resize() {
    // While the other tab is shown there is no height, and the browser forgets how far this one was scrolled.
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
    this.rows = this.countRows();
    // A flame stands on the ground: what is kept in view is the distance from there.
    const fromTop = this.scrolled, fromBottom = this.content - fromTop - this.shownHeight;
    this.shownHeight = this.height;
    this.content = Math.max(this.rows * ROW + 2 * PADDING, this.height);
    this.space.style.height = `${this.content}px`;
    this.scroller.scrollTop = this.flame ? this.content - this.height - fromBottom : fromTop;
    this.redraw();
  }

  // How many levels the zoomed node reaches down.
  countRows() {
    const { tree, zoom } = this;
    const left = tree.start[zoom], right = left + tree.total[zoom];
    let depth = tree.depth[zoom];
    for (; depth + 1 < tree.height; depth++) {
      const node = findNode(tree, depth + 1, left);
      if (node === tree.levels[depth + 2] || tree.start[node] >= right) break;
    }
    return depth + 1;
  }

  top(depth) {
    const above = PADDING + depth * ROW;
    return (this.flame ? this.content - above - ROW : above) - this.scroller.scrollTop;
  }

  depthAt(y) {
    const inContent = y + this.scroller.scrollTop;
    return Math.floor(((this.flame ? this.content - inContent : inContent) - PADDING) / ROW);
  }

  // Scrolls so that the node's row can be seen, with its callers where there is room.
  reveal(node) {
    const top = this.top(this.tree.depth[node]);
    if (top >= 0 && top + ROW <= this.height) return;
    const margin = this.flame ? this.height - 4 * ROW : 3 * ROW;
    this.scroller.scrollTop += top - margin;
  }

  redraw() {
    if (this.pending || !this.tree) return;
    this.pending = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.pending);
    this.pending = 0;
    if (!this.tree || !this.colors || this.scroller.clientHeight === 0) return;
    this.scrolled = this.scroller.scrollTop;
    const started = performance.now();
    const { context, tree } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = this.colors.background;
    context.fillRect(0, 0, this.width, this.height);
    context.font = FONT;
    context.textBaseline = "middle";
    this.left = tree.start[this.zoom] ?? 0;
    this.pixel = tree.total[this.zoom] / this.width;
    this.boxes = 0;
    this.stretch = { left: 0, right: 0, color: "" };
    for (let depth = 0; depth < this.rows; depth++) {
      const top = this.top(depth);
      if (top + ROW > 0 && top < this.height) this.drawLevel(depth, top);
    }
    this.placeOutlines();
    this.drawMilliseconds = performance.now() - started;
  }

  drawLevel(depth, top) {
    const { tree, left, pixel } = this;
    const end = tree.levels[depth + 1], right = left + this.width * pixel;
    const isAncestor = depth < tree.depth[this.zoom];
    let node = findNode(tree, depth, left);
    while (node < end && tree.start[node] < right) {
      const x = Math.max(0, (tree.start[node] - left) / pixel);
      const to = Math.min(this.width, (tree.start[node] + tree.total[node] - left) / pixel);
      if (to - x >= SLIVER) {
        this.drawStretch(top);
        this.drawBox(node, this.snap(x), top, this.snap(to) - this.snap(x), isAncestor);
        node++;
      } else {
        // Everything up to the next whole pixel is one sliver.
        const next = to >= Math.floor(x) + 1 ? node + 1 : findNode(tree, depth, left + (Math.floor(x) + 1) * pixel);
        this.addSliver(node, Math.max(node + 1, next), x, top);
        node = Math.max(node + 1, next);
      }
    }
    this.drawStretch(top);
  }

  // Edges on whole pixels of the screen are sharp, and several times faster to fill.
  snap(x) {
    return Math.round(x * this.ratio) / this.ratio;
  }

  addSliver(node, next, x, top) {
    const { stretch, colors, tree } = this;
    const last = next - 1;
    const right = (tree.start[last] + tree.total[last] - this.left) / this.pixel;
    const kind = this.names.kind(tree.entry[node]);
    const color = this.found ? this.searchedColor(kind, node, next) : colors.kinds[kind][1];
    if (color !== stretch.color || x > stretch.right + 0.5) {
      this.drawStretch(top);
      stretch.left = x;
      stretch.color = color;
    }
    stretch.right = right;
  }

  drawStretch(top) {
    const { context, stretch } = this;
    if (stretch.color === "") return;
    context.fillStyle = stretch.color;
    const left = this.snap(stretch.left);
    context.fillRect(left, top, Math.max(this.snap(stretch.right) - left, 1 / this.ratio), ROW - 1);
    stretch.color = "";
    this.boxes++;
  }

  drawBox(node, x, top, width, isAncestor) {
    const { context, colors } = this;
    const faded = this.found ? !isMatch(this.found, node) : false;
    const shown = width >= GAP_FROM ? width - 1 : width;
    context.fillStyle = this.color(node);
    context.globalAlpha = isAncestor ? 0.55 : 1;
    context.fillRect(x, top, shown, ROW - 1);
    if (!faded && width >= 6 && this.names.kind(this.tree.entry[node]) === KIND_INCOMPLETE) this.drawHatch(x, top, shown);
    context.globalAlpha = 1;
    if (width >= TEXT_FROM) this.drawLabel(node, x + 6, top + ROW / 2, shown - 10, faded);
    this.boxes++;
  }

  // Stripes: what is not known must not look like what is, whatever the colours.
  drawHatch(x, top, width) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, top, width, ROW - 1);
    context.clip();
    context.beginPath();
    for (let at = x - ROW - (x % 7); at < x + width; at += 7) {
      context.moveTo(at, top + ROW);
      context.lineTo(at + ROW, top);
    }
    context.strokeStyle = this.colors.hatch;
    context.lineWidth = 1;
    context.stroke();
    context.restore();
  }

  drawLabel(node, x, middle, room, faded) {
    const { context, colors, names, fitter } = this;
    const entry = this.tree.entry[node];
    const text = fitter.fit(names.name(entry, this.tree.view), room);
    if (!text) return;
    context.fillStyle = faded ? colors.fadedText : colors.text;
    context.fillText(text, x, middle);
    const used = fitter.width(text) + 8;
    if (text.endsWith("…") || room - used < 40) return;
    context.fillStyle = faded ? colors.fadedText : colors.place;
    context.fillText(fitter.fit(names.shortPlace(entry), room - used), x + used, middle);
  }

  setHover(node) {
    this.hover = node;
    this.placeOutlines();
  }

  // Outlines are elements over the canvas, so that moving one draws nothing anew.
  placeOutlines() {
    this.placeOutline(this.outlines[0], this.selected);
    this.placeOutline(this.outlines[1], this.hover === this.selected ? -1 : this.hover);
  }

  placeOutline(outline, node) {
    const box = node >= 0 && node < this.tree.size ? this.bounds(node) : null;
    outline.hidden = !box || box.right < 0 || box.left > this.width;
    if (outline.hidden) return;
    const left = Math.max(0, box.left), right = Math.min(this.width, box.right);
    outline.style.left = `${left}px`;
    outline.style.top = `${box.top + this.scroller.scrollTop}px`;
    outline.style.width = `${Math.max(3, right - left - 1)}px`;
  }

  bounds(node) {
    const { tree } = this;
    const left = (tree.start[node] - this.left) / this.pixel;
    return { left, right: left + tree.total[node] / this.pixel, top: this.top(tree.depth[node]) };
  }

  // While there is a search, matches are deeper than their kind usually is and all else fades.
  searchedColor(kind, node, next) {
    return isMatch(this.found, node, next) ? this.colors.matched[kind] : this.colors.faded;
  }

  color(node) {
    const entry = this.tree.entry[node];
    if (this.found) return this.searchedColor(this.names.kind(entry), node, node + 1);
    let shade = this.shades.get(entry);
    if (shade === undefined) {
      shade = shadeOf(this.names, entry);
      this.shades.set(entry, shade);
    }
    return this.colors.kinds[this.names.kind(entry)][shade];
  }

  // The node under a point of the canvas; -1 for none.
  nodeAt(x, y) {
    const { tree } = this;
    const depth = this.depthAt(y);
    if (!(depth >= 0 && depth < this.rows)) return -1;
    const value = this.left + x * this.pixel;
    const node = findNode(tree, depth, value);
    return node < tree.levels[depth + 1] && tree.start[node] <= value ? node : -1;
  }
}
