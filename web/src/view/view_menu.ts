// The View menu: what of a stack becomes a box, and how boxes look.

import type { Page } from "../page";
import { MINIMUMS, type State } from "../state";
import { byId } from "./dom";

type Switch = "processes" | "mergeProcesses" | "threads" | "lines" | "native" | "kernel" | "interpreter";
type Choice = "root" | "order" | "color";

export class ViewMenu {
  private readonly minimum = byId<HTMLSelectElement>("minimum");

  constructor(private readonly page: Page) {
    for (const box of this.switches()) {
      box.addEventListener("change", () => this.page.update({ [box.dataset.view as Switch]: box.checked }, "push"));
    }
    for (const box of this.choices()) {
      const patch = (): Partial<State> => ({ [box.name]: box.value, ...(box.name === "order" ? { zoom: [] } : {}) });
      box.addEventListener("change", () => this.page.update(patch(), "push"));
    }
    for (const share of MINIMUMS) {
      const option = document.createElement("option");
      option.value = String(share);
      option.textContent = share === 0 ? "every box" : `boxes from ${share * 100} %`;
      this.minimum.append(option);
    }
    this.minimum.addEventListener("change", () => this.page.update({ minimum: Number(this.minimum.value) }, "push"));
  }

  render(): void {
    const { state } = this.page;
    for (const box of this.switches()) box.checked = state[box.dataset.view as Switch];
    for (const box of this.choices()) box.checked = state[box.name as Choice] === box.value;
    this.minimum.value = String(state.minimum);
  }

  private switches(): NodeListOf<HTMLInputElement> {
    return document.querySelectorAll<HTMLInputElement>("[data-view]");
  }

  private choices(): NodeListOf<HTMLInputElement> {
    return document.querySelectorAll<HTMLInputElement>("#view-menu input[type=radio]");
  }
}
