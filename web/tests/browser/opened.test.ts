// A page as it opens, before anybody has touched it.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

const samples = () => Array.from({ length: 100 }, (_, at): SampleText => ({ time: at * 1e6, stack: ["p:main@/srv/app.py:3", `p:part_${at % 3}@/srv/app.py:9`] }));

describe.skipIf(!executable)("a page that was opened", () => {
  let file = "";
  beforeAll(() => { file = writePage("opened", pageOf(dataOf(samples()))); });
  afterAll(closeBrowser);

  test("the head calls a recording complete only where nothing is missing", async () => {
    for (const [complete, said] of [[8971, "100 % complete"], [8970, "> 99.9 % complete"], [0, "0 % complete"]] as const) {
      const other = await openFile(writePage("complete", pageOf(dataOf(samples(), { samples: 8971, complete }))));
      expect(await other.page.locator("#facts span").allInnerTexts()).toContain(said);
      await other.close();
    }
  });

  test("a reset of what is as it was computes nothing", async () => {
    const fresh = await openFile(file);
    await settled(fresh.page);
    await fresh.page.evaluate(() => {
      const { viperf } = globalThis as unknown as { viperf: { tree: object; reset(): void } };
      Object.assign(globalThis, { treeBefore: viperf.tree });
      viperf.reset();
    });
    await settled(fresh.page);
    expect(await fresh.page.evaluate(() => {
      const { viperf, treeBefore } = globalThis as unknown as { viperf: { tree: object }; treeBefore: object };
      return viperf.tree === treeBefore;
    })).toBe(true);
    await fresh.close();
  });
});
