// Where a served page's data comes from: a recording that goes on, or files.

import type { Profile, Served } from "../data/profile";
import { formatNumber, formatShare } from "../format";
import { printable } from "../model/names";
import { announce, byId, element } from "./dom";

const STATES: Record<Served["state"], string> = { file: "", recording: "live", ended: "recording ended" };

export class ServedBar {
  isPaused = false;
  private isOver = false;
  private readonly bar = byId("served");
  private readonly state = byId("served-state");
  private readonly facts = byId("served-facts");
  private readonly notice = byId("served-notice");
  private readonly button = byId<HTMLButtonElement>("served-pause");
  private readonly files = byId<HTMLSelectElement>("served-file");

  constructor(onPause: () => void, onChoose: (file: string) => void) {
    const toggle = () => {
      if (this.button.hidden) return;
      this.isPaused = !this.isPaused;
      this.button.textContent = this.isPaused ? "Resume" : "Pause";
      this.bar.classList.toggle("paused", this.isPaused);
      announce(this.isPaused ? "The page stands still; the recording goes on" : "The page follows the recording");
      onPause();
    };
    this.button.addEventListener("click", toggle);
    this.files.addEventListener("change", () => onChoose(this.files.value));
    addEventListener("keydown", (event) => {
      const isTyping = (event.target as Element).closest("input, select, textarea");
      if (event.key === "z" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping) toggle();
    });
  }

  show(profile: Profile, served: Served): void {
    const isLive = served.state === "recording";
    this.isOver ||= served.state === "ended";
    this.bar.hidden = served.state === "file" && served.files.length === 0 && served.notice === "";
    this.bar.dataset.state = served.state;
    this.state.textContent = this.isPaused && isLive ? "paused" : STATES[served.state];
    this.button.hidden = !isLive;
    const facts = isLive ? [
      `${formatNumber(Math.round(served.rate_achieved))} samples/s`,
      profile.samples > 0 ? `${formatShare(profile.complete, profile.samples)} complete` : "",
      `${formatNumber(profile.lost)} lost`,
    ] : [];
    this.facts.textContent = facts.filter(Boolean).join(" · ");
    this.facts.classList.toggle("warn", isLive && profile.lost > 0);
    this.complain(served.notice);
    this.showFiles(served);
    Object.assign(document.documentElement.dataset, { served: served.state, servedSamples: profile.samples });
  }

  /** All as one, one of them, or what changed from one to the next. */
  private showFiles({ files, file, base }: Served): void {
    this.files.hidden = files.length === 0;
    const known = JSON.stringify(files);
    if (this.files.dataset.known !== known) {
      this.files.dataset.known = known;
      const names = files.map((name) => printable(name));
      const option = (value: string, text: string) => element("option", { value }, text);
      const changes = names.slice(1).map((name, at) => option(`${at}-${at + 1}`, `${names[at]} → ${name}`));
      if (names.length > 2) changes.push(option(`0-${names.length - 1}`, `${names[0]} → ${names[names.length - 1]}`));
      this.files.replaceChildren(option("all", `All ${files.length} files as one`),
        element("optgroup", { label: "One file" }, ...names.map((name, at) => option(String(at), name))),
        element("optgroup", { label: "What changed" }, ...changes));
    }
    const shown = file === null ? "all" : typeof base === "number" ? `${base}-${file}` : String(file);
    this.files.value = shown;
  }

  /** One line for the reader; empty takes it away. */
  complain(text: string): void {
    this.notice.textContent = printable(text.trim());
    if (text) this.bar.hidden = false;
  }

  end(reason: "ended" | "gone"): void {
    this.button.hidden = true;
    this.isPaused = false;
    if (reason === "gone" && !this.isOver) {
      this.bar.dataset.state = "gone";
      this.state.textContent = "not connected";
      this.complain("viperf has ended; what is here stays until the page is closed");
    }
    document.documentElement.dataset.served = reason;
  }
}
