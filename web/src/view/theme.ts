// Light or dark: as the system has it, until the reader says otherwise.

import { byId } from "./dom";

export class Theme {
  private chosen: boolean | null = null;
  private readonly system = matchMedia("(prefers-color-scheme: dark)");
  private readonly button = byId("theme-button");

  constructor(private readonly onChange: () => void) {
    this.system.addEventListener("change", () => this.apply());
    this.button.addEventListener("click", () => this.toggle());
    // Paper is white.
    addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; this.onChange(); });
    addEventListener("afterprint", () => this.apply());
    this.apply();
  }

  private get dark(): boolean {
    return this.chosen ?? this.system.matches;
  }

  toggle(): void {
    this.chosen = !this.dark;
    this.apply();
  }

  private apply(): void {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.button.textContent = this.dark ? "Light" : "Dark";
    this.onChange();
  }
}
