// The profile out of the page: base64, gzip, then a JSON head and columns.

import type { Head, Profile } from "./profile";

/** The form of the data that this script reads; the two travel together. */
export const FORMAT = 2;

type Column = Uint8Array | Uint32Array | Float64Array;

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const native = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  if (native) return native.call(Uint8Array, text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Entries whose lowest bytes stand first, then all the next, and so on: they compress better that way. */
export function joinPlanes(bytes: Uint8Array): Uint32Array {
  const length = bytes.length / 4;
  const joined = new Uint32Array(length);
  for (let at = 0; at < length; at++) {
    joined[at] = bytes[at] | bytes[at + length] << 8 | bytes[at + 2 * length] << 16 | bytes[at + 3 * length] << 24;
  }
  return joined;
}

function readColumns(buffer: ArrayBuffer, start: number, descriptions: Head["columns"]): Record<string, Column> {
  const columns: Record<string, Column> = {};
  let offset = start;
  for (const [name, type, length] of descriptions) {
    offset = (offset + 7) & ~7;
    const width = type === "u8" ? 1 : type === "u32" ? 4 : 8;
    const bytes = new Uint8Array(buffer, offset, length * width);
    columns[name] = type === "u8" ? bytes : type === "u32" ? joinPlanes(bytes) : new Float64Array(buffer, offset, length);
    offset += length * width;
  }
  return columns;
}

/** Head and columns of the uncompressed data. */
export function parseProfile(buffer: ArrayBuffer): Profile {
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headLength))) as Head;
  if (head.format !== FORMAT) throw new Error(`the page holds data of form ${head.format} and reads form ${FORMAT}`);
  return { ...head, ...readColumns(buffer, 8 + headLength, head.columns) } as unknown as Profile;
}

export async function readProfile(element: Element): Promise<Profile> {
  const packed = decodeBase64((element.textContent ?? "").trim());
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return parseProfile(await new Response(stream).arrayBuffer());
}
