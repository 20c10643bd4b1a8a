// Long work, a slice at a time, so that the page draws, scrolls and answers meanwhile.

import type { Steps } from "../model/steps";
import { afterPicture, soon } from "../soon";

/** How long the page may work before it looks whether somebody wants something. */
const SLICE_MS = 30;

/** Jobs that go on; the root element says so for as long as there are any. */
const running = new Set<Job>();

function tell(): void {
  const { dataset } = document.documentElement;
  if (running.size > 0) dataset.busy = "1"; else delete dataset.busy;
}

/** Gives up what is worked on: of a profile that is shown no more, nobody asks. */
export function cancelJobs(): void {
  for (const job of running) job.cancel();
}

/** When the work of the current turn of the page began; 0 before any. What several jobs begin with at once shares one slice. */
let begun = 0;

function endOfSlice(): number {
  if (begun === 0) {
    begun = performance.now();
    soon(() => { begun = 0; });
  }
  return begun + SLICE_MS;
}

/** What the next picture does not need is begun when that is on the screen; the page is busy until then. */
export function postpone(run: () => void): void {
  const job = new Job();
  running.add(job);
  tell();
  afterPicture(() => {
    job.cancel();
    run();
  });
}

/** One thing to work on at a time: what comes later takes the place of what was begun. */
export class Job {
  private turn = 0;

  get isRunning(): boolean {
    return running.has(this);
  }

  /** What is done within the first slice is done when this returns; `wait` is told after each slice how much of the rest is. */
  start<T>(
    steps: Steps<T>, done: (result: T) => void, wait: (part: number) => void = () => undefined, failed: (error: unknown) => void = (error) => { throw error; },
  ): void {
    this.cancel();
    const turn = this.turn;
    const run = () => {
      if (turn !== this.turn) return;
      const until = endOfSlice();
      let step;
      try {
        step = steps.next();
        while (!step.done && performance.now() < until) step = steps.next();
      } catch (error) {
        // Nothing goes on any more, which the page must not be waiting for.
        this.cancel();
        return failed(error);
      }
      if (step.done) {
        this.cancel();
        done(step.value);
      } else {
        running.add(this);
        tell();
        wait(step.value);
        soon(run);
      }
    };
    run();
  }

  /** As a promise, which for what is given up is never kept. */
  run<T>(steps: Steps<T>): Promise<T> {
    return new Promise((resolve, reject) => { this.start(steps, resolve, undefined, reject); });
  }

  cancel(): void {
    this.turn++;
    if (running.delete(this)) tell();
  }
}

/** A question to the profile: asked again, it is not worked on again, whether the answer is there or on its way. */
export class Question<T> {
  private readonly job = new Job();
  private key: readonly unknown[] | null = null;
  private answer: { value: T } | null = null;
  private done: (answer: T) => void = () => undefined;

  /** `key` is what the answer depends on; `done` is called when it is there, at once if it is there already. */
  ask(key: readonly unknown[], steps: () => Steps<T>, done: (answer: T) => void): void {
    this.done = done;
    if (this.key && key.length === this.key.length && key.every((each, at) => each === this.key?.[at])) {
      if (this.answer) done(this.answer.value);
      if (this.answer || this.job.isRunning) return;
    }
    this.key = key;
    this.answer = null;
    this.job.start(steps(), (value) => {
      this.answer = { value };
      this.done(value);
    });
  }

  /** What was answered last, if that still is the answer. */
  get last(): T | null {
    return this.answer?.value ?? null;
  }

  forget(): void {
    this.job.cancel();
    this.key = null;
    this.answer = null;
  }
}
