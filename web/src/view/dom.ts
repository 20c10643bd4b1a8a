// Elements. Texts of a profile enter the document only here, as text.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found as T;
}

export type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Record<string, string> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

export function button(label: string, className: string, onClick: (event: MouseEvent) => void): HTMLButtonElement {
  const made = element("button", { type: "button", class: className }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** Tells of each opening and closing of a menu before that is on the screen: its own event comes later, after a picture perhaps. */
export function onToggle(menu: HTMLDetailsElement, run: (isOpen: boolean) => void): void {
  new MutationObserver(() => run(menu.open)).observe(menu, { attributes: true, attributeFilter: ["open"] });
}

/** Says a change to those who do not see it. */
export function announce(text: string): void {
  byId("announcer").textContent = text;
}

/** A canvas as large as its place on the screen, in the screen's own pixels; false if there is no place. */
export function fitCanvas(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  if (width <= 0 || height <= 0) return null;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
