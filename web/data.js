// The profile out of the page: base64, gzip, then a JSON head and columns (docs/formats/html.md).

const NONE = 0xffffffff;
const FORMAT = 1;
const COLUMN_TYPES = { u8: Uint8Array, u32: Uint32Array, f64: Float64Array };

// What a node of the tree is, from its depth: the encoder always writes all three levels.
const LEVEL_ROOT = 0, LEVEL_PROCESS = 1, LEVEL_THREAD = 2, LEVEL_FRAME = 3;

function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function readProfile(element) {
  const packed = decodeBase64(element.textContent.trim());
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headLength)));
  if (head.format !== FORMAT) throw new Error(`the page holds data of form ${head.format} and reads form ${FORMAT}`);
  return { ...head, ...readColumns(buffer, 8 + headLength, head.columns) };
}

function readColumns(buffer, offset, descriptions) {
  const columns = {};
  for (const [name, type, length] of descriptions) {
    offset = (offset + 7) & ~7;
    columns[name] = new COLUMN_TYPES[type](buffer, offset, length);
    offset += columns[name].byteLength;
  }
  return columns;
}

// The call tree at its finest: a node per process, thread, and (function, line) on each path; parents come first.
// A value is a number of samples when all samples weigh the same, else nanoseconds.
function buildSource(profile) {
  const size = profile.node_back.length;
  const parent = new Int32Array(size), level = new Uint8Array(size);
  const self = profile.node_weight ?? new Float64Array(profile.node_count);
  const total = self.slice();
  for (let node = 0; node < size; node++) {
    const back = profile.node_back[node];
    parent[node] = back === 0 ? -1 : node - back;
    level[node] = back === 0 ? LEVEL_ROOT : Math.min(level[node - back] + 1, LEVEL_FRAME);
  }
  for (let node = size - 1; node > 0; node--) total[parent[node]] += total[node];
  return { size, parent, level, row: profile.node_row, self, total };
}
