import { describe, expect, test } from "vitest";
import { formatShare } from "../../src/format";

// As `show_share` in crates/report/src/figures.rs has it for the terminal.
describe("a share", () => {
  test("is all of it only where nothing is missing", () => {
    expect(formatShare(8971, 8971)).toBe("100 %");
    for (const part of [8970, 8970.999, 8965]) expect(formatShare(part, 8971)).toBe("> 99.9 %");
    expect(formatShare(8962, 8971)).toBe("99.9 %");
  });

  test("is all of it where only the sum of fractions says otherwise", () => {
    expect(formatShare(Array.from({ length: 10 }, () => 0.1).reduce((sum, part) => sum + part), 1)).toBe("100 %");
  });

  test("is nothing only where there is nothing", () => {
    expect(formatShare(0, 8971)).toBe("0 %");
    expect(formatShare(1, 20_000)).toBe("< 0.01 %");
    expect(formatShare(0, 0)).toBe("0 %");
  });

  test("has two digits where it is small", () => {
    expect([1, 99.96, 100, 998, 999].map((part) => formatShare(part, 1000))).toEqual(["0.10 %", "10.0 %", "10.0 %", "99.8 %", "99.9 %"]);
  });

  test("may be of more than one whole", () => {
    expect(formatShare(23, 10)).toBe("230.0 %");
  });
});
