// The graphs that are seen as pictures: SVG with all levels, PNG as they are on the screen.

import type { Page } from "./page";
import { profileTitle } from "./view/title";
import { ROW, type FlameGraph } from "./view/graph";
import { TextFitter } from "./view/text";

interface Picture {
  graph: FlameGraph;
  caption: string;
  /** What the box tells when the pointer rests on it. */
  tell(node: number): string;
}

/** The graphs of the view that is open. */
function picturesOf(page: Page): Picture[] {
  const { scale, sandwich, difference } = page;
  const amount = (graph: FlameGraph) => (node: number) => {
    const total = graph.tree?.total[node] ?? 0;
    return `${scale.share(total)}, ${scale.amount(total)}`;
  };
  switch (page.state.tab) {
    case "difference": return [{ graph: difference.graph, caption: `${profileTitle(page.profile)} – ${difference.caption()}`, tell: (node) => difference.spoken(node) }];
    case "sandwich": {
      const name = sandwich.shown < 0 ? "" : page.names.functionName(sandwich.shown);
      return [["Callers", sandwich.callers], ["Callees", sandwich.callees]].map(([what, graph]) =>
        ({ graph: graph as FlameGraph, caption: `${what as string} of ${name} – ${profileTitle(page.profile)}`, tell: amount(graph as FlameGraph) }));
    }
    default: return [{ graph: page.graph, caption: `${profileTitle(page.profile)} – ${scale.amount(page.graph.tree?.total[page.graph.zoom] ?? 0)}`, tell: amount(page.graph) }];
  }
}

function escapeXml(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;" };
  return text.toWellFormed().replace(/[\ufffe\uffff]/g, "\ufffd").replace(/[&<>"']/g, (character) => names[character]);
}

/** Colours as every program that shows SVG knows them: most do not know oklch. */
class Resolver {
  private readonly context = document.createElement("canvas").getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  private readonly known = new Map<string, string>();

  constructor(private readonly background: string) {}

  /** A colour that lets through what is below it, as attributes of a line. */
  stroke(color: string): string {
    const { context } = this;
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, opacity] = context.getImageData(0, 0, 1, 1).data;
    return `stroke="rgb(${red},${green},${blue})" stroke-opacity="${(opacity / 255).toFixed(2)}"`;
  }

  of(color: string): string {
    const { context, known } = this;
    let text = known.get(color);
    if (text === undefined) {
      for (const each of [this.background, color]) {
        context.fillStyle = each;
        context.fillRect(0, 0, 1, 1);
      }
      const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
      known.set(color, text = `rgb(${red},${green},${blue})`);
    }
    return text;
  }
}

/** The graphs as they are zoomed, all of their levels, as a picture that can be scaled. */
export function svgOf(page: Page): string {
  const pictures = picturesOf(page).filter(({ graph }) => graph.tree);
  const context = document.createElement("canvas").getContext("2d") as CanvasRenderingContext2D;
  context.font = "12px sans-serif";
  const fitter = new TextFitter(context);
  const { palette } = page.colors;
  const resolver = new Resolver(palette.background);
  const ink = resolver.of(palette.text), hatch = resolver.stroke(palette.hatch);
  const boxes: string[] = [];
  let height = 0;
  for (const picture of pictures) {
    boxes.push(`<text x="6" y="${height + 14}" fill="${ink}">${escapeXml(picture.caption)}</text>`);
    for (const box of drawBoxes(page, picture, fitter, resolver, height + ROW)) boxes.push(box);
    height += picture.graph.contentHeight() + ROW;
  }
  const width = Math.max(0, ...pictures.map(({ graph }) => graph.width));
  const stripes = (name: string, way: string) =>
    `<pattern id="${name}" width="7" height="7" patternUnits="userSpaceOnUse"><path d="${way}" ${hatch}/></pattern>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<defs>${stripes("rising", "M-1 8L8 -1M-1 1L1 -1M6 8L8 6")}${stripes("falling", "M-1 -1L8 8M6 -1L8 1M-1 6L1 8")}</defs>`,
    `<rect width="100%" height="100%" fill="${resolver.of(palette.background)}"/>`, ...boxes, "</svg>\n",
  ].join("\n");
}

function* drawBoxes(page: Page, { graph, tell }: Picture, fitter: TextFitter, resolver: Resolver, below: number): Generator<string> {
  const { tree, names, merged } = graph;
  if (!tree) return;
  const ink = resolver.of(page.colors.palette.text);
  for (const { node, x, y, width } of graph.wideBoxes()) {
    const entry = tree.entry[node];
    const title = `${names.searchText(entry, merged)}: ${tell(node)}`;
    const label = width > 28 ? fitter.fit(names.name(entry, merged), width - 10) : "";
    const top = y + below;
    const place = `x="${x.toFixed(2)}" y="${top}" width="${Math.max(0.5, width - (width > 3 ? 1 : 0)).toFixed(2)}" height="${ROW - 1}"`;
    const stripes = graph.stripesOf(node);
    yield `<g><title>${escapeXml(title)}</title><rect ${place} fill="${resolver.of(graph.plainColor(node))}"/>${
      stripes ? `<rect ${place} fill="url(#${stripes})"/>` : ""}${
      label ? `<text x="${(x + 5).toFixed(2)}" y="${top + 14}" fill="${ink}">${escapeXml(label)}</text>` : ""}</g>`;
  }
}

/** What is on the screen. */
export function pngOf(page: Page): HTMLCanvasElement {
  const canvases = picturesOf(page).map(({ graph }) => graph.picture);
  if (canvases.length === 1) return canvases[0];
  const made = document.createElement("canvas");
  made.width = Math.max(...canvases.map(({ width }) => width));
  made.height = canvases.reduce((sum, { height }) => sum + height, 0);
  const context = made.getContext("2d");
  let top = 0;
  for (const canvas of canvases) {
    if (canvas.width > 0 && canvas.height > 0) context?.drawImage(canvas, 0, top);
    top += canvas.height;
  }
  return made;
}
