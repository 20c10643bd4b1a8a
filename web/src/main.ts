// The page's beginning: the profile out of the document or from the server that shows it, then everything else.

import "../style.css";
import { connectControls, connectDialogs, connectKeys } from "./controls";
import { Follower } from "./data/follow";
import type { Profile, Served } from "./data/profile";
import { readProfile } from "./data/read";
import { Page } from "./page";
import { TABS } from "./state";
import { renderEmpty, renderHead } from "./view/about";
import { byId, element } from "./view/dom";
import { ServedBar } from "./view/served";
import { Theme } from "./view/theme";
import { profileTitle } from "./view/title";

const PANELS = ["graph-panel", "path", "legend", "bar", "time-bar"];

function setHidden(ids: string[], hidden: boolean): void {
  for (const id of ids) byId(id).hidden = hidden;
}

/** What is shown: nothing yet, or a page. */
class Shown {
  private page: Page | null = null;
  private profile: Profile | null = null;
  private readonly theme = new Theme(() => this.page?.recolor());

  constructor() {
    connectDialogs(() => ({ profile: this.profile as Profile, page: this.page }));
  }

  /** Whether the reader is doing something that new data would take away. */
  get isHeld(): boolean {
    return this.page?.menu.isOpen === true || document.querySelector("dialog[open], details.menu[open]") !== null;
  }

  /** Whether it is shown: not if `isHeld` by the time when it could be. */
  async show(profile: Profile, isHeld: () => boolean = () => false): Promise<boolean> {
    const isShown = !this.page || await this.page.replace(profile, isHeld);
    if (!isShown) return false;
    const first = this.profile === null;
    this.profile = profile;
    renderHead(profile);
    if (!this.page) this.begin(profile, first);
    return true;
  }

  private begin(profile: Profile, first: boolean): void {
    const isEmpty = profile.samples === 0;
    setHidden(PANELS, isEmpty);
    byId("message").hidden = !isEmpty;
    if (isEmpty) {
      this.showNothing(profile, first);
      return;
    }
    const page = this.page = new Page(profile);
    page.start();
    connectControls(page);
    connectKeys(page, this.theme);
    // What stands around the graph has its height now.
    page.graph.resize();
    page.graph.draw();
    page.report();
    document.documentElement.dataset.state = "ready";
    Object.assign(globalThis, { viperf: page });
  }

  private showNothing(profile: Profile, first: boolean): void {
    document.documentElement.dataset.state = "empty";
    if (profile.served?.state !== "recording") return renderEmpty(profile);
    document.title = profileTitle(profile);
    if (!first) return;
    byId("message").replaceChildren(element("h2", {}, "Waiting for the first sample"),
      element("p", {}, "Samples are taken while a thread of the target runs on a CPU."));
  }
}

/** A page that a server shows. */
async function follow(shown: Shown): Promise<void> {
  let latest: { profile: Profile & { served: Served }; choice: number } | null = null;
  const isHeld = () => bar.isPaused || shown.isHeld || isPressed;
  const showLatest = async () => {
    while (latest && !isHeld()) {
      const next: NonNullable<typeof latest> = latest;
      // Of another file than the one that is chosen by now.
      const isStale = () => next.choice !== follower.choice;
      latest = null;
      if (isStale() || await shown.show(next.profile, () => isHeld() || isStale())) continue;
      if (!isStale()) latest ??= next;
    }
  };
  let shownSoFar = Promise.resolve();
  /** One after the other, until there is nothing left to show, or it must not be shown now; whoever asked is told what went wrong. */
  const flush = () => {
    const next = shownSoFar.then(showLatest);
    shownSoFar = next.catch(() => undefined);
    return next;
  };
  const flushLater = () => { flush().catch(fail); };
  let isPressed = false;
  addEventListener("pointerdown", () => { isPressed = true; });
  for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, () => { isPressed = false; });
  const follower = new Follower({
    receive: async (profile) => {
      bar.show(profile, profile.served);
      latest = { profile, choice: follower.choice };
      await flush();
    },
    complain: (text) => bar.complain(text),
    end: (reason) => { bar.end(reason); flushLater(); },
  });
  const bar = new ServedBar(flushLater, (file) => follower.choose(file));
  // What came while a menu was open is shown once that is closed.
  setInterval(flushLater, 300);
  await follower.run();
}

async function main(): Promise<void> {
  const started = performance.now();
  const isServed = document.documentElement.dataset.served !== undefined;
  const profile = isServed ? null : await readProfile(byId("profile"));
  const read = performance.now();
  const shown = new Shown();
  if (!profile) return await follow(shown);
  await shown.show(profile);
  Object.assign(document.documentElement.dataset, { readMs: (read - started).toFixed(1), loadMs: (performance.now() - started).toFixed(1) });
}

function fail(error: unknown): never {
  document.documentElement.dataset.state = "failed";
  byId("message").replaceChildren(element("h2", {}, "The profile of this page cannot be read"), element("p", {}, String(error)));
  byId("message").hidden = false;
  setHidden(TABS.map((tab) => `${tab}-panel`), true);
  throw error;
}

main().catch(fail);
