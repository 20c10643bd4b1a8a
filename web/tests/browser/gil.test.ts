// Time in taking the GIL: a column where it is worth one, and who takes it, in the details and the sandwich.

import { afterAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { closeBrowser, executable, openFile, settled, writePage } from "./open";

const MAIN = "p:main@/srv/a.py:3", WORK = "p:work@/srv/a.py:9", LOAD = "p:load@/srv/b.py:1", TAKE = "n:take_gil@python3.12";

function page(stacks: [stack: string[], count: number][]): string {
  const samples = stacks.flatMap(([stack, count]) => Array.from({ length: count }, (): SampleText => ({ stack })));
  return pageOf(dataOf(samples.map((sample, at) => ({ ...sample, time: at * 1e6 })), { weight_ns: 1e7 }));
}

describe.skipIf(!executable)("time in taking the GIL", () => {
  afterAll(closeBrowser);

  test("is in the table, the sandwich and the details", async () => {
    const file = writePage("gil", page([[[MAIN, WORK], 70], [[MAIN, WORK, TAKE], 10], [[MAIN, WORK, TAKE, "k:futex_wait"], 15], [[MAIN, LOAD, TAKE], 5]]));
    const { page: shown, close } = await openFile(file, { address: "tab=table" });
    await settled(shown);
    const column = () => shown.locator("#table-scroll .rows-space > div").evaluateAll((rows) =>
      rows.map((row) => [row.querySelector(".row-name")?.textContent, row.querySelectorAll(".split")[3]?.textContent]));
    await shown.click("[data-sort=gil]");
    expect((await column()).slice(0, 2)).toEqual([["work", "25.0 %"], ["load", "5.00 %"]]);
    await shown.locator("#table-scroll .rows-space > div").filter({ hasText: "work" }).click();
    await settled(shown);
    expect(await shown.locator("#sandwich-title").innerText()).toContain("taking the GIL 25.0 % 250 ms, 25 samples");
    await shown.click("#details-button");
    expect(await shown.locator("#details").innerText()).toContain("30.0 % of the time was spent on taking the GIL");
    expect(await shown.locator("#gil tr").allInnerTexts()).toEqual([expect.stringMatching(/^work \(\/srv\/a\.py:1\)\s+250 ms\s+25\.0 %$/), expect.stringMatching(/^load .*\s+50\.0 ms\s+5\.00 %$/)]);
    await close();
  });

  test("has no column where it is less than half a percent", async () => {
    const { page: shown, close } = await openFile(writePage("no-gil", page([[[MAIN, WORK], 996], [[MAIN, WORK, TAKE], 4]])), { address: "tab=table" });
    await settled(shown);
    expect(await shown.locator(".column-gil").isHidden()).toBe(true);
    expect(await shown.locator("#table-scroll .rows-space > div:first-child .split").count()).toBe(3);
    await shown.click("#details-button");
    expect(await shown.locator("#details").innerText()).toContain("0.40 % of the time was spent on taking the GIL");
    await close();
  });
});
