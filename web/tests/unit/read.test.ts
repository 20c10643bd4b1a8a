// The data block, uncompressed.

import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { inflate } from "../../src/data/read";

const copy = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

describe("what was compressed", () => {
  const text = Buffer.from(Array.from({ length: 50_000 }, (_, at) => `line ${at * 7919 % 50_000}`).join("\n"));
  const same = (buffer: ArrayBuffer, expected: Buffer) => Buffer.compare(Buffer.from(buffer), expected) === 0;

  test("is read whole, in pieces", async () => {
    for (const plain of [text, Buffer.alloc(0), Buffer.from("x"), Buffer.alloc(3_000_000)]) expect(same(await inflate(copy(gzipSync(plain))), plain)).toBe(true);
  });

  test("is an error if its end says another size, or it is cut off", async () => {
    const packed = copy(gzipSync(text));
    for (const size of [0, 1, text.length - 1, text.length + 1, 0xffffffff]) {
      const wrong = packed.slice();
      new DataView(wrong.buffer).setUint32(wrong.length - 4, size, true);
      await expect(inflate(wrong)).rejects.toThrow();
    }
    for (const length of [0, 3, 20, packed.length - 9]) await expect(inflate(packed.slice(0, length))).rejects.toThrow();
  });
});
