// Long work in steps: between two of them the page may draw, scroll, or change its mind.

/** Yields how much of it is done, from 0 to 1, wherever it may rest. */
export type Steps<T> = Generator<number, T>;

/** All of it at once. */
export function finish<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

/** As a part of longer work, which is done from `from` to `to` meanwhile. */
export function* part<T>(steps: Steps<T>, from: number, to: number): Steps<T> {
  let step = steps.next();
  for (; !step.done; step = steps.next()) yield from + (to - from) * step.value;
  return step.value;
}

/** A loop over `count` places, so many at a time. */
export function* inChunks(count: number, size: number, run: (from: number, to: number) => void): Steps<void> {
  for (let from = 0; from < count; from += size) {
    run(from, Math.min(count, from + size));
    yield Math.min(1, (from + size) / count);
  }
}
