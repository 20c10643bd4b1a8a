// Work in slices, where a step of it goes wrong.

import { beforeAll, expect, test, vi } from "vitest";
import type { Steps } from "../../src/model/steps";

const dataset: Record<string, string> = {};

beforeAll(() => { vi.stubGlobal("document", { documentElement: { dataset } }); });

/** A first step as long as a slice, then one that fails. */
function* failing(): Steps<number> {
  const began = performance.now();
  while (performance.now() - began < 50);
  yield 0.5;
  throw new Error("no such row");
}

test("a later slice that fails is told to whom waits, and the page is not busy for ever", async () => {
  const { Job } = await import("../../src/view/job");
  const job = new Job();
  const answer = job.run(failing());
  expect([job.isRunning, dataset.busy]).toEqual([true, "1"]);
  await expect(answer).rejects.toThrow("no such row");
  expect([job.isRunning, dataset.busy]).toEqual([false, undefined]);
});
