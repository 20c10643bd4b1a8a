// A page whose data comes from a server and grows: the real one's answers are made up here, its own are in tests/e2e.

import { createServer, type Server } from "node:http";
import { gzipSync } from "node:zlib";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Head, Served } from "../../src/data/profile";
import { dataOf, servedPage, type SampleText } from "../made_up";
import { boxCentre, closeBrowser, executable, fact, openAddress } from "./open";

/** `late` comes first in the order of time once it is there, so that every number of the page's moves. */
function samples(count: number, late = 0): SampleText[] {
  const old = Array.from({ length: count }, (_, at): SampleText => ({
    process: "web", pid: 10, tid: at % 3 === 0 ? 11 : 10, time: 1e6 + at * 4e6,
    stack: ["p:<module>@/srv/app.py:3", at % 2 === 0 ? "p:work@/srv/app.py:10" : "p:load@/srv/db.py:7", ...at % 4 === 0 ? ["n:deflate@libz.so"] : []],
  }));
  const added = Array.from({ length: late }, (_, at): SampleText => ({
    process: "earlier", pid: 5, tid: 5, time: at, stack: ["p:other@/srv/other.py:1", "p:work@/srv/app.py:10"],
  }));
  return [...added, ...old];
}

describe.skipIf(!executable)("a served page", () => {
  let server: Server;
  let address = "";
  let page: Page;
  let close: () => Promise<void>;
  let answer: { data: Buffer; position: string } | { trouble: string };
  let waiting: (() => void)[] = [];
  const asked: string[] = [];

  const give = (data: SampleText[], served: Partial<Served> & { position: string }, head: Partial<Head> = {}) => {
    const whole: Served = { append: false, state: "recording", rate_achieved: 99, files: [], file: null, notice: "", ...served };
    answer = { data: gzipSync(dataOf(data, { ...head, served: whole })), position: served.position };
    for (const wake of waiting.splice(0)) wake();
  };
  const until = (name: string, value: string) => page.waitForFunction(
    ([key, wanted]) => document.documentElement.dataset[key] === wanted, [name, value] as const, { timeout: 30_000 });

  beforeAll(async () => {
    give([], { position: "0" });
    server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://x");
      if (url.pathname === "/token/") {
        response.setHeader("content-type", "text/html");
        response.end(servedPage());
        return;
      }
      if (url.pathname === "/token/source") {
        const path = url.searchParams.get("path") ?? "";
        asked.push(`source ${path}`);
        if (path === "/srv/app.py") response.end(JSON.stringify({ path, text: `import x\n${"\n".repeat(8)}    return 10  # <b>\n`, changed_since: false }));
        else response.writeHead(422).end(`${path} is gone`);
        return;
      }
      if (url.pathname !== "/token/data") {
        response.writeHead(404).end();
        return;
      }
      asked.push(url.search);
      const reply = () => {
        if ("trouble" in answer) response.writeHead(422, { "content-type": "text/plain" }).end(answer.trouble);
        else response.writeHead(200, { "content-type": "application/octet-stream", "content-encoding": "gzip" }).end(answer.data);
      };
      if (!("trouble" in answer) && url.searchParams.get("at") === answer.position) waiting.push(reply);
      else reply();
    });
    await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token/`;
    ({ page, close } = await openAddress(address));
  });
  afterAll(async () => {
    await close();
    server.closeAllConnections();
    server.close();
    await closeBrowser();
  });

  test("waits for the first sample, then shows it", async () => {
    expect(await page.locator("#message").innerText()).toContain("Waiting for the first sample");
    give(samples(40), { position: "1" });
    await until("state", "ready");
    expect(await fact(page, "whole")).toBe("40");
    expect(await page.locator("#served").innerText()).toMatch(/^live\s+99 samples\/s · 100 % complete · 0 lost/);
  });

  test("grows, and keeps zoom, search, filter and what is written in the address", async () => {
    const { x, y } = await boxCentre(page, "work");
    await page.mouse.click(x, y);
    await page.fill("#search", "deflate");
    await page.press("#search", "Enter");
    const found = () => page.locator("#search-result").innerText();
    await expect.poll(found).toContain("1 of 2 matches");
    const before = await page.evaluate(() => location.hash);
    expect(before).toContain("zoom=");
    const zoomed = () => page.evaluate(() => {
      const { viperf } = globalThis as unknown as { viperf: { names: { name(entry: number): string }; graph: { zoom: number; tree: { entry: Int32Array; total: Float64Array } } } };
      const { zoom, tree } = viperf.graph;
      return { name: viperf.names.name(tree.entry[zoom]), total: tree.total[zoom] };
    });
    const small = await zoomed();
    expect(small.name).toBe("work");
    give(samples(400, 50), { position: "2" });
    await until("whole", "450");
    const large = await zoomed();
    expect(large.name).toBe("work");
    expect(large.total).toBeGreaterThan(small.total * 5);
    expect(await page.inputValue("#search")).toBe("deflate");
    await expect.poll(found).toContain("1 of 2 matches");
    await page.waitForFunction(() => document.querySelector("#search-result")?.textContent?.includes("%"));
    await page.keyboard.press("Escape");
    await page.click("#reset");
  });

  test("every view follows", async () => {
    const seen = {
      table: "#table-scroll .rows-space > :first-child", tree: "#tree-scroll .rows-space > :first-child", sandwich: "#sandwich-title", timeline: "#lanes .rows-space > :first-child",
    };
    let count = 450;
    for (const [tab, selector] of Object.entries(seen)) {
      await page.click(`#${tab}-tab`);
      const text = () => page.locator(selector).evaluate((found) => `${found.getAttribute("title") ?? ""} ${found.textContent}`);
      const before = await text();
      count += 400;
      give(samples(count, 50), { position: `view-${tab}` });
      await until("whole", String(count + 50));
      expect(await text(), tab).not.toBe(before);
    }
    await page.click("#graph-tab");
  });

  test("in the order of time a zoomed box stays the same box", async () => {
    await page.keyboard.press("o");
    const lane = () => page.evaluate(() => {
      interface Timed { entry: Int32Array; parent: Int32Array; size: number; start: Float64Array; total: Float64Array }
      const { viperf } = globalThis as unknown as { viperf: { zoom(node: number): void; names: { name(entry: number): string }; graph: { zoom: number; tree: Timed } } };
      return { names: viperf.names.name(viperf.graph.tree.entry[viperf.graph.zoom]), zoom: viperf.graph.zoom };
    });
    const { x, y } = await boxCentre(page, "web (10)");
    await page.mouse.click(x, y);
    expect((await lane()).names).toBe("web (10)");
    give(samples(3000, 50), { position: "timed" });
    await until("whole", "3050");
    expect((await lane()).names).toBe("web (10)");
    await page.click("#reset");
  });

  test("pause holds the page still, resume brings what came meanwhile", async () => {
    const before = await fact(page, "whole");
    await page.click("#served-pause");
    give(samples(3100, 50), { position: "paused" });
    await until("servedSamples", "3150");
    expect(await fact(page, "whole")).toBe(before);
    expect(await page.locator("#served-state").innerText()).toBe("paused");
    await page.keyboard.press("z");
    await until("whole", "3150");
  });

  test("an open menu is not taken away", async () => {
    await page.click("#view-menu summary");
    give(samples(3200, 50), { position: "menu" });
    await until("servedSamples", "3250");
    expect(await page.locator("#view-menu[open]").count()).toBe(1);
    expect(await fact(page, "whole")).toBe("3150");
    await page.keyboard.press("Escape");
    await until("whole", "3250");
  });

  test("source text is asked for while it is recorded, where that is allowed", async () => {
    const note = () => page.locator("#source-note").innerText();
    await page.click("#source-tab");
    give(samples(3300, 50), { position: "refused", sources: "refused" });
    await until("whole", "3350");
    expect(await note()).toContain("viperf record --live --embed-source");
    expect(asked.filter((each) => each.startsWith("source"))).toEqual([]);
    give(samples(3400, 50), { position: "asked", sources: "asked" });
    await until("whole", "3450");
    await expect.poll(() => page.locator("[data-line='10'] code").innerText()).toBe("    return 10  # <b>");
    expect(await page.locator("#source-note").isHidden()).toBe(true);
    await page.click("#source-files >> text=db.py");
    await expect.poll(note).toBe("The text of this file is not here: /srv/db.py is gone.");
    give(samples(3500, 50), { position: "asked on", sources: "asked" });
    await until("whole", "3550");
    // Each once, however often the data grows.
    expect(asked.filter((each) => each.startsWith("source"))).toEqual(["source /srv/app.py", "source /srv/db.py"]);
    await page.click("#graph-tab");
  });

  test("files can be chosen, and what cannot be read is said while the old stays", async () => {
    give(samples(50), { position: "file", state: "file", files: ["<b>a</b>.viperf", "b.viperf"] });
    await until("whole", "50");
    expect(await page.locator("#served-file option").allTextContents()).toEqual(["All 2 files as one", "<b>a</b>.viperf", "b.viperf", "<b>a</b>.viperf → b.viperf"]);
    // What came while a menu was open is not shown any more once another file is chosen; nothing but that is shown next.
    await page.click("#view-menu summary");
    give(samples(55), { position: "", state: "file", files: ["<b>a</b>.viperf", "b.viperf"] });
    await until("servedSamples", "55");
    await page.evaluate(() => {
      const { dataset } = document.documentElement, seen: string[] = [];
      new MutationObserver(() => { if (seen.at(-1) !== dataset.whole) seen.push(dataset.whole ?? ""); }).observe(document.documentElement, { attributes: true });
      Object.assign(globalThis, { seen });
    });
    await page.selectOption("#served-file", "1");
    await expect.poll(() => asked.at(-1), { timeout: 30_000 }).toContain("file=1");
    await page.evaluate(() => new Promise((resolve) => {
      document.querySelector<HTMLDetailsElement>("#view-menu")?.removeAttribute("open");
      setTimeout(resolve, 1000);
    }));
    expect(await page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen)).not.toContain("55");
    give(samples(60), { position: "file1", state: "file", files: ["<b>a</b>.viperf", "b.viperf"], file: 1 });
    await until("whole", "60");
    // What changed from one to the other, and back to one of them: the page has other views of each.
    await page.selectOption("#served-file", "0-1");
    await expect.poll(() => asked.at(-1), { timeout: 30_000 }).toContain("file=0-1");
    const side = (name: string) => ({ name, target: "", hostname: "", started_unix_ms: 0, duration_ns: 1e9, rate_hz: 99 });
    const both = samples(2000).map((sample, at) => ({ ...sample, side: at % 2 }));
    give(both, { position: "file0-1", state: "file", files: ["<b>a</b>.viperf", "b.viperf"], file: 1, base: 0 }, {
      comparison: { normalize: "samples", sides: [side("<b>a</b>.viperf"), side("b.viperf")] },
    });
    await until("whole", "2000");
    expect(await page.locator("main > section:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual(["difference-panel"]);
    expect(await page.locator("#difference-windows").isHidden()).toBe(true);
    await expect.poll(() => page.locator("#changes-count").innerText()).toMatch(/^\d of \d functions changed/);
    expect(await page.locator("#filter-sort option").allTextContents()).toContain("recording");
    expect(await page.inputValue("#served-file")).toBe("0-1");
    give(samples(60), { position: "file1", state: "file", files: ["<b>a</b>.viperf", "b.viperf"], file: 1 });
    await until("whole", "60");
    expect(await page.locator("main > section:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual(["graph-panel"]);
    await page.click("#difference-tab");
    expect(await page.locator("#difference-windows").isVisible()).toBe(true);
    expect(await page.locator("#filter-sort option").allTextContents()).not.toContain("recording");
    await page.click("#graph-tab");
    answer = { trouble: "b.viperf: <script>alert(1)</script> cannot be read" };
    for (const wake of waiting.splice(0)) wake();
    await page.waitForFunction(() => document.querySelector("#served-notice")?.textContent?.includes("cannot be read"));
    expect(await fact(page, "whole")).toBe("60");
  });

  test("stays usable after the end", async () => {
    give(samples(70), { position: "last", state: "ended" });
    await until("served", "ended");
    await until("whole", "70");
    expect(await page.locator("#served-pause").isHidden()).toBe(true);
    const count = asked.length;
    server.closeAllConnections();
    server.close();
    await page.click("#table-tab");
    expect(await page.locator("#table-scroll .table-row").count()).toBeGreaterThan(2);
    expect(asked.length).toBe(count);
  });
});
