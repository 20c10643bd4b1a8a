// A served page whose data is sound until something new comes that is not: it says so, and does not stand still without a word.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import type { Head, Served } from "../../src/data/profile";
import { dataOf, servedPage } from "../made_up";
import { closeBrowser, executable, openAddress } from "./open";

const STACK = ["p:main@/srv/a.py:3"];

function dataAt(position: string, changes: Partial<Head> = {}): Buffer {
  const served: Served = { append: false, state: "recording", rate_achieved: 99, files: [], file: null, notice: "", position };
  return gzipSync(dataOf([{ stack: STACK, time: 1 }, { stack: STACK, time: 2 }], { ...changes, served }));
}

describe.skipIf(!executable)("new data of a served page", () => {
  afterAll(closeBrowser);

  test("that cannot be shown is said", async () => {
    const broken = { data: dataAt("2", { threads: null as never }), isGiven: false };
    let ask: (() => void) | null = null;
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://x");
      if (url.pathname === "/token/") return void response.setHeader("content-type", "text/html").end(servedPage());
      const reply = (data: Buffer) => response.writeHead(200, { "content-encoding": "gzip" }).end(data);
      if (url.searchParams.get("at") === "") return void reply(dataAt("1"));
      ask = () => { reply(broken.data); };
      if (broken.isGiven) ask();
    });
    await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    const { page, complaints } = await openAddress(`http://127.0.0.1:${(server.address() as AddressInfo).port}/token/`);
    expect(await page.locator("#message").isHidden()).toBe(true);
    broken.isGiven = true;
    (ask as (() => void) | null)?.();
    await page.waitForSelector("html[data-state=failed]", { timeout: 120_000 });
    expect(await page.locator("#message").innerText()).toContain("The profile of this page cannot be read");
    await page.waitForFunction(() => document.documentElement.dataset.busy === undefined);
    // The browser's console has it, too.
    await expect.poll(() => complaints.join("\n")).toContain("TypeError");
    await page.context().close();
    server.closeAllConnections();
    server.close();
  });
});
