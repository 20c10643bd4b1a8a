// The pointer on a flame graph: what it is over, what a click or the menu means.

import type { Page } from "../page";
import type { FlameGraph } from "./graph";

/** How long a finger rests until it means the menu. */
const LONG_PRESS_MS = 500;

export function connectPointer(page: Page, graph: FlameGraph, onClick: (node: number) => void): void {
  const { scroller } = graph;
  const under = (event: MouseEvent) => {
    const { left, top } = scroller.getBoundingClientRect();
    return graph.nodeAt(event.clientX - left, event.clientY - top);
  };
  const leave = () => {
    graph.setHover(-1);
    page.tooltip.hide();
  };
  const openMenu = (node: number, x: number, y: number) => {
    if (graph.tree && node >= 0) page.menu.open(graph.tree, node, x, y);
  };
  let press = 0, pressed = false;
  scroller.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || page.menu.isOpen) return;
    const node = under(event);
    graph.setHover(node);
    scroller.classList.toggle("over-box", node >= 0);
    if (node >= 0 && graph.tree) page.tooltip.show(graph.tree, node, graph.zoom, event.clientX, event.clientY);
    else page.tooltip.hide();
  });
  scroller.addEventListener("pointerleave", leave);
  scroller.addEventListener("scroll", leave, { passive: true });
  scroller.addEventListener("pointerdown", (event) => {
    pressed = false;
    if (event.pointerType !== "touch") return;
    press = window.setTimeout(() => { pressed = true; openMenu(under(event), event.clientX, event.clientY); }, LONG_PRESS_MS);
  });
  for (const end of ["pointerup", "pointercancel"]) scroller.addEventListener(end, () => clearTimeout(press));
  scroller.addEventListener("click", (event) => {
    const node = under(event);
    if (node < 0 || pressed) return;
    page.tooltip.hide();
    onClick(node);
  });
  scroller.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    openMenu(under(event), event.clientX, event.clientY);
  });
}
