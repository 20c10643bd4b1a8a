// How far a figure that was sampled can be from the truth: crates/profile/src/interval.rs, formula by formula.
// web/tests/unit/compare.test.ts proves that both give the same.

export interface Interval {
  low: number;
  high: number;
}

/** A figure and its interval. */
export interface Estimate {
  value: number;
  interval: Interval;
}

export function excludesZero({ low, high }: Interval): boolean {
  return low > 0 || high < 0;
}

function scaleInterval({ low, high }: Interval, factor: number): Interval {
  return { low: low * factor, high: high * factor };
}

export function scaleEstimate({ value, interval }: Estimate, factor: number): Estimate {
  return { value: value * factor, interval: scaleInterval(interval, factor) };
}

/** Wilson's interval of the share `count / of`, `z` standard errors wide to each side. */
export function shareInterval(count: number, of: number, z: number): Interval {
  if (of <= 0) return { low: 0, high: 1 };
  const middle = count + z * z / 2;
  const spread = z * Math.sqrt(count * Math.max(of - count, 0) / of + z * z / 4);
  return scaleInterval({ low: Math.max(middle - spread, 0), high: middle + spread }, 1 / (of + z * z));
}

/** Its Poisson twin: the interval of the number of which `count` was seen. */
export function countInterval(count: number, z: number): Interval {
  const middle = count + z * z / 2;
  const spread = z * Math.sqrt(count + z * z / 4);
  return { low: Math.max(middle - spread, 0), high: middle + spread };
}

/** Newcombe's interval of `after - before`. */
export function difference(before: Estimate, after: Estimate): Interval {
  const change = after.value - before.value;
  const distance = (one: number, other: number) => Math.sqrt(one * one + other * other);
  return {
    low: change - distance(after.value - after.interval.low, before.interval.high - before.value),
    high: change + distance(after.interval.high - after.value, before.value - before.interval.low),
  };
}

/** How many standard errors to each side leave `outside` outside; `degrees` of freedom of the standard error, if it was estimated. */
export function width(outside: number, degrees: number | null): number {
  const z = upperQuantile(outside / 2);
  if (degrees === null) return z;
  const z3 = z ** 3, z5 = z ** 5;
  return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees * degrees);
}

/** Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23. */
function upperQuantile(tail: number): number {
  const t = Math.sqrt(-2 * Math.log(Math.min(0.5, Math.max(1e-300, tail))));
  return t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t);
}
