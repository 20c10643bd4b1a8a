// The page's beginning: the profile out of the document, then everything else.

import "../style.css";
import { connectControls, connectDialogs, connectKeys } from "./controls";
import { readProfile } from "./data/read";
import { Page } from "./page";
import { renderEmpty, renderHead } from "./view/about";
import { byId, element } from "./view/dom";
import { Theme } from "./view/theme";

function hide(...ids: string[]): void {
  for (const id of ids) byId(id).hidden = true;
}

async function main(): Promise<void> {
  const started = performance.now();
  const profile = await readProfile(byId("profile"));
  const read = performance.now();
  renderHead(profile);
  if (profile.samples === 0) {
    new Theme(() => undefined);
    renderEmpty(profile);
    hide("graph-panel", "path", "legend", "bar", "time-bar");
    connectDialogs(profile, 0);
    document.documentElement.dataset.state = "empty";
    return;
  }
  let page: Page | null = null;
  const theme = new Theme(() => page?.recolor());
  page = new Page(profile);
  page.start();
  connectControls(page);
  connectDialogs(profile, page.source.duration);
  connectKeys(page, theme);
  page.graph.draw();
  page.report();
  Object.assign(document.documentElement.dataset, {
    state: "ready", readMs: (read - started).toFixed(1), loadMs: (performance.now() - started).toFixed(1),
  });
  Object.assign(globalThis, { viperf: page });
}

main().catch((error: unknown) => {
  document.documentElement.dataset.state = "failed";
  byId("message").replaceChildren(element("h2", {}, "The profile in this page cannot be read"), element("p", {}, String(error)));
  byId("message").hidden = false;
  hide("graph-panel");
  throw error;
});
