// A list of many rows of which only those in the window are elements.

import { element } from "./dom";

export class Rows<T> {
  readonly space = element("div", { class: "rows-space", role: "presentation" });
  rows: readonly T[] = [];
  /** Where the last step led; -1 for nowhere yet. */
  private stepped = -1;
  /** Whether there are no rows only because others are being computed. */
  private isWaiting = false;
  /** Whether it shows there, for the focus is elsewhere. */
  private isMarked = false;

  constructor(
    readonly scroller: HTMLElement, public height: number, private readonly render: (row: T, at: number) => HTMLElement,
    private readonly isSame: (one: T, other: T) => boolean = Object.is,
  ) {
    scroller.append(this.space);
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroller);
  }

  set(rows: readonly T[]): void {
    const areSame = this.stepped < 0 || (rows.length === this.rows.length && rows.every((row, at) => this.isSame(row, this.rows[at])));
    if (!areSame) this.stepped = -1;
    this.rows = rows;
    this.isWaiting = false;
    this.draw();
  }

  /** Nothing for now: what was there is of a profile that is gone. How far it is scrolled stays. */
  forget(): void {
    this.stepped = -1;
    this.rows = [];
    this.isWaiting = true;
    this.space.replaceChildren();
  }

  draw(): void {
    const seen = this.scroller.clientHeight;
    if (seen === 0 || this.isWaiting) return;
    this.space.style.height = `${this.rows.length * this.height}px`;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - 5);
    const to = Math.min(this.rows.length, from + Math.ceil(seen / this.height) + 10);
    const { activeElement } = document;
    const focused = activeElement && this.space.contains(activeElement) ? (activeElement as HTMLElement).dataset.at : undefined;
    this.space.replaceChildren(...this.rows.slice(from, to).map((row, index) => {
      const made = this.render(row, from + index);
      made.style.top = `${(from + index) * this.height}px`;
      made.dataset.at = String(from + index);
      if (this.isMarked && this.stepped === from + index) made.setAttribute("aria-current", "true");
      return made;
    }));
    if (focused !== undefined) this.space.querySelector<HTMLElement>(`[data-at="${focused}"]`)?.focus({ preventScroll: true });
  }

  /** Scrolls so that a row is seen, and gives its element the focus, or marks it if that is to stay where it is. */
  focus(at: number, keepsFocus = false): void {
    this.stepped = at;
    this.isMarked = keepsFocus;
    const top = at * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.height * 2 > scrollTop + clientHeight) this.scroller.scrollTop = top + this.height * 2 - clientHeight;
    this.draw();
    if (!keepsFocus) this.space.querySelector<HTMLElement>(`[data-at="${at}"]`)?.focus();
  }

  /** On to the next row or the one before, from the last to the first; which of how many that is. */
  step(direction: number, keepsFocus: boolean): [at: number, count: number] {
    const { rows: { length }, space, stepped } = this;
    const { activeElement } = document;
    const begin = stepped >= 0 ? stepped : direction > 0 ? -1 : length;
    const from = activeElement && space.contains(activeElement) ? Number((activeElement as HTMLElement).dataset.at) : begin;
    const at = length > 0 ? (from + direction + length) % length : -1;
    if (at >= 0) this.focus(at, keepsFocus);
    return [at, length];
  }

  /** Arrow keys move the focus from row to row; returns false for other keys. */
  moveFocus(event: KeyboardEvent): boolean {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || this.rows.length === 0) return false;
    const at = Number((document.activeElement as HTMLElement | null)?.dataset.at ?? -1);
    this.focus(Math.max(0, Math.min(this.rows.length - 1, at + step)));
    event.preventDefault();
    return true;
  }
}
