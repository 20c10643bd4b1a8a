// Containers, pods and units as filters: what the menu lists, what a chip says and lets through, against the samples themselves.

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { closeBrowser, downloadText, executable, fact, openFile, settled, writePage } from "./open";

/** Of 1,000 samples: two processes in one container, one pod of two containers, and one process in neither, but of a unit. */
const PLACES: { samples: number; process: string; pid: number; leaf: string; placement?: Record<string, string> }[] = [
  { samples: 250, process: "gunicorn", pid: 10, leaf: "render", placement: { container_name: "web", pod: "shop-7d9f" } },
  { samples: 150, process: "celery", pid: 11, leaf: "resize", placement: { container_name: "web", pod: "shop-x2kq" } },
  { samples: 200, process: "redis-py", pid: 12, leaf: "render", placement: { container_name: "cache <b>", pod: "shop-7d9f" } },
  { samples: 400, process: "cron", pid: 13, leaf: "tidy", placement: { unit: "cron.service" } },
];

function samples(): SampleText[] {
  const left = PLACES.map(({ samples }) => samples);
  return Array.from({ length: 1000 }, (_, at) => {
    // In turn, as long as there are any.
    let place = at % PLACES.length;
    while (left[place] === 0) place = (place + 1) % PLACES.length;
    left[place]--;
    const { process, pid, leaf, placement } = PLACES[place];
    return { process, pid, placement, time: at * 1e6, stack: ["p:main@/srv/app.py:3", `p:${leaf}@/srv/app.py:${10 + leaf.length}`] };
  });
}

type Wanted = (place: typeof PLACES[number]) => boolean;

/** What `viperf report` counts with the same filter: samples, and by function those that ran in it. */
function counted(isWanted: Wanted): { whole: number; own: Record<string, number> } {
  const own: Record<string, number> = {};
  const passed = PLACES.filter(isWanted);
  for (const { leaf, samples: count } of passed) own[leaf] = (own[leaf] ?? 0) + count;
  return { whole: passed.reduce((sum, { samples: count }) => sum + count, 0), own };
}

const shareOf = (count: number) => `${(count / 10).toFixed(1)} %`;

describe.skipIf(!executable)("filters of where a process runs", () => {
  let page: Page;
  let close: () => Promise<void>;
  beforeAll(async () => {
    ({ page, close } = await openFile(writePage("placement", pageOf(dataOf(samples())))));
  });
  afterAll(async () => {
    await close();
    await closeBrowser();
  });

  const choose = async (field: string) => {
    await page.click("#filter-menu summary");
    await page.selectOption("#filter-sort", `field=${field}`);
    await settled(page);
  };
  const listed = () => page.locator(".filter-value").evaluateAll((all) => all.map((value) => [...value.children].map((part) => part.textContent)));
  const own = async () => {
    await page.click("#table-tab");
    const csv = await downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click("[data-export=csv]");
    });
    await page.click("#graph-tab");
    const rows = [...csv.matchAll(/^"([^"]*)","[^"]*","(\d+)"/gm)].map(([, name, self]) => [name, Number(self)] as const);
    return Object.fromEntries(rows.filter(([, self]) => self > 0));
  };

  test.each([
    ["container_name", "container name", ["web", "cache <b>"]], ["pod", "pod", ["shop-7d9f", "shop-x2kq"]],
    ["unit", "unit", ["cron.service"]],
  ])("by %s: what is listed, what a chip says, and what it lets through", async (field, title, values) => {
    await choose(field);
    expect(await listed()).toEqual(values.map((value) => [value, shareOf(counted(({ placement }) => placement?.[field] === value).whole)]));
    await page.click("#filter-menu summary");
    for (const value of values) {
      for (const without of [false, true]) {
        const { whole, own: ran } = counted(({ placement }) => (placement?.[field] === value) !== without);
        await choose(field);
        await page.setChecked("#filter-without", without);
        await page.locator(".filter-value").filter({ hasText: value }).click();
        expect([value, without, await fact(page, "whole")]).toEqual([value, without, String(whole)]);
        const chip = page.locator("#chips .chip");
        expect(await chip.locator("span").allInnerTexts()).toEqual([without ? `without ${title}` : title, value, shareOf(whole)]);
        expect(await own()).toEqual(ran);
        await chip.locator(".chip-close").click();
        expect(await fact(page, "whole")).toBe("1000");
      }
    }
    await choose(field);
    await page.setChecked("#filter-without", false);
    await page.click("#filter-menu summary");
  });

  test("a container and a pod together let through what is in both, and each chip says its own share", async () => {
    for (const [field, value] of [["container_name", "web"], ["pod", "shop-7d9f"]]) {
      await choose(field);
      await page.locator(".filter-value").filter({ hasText: value }).click();
    }
    const both = counted(({ placement }) => placement?.container_name === "web" && placement.pod === "shop-7d9f");
    expect(await fact(page, "whole")).toBe(String(both.whole));
    expect(await own()).toEqual(both.own);
    const container = counted(({ placement }) => placement?.container_name === "web"), pod = counted(({ placement }) => placement?.pod === "shop-7d9f");
    expect(await page.locator("#chips .chip-share").allInnerTexts()).toEqual([shareOf(container.whole), shareOf(pod.whole)]);
    // What is in the address shows the same.
    const again = await openFile(writePage("placement-again", pageOf(dataOf(samples()))), { address: await page.evaluate(() => location.hash.slice(1)) });
    expect(await fact(again.page, "whole")).toBe(String(both.whole));
    await again.close();
  });
});
