// Every control of the page is used, and what it does is read from the page.

import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataOf, pageOf, type SampleText } from "../made_up";
import { boxCentre, closeBrowser, downloadText, executable, fact, openFile, settled, writePage } from "./open";

/** Two processes, three threads, four seconds; `work` is 600 of 1,000 samples. */
function samples(): SampleText[] {
  return Array.from({ length: 1000 }, (_, at): SampleText => {
    const who = at % 4 === 3 ? { process: "worker", pid: 20, tid: 20 } : { process: "web", pid: 10, tid: at % 4 === 1 ? 11 : 10 };
    const base = ["n:_start@python3", "i:_PyEval@python3", "p:<module>@/srv/app.py:3"];
    const leaf = at % 10 < 6 ? ["p:work@/srv/app.py:10", ...(at % 10 < 3 ? ["n:deflate@libz.so"] : at % 10 === 3 ? ["p:work@/srv/app.py:11"] : [])].map((frame) => at % 20 === 4 ? frame.replace(":10", ":12") : frame)
      : at % 10 < 9 ? ["p:load@/v/lib/python3.12/site-packages/django/db.py:7", "n:read@libc.so", "k:vfs_read"] : ["e:stack page not present"];
    return { ...who, time: at * 4e6, cpu: at % 2, complete: at % 10 !== 9, stack: [...base, ...leaf] };
  });
}

describe.skipIf(!executable)("the controls", () => {
  let file = "";
  let page: Page;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const cost = { bpf_time_ns: 12.5e6, cpu_time_ns: 250e6, peak_memory_bytes: 48e6, bpf_map_bytes: 64e6, first_sample_ns: 310e6, lowest_rate_hz: 12 };
    file = writePage("controls", pageOf(dataOf(samples(), { incomplete: { "stack page not present": 100 } }, cost)));
    ({ page, close } = await openFile(file));
  });
  afterAll(async () => {
    await close();
    await closeBrowser();
  });

  const hash = () => page.evaluate(() => decodeURIComponent(location.hash.slice(1)));
  const text = (id: string) => settled(page).then(() => page.locator(`#${id}`).innerText());
  const whole = () => fact(page, "whole");
  const reset = async () => {
    await page.keyboard.press("Escape");
    await page.click("#reset");
    await page.click("#graph-tab");
  };
  const openView = async () => { if (!await page.locator("#view-menu[open]").count()) await page.click("#view-menu summary"); };

  test("no canvas is on the screen before something is drawn on it", async () => {
    const areas = () => page.locator(".graph-scroll canvas").evaluateAll((all) => all.map((canvas) => [canvas.closest("section")?.id, (canvas as HTMLCanvasElement).width > 0]));
    expect(await areas()).toEqual([["graph-panel", true], ["sandwich-panel", false], ["sandwich-panel", false], ["difference-panel", false]]);
    // A window of another size: in the next picture, the canvas has that size and is not black.
    await page.setViewportSize({ width: 1200, height: 700 });
    const corner = () => page.evaluate(() => {
      const canvas = document.querySelector<HTMLCanvasElement>("#graph-scroll canvas");
      if (!canvas) return [];
      // A copy is read: Chromium says on the console that one that is read again and again should be made for it.
      const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
      copy.drawImage(canvas, canvas.width - 2, canvas.height - 2, 1, 1, 0, 0, 1, 1);
      const { data } = copy.getImageData(0, 0, 1, 1);
      return [canvas?.clientWidth === document.querySelector("#graph-scroll")?.clientWidth, [...data].join()];
    });
    await expect.poll(corner).toEqual([true, "251,251,252,255"]);
    await page.setViewportSize({ width: 1440, height: 900 });
  });

  test("tabs show one panel each", async () => {
    for (const tab of ["sandwich", "table", "tree", "source", "timeline", "difference", "graph"]) {
      await page.click(`#${tab}-tab`);
      expect(await page.locator("main > section:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([`${tab}-panel`]);
      expect(await page.getAttribute(`#${tab}-tab`, "aria-selected")).toBe("true");
    }
  });

  test("a search says its share, next and previous go through the matches, an expression can be wrong", async () => {
    await reset();
    await page.fill("#search", "deflate");
    expect(await fact(page, "searchShare")).toBe("0.300000");
    expect(await text("search-result")).toMatch(/^30.0 % in 3 matches$/);
    await settled(page);
    await page.click("#search-next");
    expect(await text("search-result")).toMatch(/in 1 of 3/);
    await page.click("#search-previous");
    expect(await text("search-result")).toMatch(/in 3 of 3/);
    await page.fill("#search", "vfs_|deflate");
    expect(await fact(page, "searchShare")).toBe("0.000000");
    await page.click("#search-regex");
    expect(await fact(page, "searchShare")).toBe("0.600000");
    await page.fill("#search", "(");
    expect(await page.getAttribute("#search", "class")).toBe("wrong");
    await page.click("#search-regex");
    await page.fill("#search", "");
    expect(await text("search-result")).toBe("");
  });

  test("a click zooms, back and forward follow, the path leads out", async () => {
    await reset();
    const { x, y } = await boxCentre(page, "worker (20)");
    await page.mouse.click(x, y);
    expect(await text("path")).toContain("25.0 %");
    await page.goBack();
    await expect.poll(() => text("path")).not.toContain("25.0 %");
    await page.goForward();
    await expect.poll(() => text("path")).toContain("25.0 %");
    const link = page.url();
    const other = await openFile(file, { address: link.split("#")[1] });
    expect(await other.page.locator("#path").innerText()).toContain("25.0 %");
    await other.close();
    await page.click("#path button >> nth=0");
    expect(await text("path")).not.toContain("25.0 %");
  });

  test("the tooltip tells name, place, kind, amounts and lines", async () => {
    await reset();
    const { x, y } = await boxCentre(page, "work");
    await page.mouse.move(x, y);
    const shown = await text("tooltip");
    for (const part of ["work", "/srv/app.py", "Python", "Total", "Self", "Of its parent", "line 10"]) expect(shown).toContain(part);
  });

  test("the menu of a box does what it says", async () => {
    const choose = async (box: string, item: RegExp) => {
      await reset();
      const { x, y } = await boxCentre(page, box);
      await page.mouse.click(x, y, { button: "right" });
      await page.locator("#context-menu button").filter({ hasText: item }).click();
    };
    await choose("work", /^Focus/);
    expect(await whole()).toBe("600");
    expect(await text("chips")).toContain("focus");
    await choose("work", /^Only samples with it/);
    expect(await whole()).toBe("600");
    expect(await text("chips")).toMatch(/work\s*60.0 %/);
    await choose("work", /^Without samples with it/);
    expect(await whole()).toBe("400");
    await choose("work", /^Hide/);
    await page.fill("#search", "work (");
    expect(await fact(page, "searchShare")).toBe("0.000000");
    await choose("work", /^Collapse its recursion/);
    expect(await text("chips")).toContain("recursion collapsed");
    await choose("load", /^Collapse django/);
    await page.fill("#search", "django");
    expect(await fact(page, "searchShare")).toBe("0.300000");
    await choose("load", /^Collapse django/);
    const group = await boxCentre(page, "django");
    await page.mouse.click(group.x, group.y, { button: "right" });
    await page.locator("#context-menu button").filter({ hasText: /Show its functions/ }).click();
    expect(await text("chips")).toBe("");
    await choose("work", /^Search for it/);
    expect(await fact(page, "searchShare")).toBe("0.600000");
    await choose("work", /^Copy stack/);
    expect(await fact(page, "copied")).toBe("web (10)\nmain thread (10)\n_start (python3)\n<module> (/srv/app.py:1)\nwork (/srv/app.py:1)");
    await choose("work", /^Copy name/);
    expect(await fact(page, "copied")).toBe("work (/srv/app.py:1)");
    await choose("worker (20)", /^Only this process/);
    expect(await whole()).toBe("250");
    await choose("worker (20)", /^Zoom/);
    expect(await text("path")).toContain("25.0 %");
    await choose("work", /^Callers and callees/);
    expect(await text("sandwich-title")).toContain("work");
    expect(await text("sandwich-title")).toContain("60.0 %");
  });

  test("the sandwich shows callers and callees, and a click moves on", async () => {
    await page.click("#sandwich-tab");
    await page.locator("#sandwich-list .list-row").filter({ hasText: "deflate" }).click();
    expect(await text("sandwich-title")).toMatch(/total 30.0 %/);
    const caller = await boxCentre(page, "work", "callers");
    await page.mouse.click(caller.x, caller.y);
    expect(await text("sandwich-title")).toMatch(/work[^]*total 60.0 %/);
    const callee = await boxCentre(page, "deflate", "callees");
    await page.mouse.click(callee.x, callee.y);
    expect(await text("sandwich-title")).toMatch(/deflate/);
  });

  test("the table sorts by every column, by functions, modules and libraries, and leads on", async () => {
    await reset();
    await page.click("#table-tab");
    for (const sort of ["self", "total", "python", "native", "kernel", "name", "place"]) {
      await page.click(`[data-sort=${sort}]`);
      const once = await page.locator(`.column-${sort}`).getAttribute("aria-sort");
      await page.click(`[data-sort=${sort}]`);
      expect([once, await page.locator(`.column-${sort}`).getAttribute("aria-sort")].sort()).toEqual(["ascending", "descending"]);
    }
    await page.click("[data-sort=total]");
    if (await page.locator(".column-total").getAttribute("aria-sort") !== "descending") await page.click("[data-sort=total]");
    const cells = await page.locator("#table-scroll [data-at='0'] [role=cell]").allInnerTexts();
    expect(cells[1]).toContain("100 %");
    await page.check("input[name=group][value=module]");
    expect(await text("table-scroll")).toContain("/srv/app.py");
    await page.check("input[name=group][value=library]");
    const django = page.locator("#table-scroll .rows-space > div").filter({ hasText: "django" });
    const parts = await django.locator("[role=cell]").allInnerTexts();
    expect([parts[1].split("%")[0].trim(), parts[4].trim()]).toEqual(["30.0", "30.0 %"]);
    await django.click();
    expect(await whole()).toBe("300");
    await page.check("input[name=group][value=function]");
    await page.locator("#table-scroll .rows-space > div").filter({ hasText: "load" }).click();
    expect(await hash()).toContain("tab=sandwich");
  });

  test("the call tree opens and closes", async () => {
    await reset();
    await page.click("#tree-tab");
    await page.click("#tree-close");
    expect(await page.locator("#tree-scroll [role=treeitem]").count()).toBe(3);
    await page.locator("#tree-scroll [role=treeitem]").filter({ hasText: "worker (20)" }).click();
    expect(await page.locator("#tree-scroll [role=treeitem]").count()).toBe(4);
    await page.keyboard.press("ArrowLeft");
    expect(await page.locator("#tree-scroll [role=treeitem]").count()).toBe(3);
    await page.click("#tree-hot");
    expect(await text("tree-scroll")).toContain("work");
    await page.locator("#tree-scroll [role=treeitem]").filter({ hasText: "web (10)" }).first().click({ button: "right" });
    expect(await text("context-menu")).toContain("Only this process");
    await page.keyboard.press("Escape");
  });

  test("the view menu changes boxes, levels, order, colours", async () => {
    await reset();
    const nodes = async () => Number(await fact(page, "nodes"));
    const before = await nodes();
    for (const [name, change] of [["processes", "less"], ["threads", "less"], ["native", "less"], ["kernel", "less"], ["interpreter", "more"],
      ["lines", "more"], ["mergeProcesses", "same"]] as const) {
      await openView();
      await page.locator(`[data-view=${name}]`).click();
      const after = await nodes();
      expect([name, after < before ? "less" : after > before ? "more" : "same"]).toEqual([name, change]);
      await page.locator(`[data-view=${name}]`).click();
      expect(await nodes()).toBe(before);
    }
    await openView();
    await page.check("input[name=order][value=time]");
    expect(await nodes()).toBeGreaterThan(before * 5);
    await page.check("input[name=order][value=size]");
    for (const color of ["library", "module", "self", "kind"]) {
      await openView();
      await page.check(`input[name=color][value=${color}]`);
      expect(await text("legend")).toContain({ library: "libz.so", module: "/srv/app.py", self: "self time", kind: "Python" }[color]);
    }
    await openView();
    await page.check("input[name=root][value=bottom]");
    expect(await page.evaluate(() => (globalThis as unknown as { viperf: { graph: { flame: boolean } } }).viperf.graph.flame)).toBe(true);
    await page.check("input[name=root][value=top]");
    await page.selectOption("#minimum", "0.01");
    expect(await hash()).toContain("minimum=0.01");
    await reset();
  });

  test("filters of every sort, and their chips", async () => {
    const add = async (sort: string, value: RegExp, without = false) => {
      await page.click("#filter-menu summary");
      await page.selectOption("#filter-sort", sort);
      await page.setChecked("#filter-without", without);
      await page.locator(".filter-value").filter({ hasText: value }).first().click();
    };
    const cases: [string, RegExp, number][] = [["process", /^web/, 750], ["pid", /^worker \(20\)/, 250], ["thread", /\(11\)/, 250], ["cpu", /^CPU 1/, 500],
      ["running", /^kernel/, 300], ["library", /^django/, 300], ["module", /app.py/, 1000], ["function", /^load/, 300], ["walk", /^incomplete/, 100]];
    for (const [sort, value, expected] of cases) {
      await reset();
      await add(sort, value);
      expect([sort, await whole()]).toEqual([sort, String(expected)]);
      expect(await text("chips")).toContain(expected === 1000 ? "100 %" : `${(expected / 10).toFixed(1)} %`);
      await page.click(".chip-close");
      expect(await whole()).toBe("1000");
    }
    await add("process", /^web/, true);
    expect(await whole()).toBe("250");
    await add("cpu", /^CPU 0/);
    expect(await whole()).toBe("0");
    expect(await page.locator("#nothing").isVisible()).toBe(true);
    await page.locator("#chips button").filter({ hasText: "Remove all" }).click();
    expect(await whole()).toBe("1000");
    await page.click("#filter-menu summary");
    await page.selectOption("#filter-sort", "function");
    await page.fill("#filter-text", "DEFL");
    expect(await page.locator(".filter-value").count()).toBe(1);
    await page.keyboard.press("Escape");
    await page.click("#reset");
  });

  test("a window on the overview is what every view shows", async () => {
    await reset();
    const area = await page.locator("#overview").boundingBox();
    if (!area) throw new Error("no overview");
    await page.mouse.move(area.x + area.width / 4, area.y + 10);
    await page.mouse.down();
    await page.mouse.move(area.x + area.width / 2, area.y + 12, { steps: 4 });
    await page.mouse.up();
    expect(Math.abs(Number(await whole()) - 250)).toBeLessThan(4);
    expect(await text("chips")).toContain("time");
    await page.click("#table-tab");
    await page.click("#tree-tab");
    expect(await page.locator("#tree-scroll [data-at='0']").innerText()).toContain("100 %");
    await page.dblclick("#overview");
    expect(await whole()).toBe("1000");
    await page.focus("#overview");
    await page.keyboard.press("ArrowRight");
    expect(Math.abs(Number(await whole()) - 200)).toBeLessThan(4);
    const first = await hash();
    await page.keyboard.press("ArrowRight");
    expect(await hash()).not.toBe(first);
    await page.keyboard.press("Shift+ArrowRight");
    expect(Number(await whole())).toBeGreaterThan(210);
    await page.keyboard.press("Escape");
    expect(await whole()).toBe("1000");
  });

  test("lanes filter, and lanes and the second map choose time", async () => {
    await reset();
    await page.click("#timeline-tab");
    expect(await page.locator("#lanes .lane").count()).toBe(5);
    await page.locator(".lane-label").filter({ hasText: "worker" }).first().click();
    expect(await whole()).toBe("250");
    await page.locator(".lane-label").filter({ hasText: "worker" }).first().click();
    expect(await whole()).toBe("1000");
    const lane = await page.locator(".lane-canvas").first().boundingBox();
    if (!lane) throw new Error("no lane");
    await page.mouse.move(lane.x + lane.width / 2, lane.y + 5);
    await page.mouse.down();
    await page.mouse.move(lane.x + lane.width - 1, lane.y + 5, { steps: 4 });
    await page.mouse.up();
    expect(Math.abs(Number(await whole()) - 500)).toBeLessThan(6);
    await page.dblclick("#overview");
    const map = await page.locator("#heat-map").boundingBox();
    if (!map) throw new Error("no map");
    await page.mouse.move(map.x + 4, map.y + 1);
    expect(await text("heat-readout")).toContain("samples");
    await page.mouse.down();
    await page.mouse.move(map.x + 4, map.y + map.height / 2 - 1, { steps: 3 });
    await page.mouse.up();
    expect(await whole()).toBe("125");
    await page.dblclick("#overview");
  });

  test("exports are what is seen", async () => {
    await reset();
    const save = (format: string) => downloadText(page, async () => {
      await page.click("#export-menu summary");
      await page.click(`[data-export=${format}]`);
    });
    const svg = await save("svg");
    expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/);
    expect(svg).toContain("<title>work (/srv/app.py:1): ");
    expect(svg.match(/<g>/g)?.length).toBe(Number(await fact(page, "nodes")));
    expect((await save("png")).slice(1, 4)).toBe("PNG");
    const folded = await save("folded");
    expect(folded.trim().split("\n").reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)).toBe(1000);
    const scope = JSON.parse(await save("speedscope")) as { shared: { frames: { name: string }[] }; profiles: { weights: number[]; samples: number[][] }[] };
    expect(scope.profiles[0].weights.reduce((sum, weight) => sum + weight, 0)).toBe(1000e6);
    expect(scope.shared.frames.some(({ name }) => name === "work")).toBe(true);
    const offered = async () => {
      await page.click("#export-menu summary");
      const seen = await page.locator("[data-export]:visible").evaluateAll((all) => all.map((each) => (each as HTMLElement).dataset.export).join(" "));
      await page.keyboard.press("Escape");
      return seen;
    };
    expect(await offered()).toBe("svg png folded pprof speedscope");
    await page.click("#table-tab");
    expect(await save("csv")).toMatch(/^"name","where"/);
    expect(await offered()).toBe("csv folded pprof speedscope");
    await page.click("#source-tab");
    expect(await offered()).toBe("lines folded pprof speedscope");
    expect(await save("lines")).toContain('"/srv/app.py","10","550","450","150","300","0",""');
    await page.click("#sandwich-tab");
    await page.locator("#sandwich-list .list-row").filter({ hasText: "work" }).first().click();
    const sandwich = await save("svg");
    expect(sandwich).toContain(">Callers of work – ");
    expect(sandwich).toContain(">Callees of work – ");
    expect((await save("png")).slice(1, 4)).toBe("PNG");
    await page.click("#difference-tab");
    const difference = await save("svg");
    expect(difference).toMatch(/ → 2.00 s|samples, /);
    expect(difference).toContain("no change: chance explains it</title>");
    expect((await save("png")).slice(1, 4)).toBe("PNG");
    await page.click("#graph-tab");
  });

  test("dialogs open and close; the quality is told", async () => {
    await page.click("#details-button");
    const details = await text("details");
    for (const part of ["90.0 % of samples are complete", "stack page not present", "999 Hz asked for", "Lost", "250.3 samples per second over all targets",
      "12.5 µs per sample", "250 ms", "48.0 MB at most, 64.0 MB in the kernel", "12 Hz, lowered to keep the CPU budget", "310 ms after viperf was called"]) expect(details).toContain(part);
    await page.click("#details button");
    await page.click("#help-button");
    expect(await text("help")).toContain("previous match");
    await page.click("#help button");
    expect(await page.locator("dialog[open]").count()).toBe(0);
    await page.click("#theme-button");
    expect(await page.getAttribute("html", "data-theme")).toBe("dark");
    await page.click("#theme-button");
  });

  test("every key of the list does something", async () => {
    await reset();
    const changed = async (key: string, read: () => Promise<unknown>) => {
      const before = await read();
      await page.keyboard.press(key);
      await expect.poll(read, { message: key }).not.toEqual(before);
    };
    for (const key of ["2", "3", "4", "5", "1", "i", "i", "o", "o", "o", "c", "c", "c", "c", "p", "p"]) await changed(key, hash);
    await changed("d", async () => page.getAttribute("html", "data-theme"));
    await changed("d", async () => page.getAttribute("html", "data-theme"));
    const outline = () => page.locator(".outline.selected").first().getAttribute("style");
    await page.focus("#graph-scroll");
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"]) await page.keyboard.press(key);
    expect(await text("announcer")).toContain("(10): ");
    await changed("ArrowDown", outline);
    await changed("Enter", hash);
    await changed("[", hash);
    await changed("]", hash);
    await page.keyboard.press("m");
    expect(await page.locator("#context-menu").isVisible()).toBe(true);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Escape");
    expect(await page.locator("#context-menu").isVisible()).toBe(false);
    await page.keyboard.press("/");
    await page.keyboard.type("deflate");
    await settled(page);
    await page.keyboard.press("Enter");
    expect(await text("search-result")).toContain("1 of");
    await page.keyboard.press("Escape");
    expect(await text("search-result")).toBe("");
    await page.fill("#search", "deflate");
    await settled(page);
    await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    await page.keyboard.press("n");
    expect(await text("search-result")).toContain("1 of");
    await page.keyboard.press("N");
    expect(await text("search-result")).toContain("3 of");
    await page.keyboard.press("Escape");
    expect(await hash()).not.toContain("search");
    for (const [key, selector] of [["f", "#filter-menu[open]"], ["e", "#export-menu[open]"], ["v", "#view-menu[open]"], ["w", "#overview:focus"]]) {
      await page.keyboard.press(key);
      expect([key, await page.locator(selector).count()]).toEqual([key, 1]);
      await page.keyboard.press("Escape");
      await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    }
    for (const [key, dialog] of [["?", "help"], ["q", "details"]]) {
      await page.keyboard.press(key);
      expect(await page.locator(`#${dialog}[open]`).count()).toBe(1);
      await page.keyboard.press("Escape");
    }
    await changed("2", hash);
    await changed("r", async () => await page.keyboard.press("3").then(hash));
    await reset();
  });

  test("inverted, what ran stands first and its callers below it", async () => {
    await reset();
    await openView();
    await page.check("input[name=order][value=inverted]");
    const tops = await page.evaluate(() => {
      const { graph: { tree }, names } = (globalThis as unknown as { viperf: {
        graph: { tree: { firstChild: Int32Array; entry: Int32Array; total: Float64Array } }; names: { name(entry: number): string };
      } }).viperf;
      return Array.from({ length: tree.firstChild[1] - tree.firstChild[0] }, (_, at) => [names.name(tree.entry[at + 1]), tree.total[at + 1]]);
    });
    // `work` ran in 300 of 1,000 samples itself and called deflate in as many.
    expect(Object.fromEntries(tops)).toEqual({ work: 300, deflate: 300, vfs_read: 300, "[stack page not present]": 100 });
    expect(await whole()).toBe("1000");
    const { x, y } = await boxCentre(page, "deflate");
    await page.keyboard.press("Escape");
    await page.mouse.click(x, y);
    expect(await page.locator("#path [aria-current]").innerText()).toBe("deflate");
    await reset();
  });

  test("the least share of a box is a chip with what is still shown", async () => {
    await reset();
    await openView();
    await page.selectOption("#minimum", "0.01");
    expect(await text("chips")).toMatch(/boxes\s+from 1 %\s+100 %/);
    await page.keyboard.press("Escape");
    await page.click("[aria-label='Remove boxes from 1 %']");
    expect(await hash()).not.toContain("minimum");
    await reset();
  });

  test("every control is named, for those who hear the page", async () => {
    const nameless = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>("button, input, select, [tabindex], summary")]
      .filter((control) => !control.closest("dialog, #context-menu"))
      .filter((control) => !(control.innerText || control.textContent || control.getAttribute("aria-label") || control.title || control.closest("label")?.textContent))
      .map((control) => control.outerHTML.slice(0, 100)));
    expect(nameless).toEqual([]);
  });
});
