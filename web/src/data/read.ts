// The profile out of the page: base64, gzip, then a JSON head and columns.

import { finish, type Steps } from "../model/steps";
import type { Head, Profile } from "./profile";

/** The form of the data that this script reads; the two travel together. */
export const FORMAT = 2;

type Column = Uint8Array | Uint32Array | Float64Array;

export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const native = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  if (native) return native.call(Uint8Array, text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Whether all bytes are 0, four at a time. */
function isBlank(bytes: Uint8Array): boolean {
  const isZero = (byte: number) => byte === 0;
  const before = -bytes.byteOffset & 3, words = bytes.length - before >> 2;
  if (words <= 0) return bytes.every(isZero);
  const middle = new Uint32Array(bytes.buffer, bytes.byteOffset + before, words);
  for (let at = 0; at < words; at++) if (middle[at] !== 0) return false;
  return bytes.subarray(0, before).every(isZero) && bytes.subarray(before + words * 4).every(isZero);
}

/** Entries whose lowest bytes stand first, then all the next, and so on: they compress better that way. */
export function joinPlanes(bytes: Uint8Array): Uint32Array {
  const length = bytes.length / 4;
  const joined = new Uint32Array(length);
  const planes = [0, 1, 2, 3].map((plane) => bytes.subarray(plane * length, (plane + 1) * length));
  // Most columns have small numbers: what is blank need not be joined.
  while (planes.length > 1 && isBlank(planes[planes.length - 1])) planes.pop();
  const [lowest, low, high, highest] = planes;
  switch (planes.length) {
    case 1: joined.set(lowest); break;
    case 2: for (let at = 0; at < length; at++) joined[at] = lowest[at] | low[at] << 8; break;
    case 3: for (let at = 0; at < length; at++) joined[at] = lowest[at] | low[at] << 8 | high[at] << 16; break;
    default: for (let at = 0; at < length; at++) joined[at] = lowest[at] | low[at] << 8 | high[at] << 16 | highest[at] << 24;
  }
  return joined;
}

function* readColumns(buffer: ArrayBuffer, start: number, descriptions: Head["columns"]): Steps<Record<string, Column>> {
  const columns: Record<string, Column> = {};
  let offset = start;
  for (const [name, type, length] of descriptions) {
    offset = (offset + 7) & ~7;
    const width = type === "u8" ? 1 : type === "u32" ? 4 : 8;
    const bytes = new Uint8Array(buffer, offset, length * width);
    columns[name] = type === "u8" ? bytes : type === "u32" ? joinPlanes(bytes) : new Float64Array(buffer, offset, length);
    offset += length * width;
    yield offset / buffer.byteLength;
  }
  return columns;
}

/** Head and columns of the uncompressed data. */
export function parseProfile(buffer: ArrayBuffer): Profile {
  return finish(parseSteps(buffer));
}

export function* parseSteps(buffer: ArrayBuffer): Steps<Profile> {
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headLength))) as Head;
  if (head.format !== FORMAT) throw new Error(`the page holds data of form ${head.format} and reads form ${FORMAT}`);
  yield 0;
  return { ...head, ...yield* readColumns(buffer, 8 + headLength, head.columns) } as unknown as Profile;
}

/** What deflate makes of a byte, at most. */
const MOST_INFLATED = 1032;

/** What was compressed: as long as the end of gzip says, unless that is wrong. Read piece by piece into one place, which takes
 * half the time of a response of the stream. */
export async function inflate(packed: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const size = packed.length < 4 ? 0 : new DataView(packed.buffer, packed.byteOffset + packed.length - 4).getUint32(0, true);
  let bytes = new Uint8Array(Math.min(size, packed.length * MOST_INFLATED));
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter(), reader = readable.getReader();
  // What is wrong with the data is told by the reader, too.
  writer.write(packed).catch(() => undefined);
  writer.close().catch(() => undefined);
  let at = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const { value } = piece;
    if (at + value.length > bytes.length) {
      const wider = new Uint8Array((at + value.length) * 2);
      wider.set(bytes.subarray(0, at));
      bytes = wider;
    }
    bytes.set(value, at);
    at += value.length;
  }
  return at === bytes.length ? bytes.buffer : bytes.slice(0, at).buffer;
}

export async function readProfile(element: Element): Promise<Profile> {
  const packed = decodeBase64((element.textContent ?? "").trim());
  element.remove();
  return parseProfile(await inflate(packed));
}
