// The tree that is shown: the source tree with levels left out or merged as the view says, laid out by levels.

// Entry of each source node in this view; -1 for a node that is left out and whose children go to its parent.
function sourceEntries(source, names, view) {
  const { frame_function: functions, function_kind: kinds } = names.profile;
  const entries = new Int32Array(source.size);
  for (let node = 0; node < source.size; node++) {
    const row = source.row[node];
    switch (source.level[node]) {
      case LEVEL_ROOT: entries[node] = 0; break;
      case LEVEL_PROCESS: entries[node] = view.processes ? names.process(row, view.mergeProcesses) : -1; break;
      case LEVEL_THREAD: entries[node] = view.threads ? names.firstThread + row : -1; break;
      default: {
        const hidden = !view.interpreter && kinds[functions[row]] === KIND_INTERPRETER;
        entries[node] = hidden ? -1 : view.lines ? names.firstFrame + row : names.firstFunction + functions[row];
      }
    }
  }
  return entries;
}

// Joins source nodes with the same parent and entry. `target` says for each source node which merged node holds it.
function mergeNodes(source, entries) {
  const target = new Int32Array(source.size);
  const parent = new Int32Array(source.size), entry = new Int32Array(source.size);
  const self = new Float64Array(source.size), total = new Float64Array(source.size);
  // Open addressing, a power of two of at least twice the nodes; the probe compares parent and entry themselves.
  const slots = new Int32Array(1 << Math.ceil(Math.log2(source.size * 2 + 2))).fill(-1);
  const mask = slots.length - 1;
  let size = 0;
  for (let node = 0; node < source.size; node++) {
    const above = node === 0 ? -1 : target[source.parent[node]];
    const what = entries[node];
    if (what < 0) {
      target[node] = above;
    } else {
      let slot = (Math.imul(above, 0x9e3779b1) ^ Math.imul(what, 0x85ebca6b)) >>> 7 & mask;
      while (slots[slot] >= 0 && (parent[slots[slot]] !== above || entry[slots[slot]] !== what)) slot = slot + 1 & mask;
      if (slots[slot] < 0) {
        slots[slot] = size;
        parent[size] = above;
        entry[size] = what;
        size++;
      }
      target[node] = slots[slot];
      total[target[node]] += source.total[node];
    }
    self[target[node]] += source.self[node];
  }
  return { size, target, parent, entry, self, total };
}

// Children of each merged node, the largest first; equal ones in order of arrival, so that a page always looks the same.
function sortChildren({ size, parent, total }) {
  const first = new Int32Array(size + 1);
  for (let node = 1; node < size; node++) first[parent[node] + 1]++;
  for (let node = 0; node < size; node++) first[node + 1] += first[node];
  const children = new Int32Array(size), next = first.slice();
  for (let node = 1; node < size; node++) children[next[parent[node]]++] = node;
  for (let node = 0; node < size; node++) {
    const from = first[node], to = first[node + 1];
    if (to - from > SORTED_BY_HAND) children.subarray(from, to).sort((a, b) => total[b] - total[a] || a - b);
    else if (to - from > 1) insertionSort(children, from, to, total);
  }
  return { first, children };
}

// Most nodes have a few children, for which calling the built-in sort takes longer than sorting.
const SORTED_BY_HAND = 16;

function insertionSort(nodes, from, to, total) {
  for (let at = from + 1; at < to; at++) {
    const node = nodes[at];
    let place = at;
    for (; place > from && total[nodes[place - 1]] < total[node]; place--) nodes[place] = nodes[place - 1];
    nodes[place] = node;
  }
}

// Nodes level by level, each level from left to right, so that a level is one run of rising `start`s and a binary
// search finds what is under the pointer or at the edge of the window.
function buildTree(source, names, view) {
  const merged = mergeNodes(source, sourceEntries(source, names, view));
  const { first, children } = sortChildren(merged);
  const { size } = merged;
  const entry = new Int32Array(size), parent = new Int32Array(size), depth = new Int32Array(size);
  const start = new Float64Array(size), self = new Float64Array(size), total = new Float64Array(size);
  const firstChild = new Int32Array(size + 1);
  const order = new Int32Array(size), place = new Int32Array(size);
  parent[0] = -1;
  let end = 1;
  for (let node = 0; node < size; node++) {
    const was = order[node];
    place[was] = node;
    entry[node] = merged.entry[was];
    self[node] = merged.self[was];
    total[node] = merged.total[was];
    firstChild[node] = end;
    let left = start[node];
    for (let at = first[was]; at < first[was + 1]; at++) {
      order[end] = children[at];
      parent[end] = node;
      depth[end] = depth[node] + 1;
      start[end] = left;
      left += merged.total[children[at]];
      end++;
    }
  }
  firstChild[size] = end;
  const target = new Int32Array(source.size);
  for (let node = 0; node < source.size; node++) target[node] = place[merged.target[node]];
  const height = depth[size - 1] + 1;
  const levels = levelBounds(depth, height);
  return { size, view, entry, parent, depth, start, self, total, firstChild, target, height, levels };
}

// levels[d] is the first node of depth d, levels[height] the end.
function levelBounds(depth, height) {
  const levels = new Int32Array(height + 1);
  for (let node = depth.length - 1; node >= 0; node--) levels[depth[node]] = node;
  levels[height] = depth.length;
  return levels;
}

// The first node of a level that ends behind `value`; the level's end if none does.
function findNode(tree, depth, value) {
  let low = tree.levels[depth], high = tree.levels[depth + 1];
  while (low < high) {
    const middle = low + high >>> 1;
    if (tree.start[middle] + tree.total[middle] > value) high = middle; else low = middle + 1;
  }
  return low;
}

// The entries from the root to a node: they name it in any tree of the same profile.
function pathTo(tree, node) {
  const path = [];
  for (; node > 0; node = tree.parent[node]) path.push(tree.entry[node]);
  return path.reverse();
}

// As far along the path as this tree goes; a level that it leaves out is skipped.
function findPath(tree, path) {
  let node = 0;
  for (const entry of path) {
    let child = tree.firstChild[node];
    while (child < tree.firstChild[node + 1] && tree.entry[child] !== entry) child++;
    if (child < tree.firstChild[node + 1]) node = child;
  }
  return node;
}

// Self and total per function below a node; a recursive function counts once per path.
function sumFunctions(tree, names, top) {
  const rows = new Map();
  const open = new Map();
  const walk = [top];
  while (walk.length) {
    const node = walk.pop();
    if (node < 0) {
      const row = names.functionRow(tree.entry[~node]);
      open.set(row, open.get(row) - 1);
      continue;
    }
    const row = names.functionRow(tree.entry[node]);
    if (row >= 0) {
      const sum = rows.get(row) ?? { entry: names.firstFunction + row, self: 0, total: 0 };
      const nested = open.get(row) ?? 0;
      sum.self += tree.self[node];
      if (nested === 0) sum.total += tree.total[node];
      rows.set(row, sum);
      open.set(row, nested + 1);
      walk.push(~node);
    }
    for (let child = tree.firstChild[node]; child < tree.firstChild[node + 1]; child++) walk.push(child);
  }
  return [...rows.values()];
}

// Self and total of each line inside one node, the largest first.
function sumLines(tree, source, names, node) {
  tree.sourceOrder ??= groupByTarget(tree);
  const { first, nodes } = tree.sourceOrder;
  const lines = new Map();
  for (let at = first[node]; at < first[node + 1]; at++) {
    const from = nodes[at];
    if (source.level[from] !== LEVEL_FRAME) continue;
    const row = source.row[from];
    if (names.profile.frame_function[row] !== names.functionRow(tree.entry[node])) continue;
    const line = names.profile.frame_line[row];
    const sum = lines.get(line) ?? { line, self: 0, total: 0 };
    sum.self += source.self[from];
    sum.total += source.total[from];
    lines.set(line, sum);
  }
  return [...lines.values()].sort((a, b) => b.total - a.total || a.line - b.line);
}

function groupByTarget({ size, target }) {
  const first = new Int32Array(size + 1);
  for (const node of target) first[node + 1]++;
  for (let node = 0; node < size; node++) first[node + 1] += first[node];
  const nodes = new Int32Array(target.length), next = first.slice();
  target.forEach((node, from) => { nodes[next[node]++] = from; });
  return { first, nodes };
}
