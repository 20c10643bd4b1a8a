// Search: which boxes match, and how much of the whole they hold together.

// A test for texts, or the error of a regular expression that is none. Capitals matter only if some are typed.
function compileSearch(text, isRegex) {
  if (text === "") return { test: null, error: "" };
  const flags = text === text.toLowerCase() ? "iu" : "u";
  const pattern = isRegex ? text : escapePattern(text);
  try {
    const expression = new RegExp(pattern, flags);
    return { test: (candidate) => expression.test(candidate), error: "" };
  } catch (error) {
    return { test: null, error: error.message.split(": ").at(-1) };
  }
}

function escapePattern(text) {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

// Every match, each path counted once however many of its boxes match.
// `before[n]` counts the matches left of node n, so a whole stretch of slivers is tested with two look-ups.
function searchTree(tree, names, test) {
  const tested = new Map();
  const covered = new Uint8Array(tree.size);
  const before = new Int32Array(tree.size + 1);
  const tops = [];
  let value = 0;
  for (let node = 0; node < tree.size; node++) {
    const entry = tree.entry[node];
    let matches = tested.get(entry);
    if (matches === undefined) {
      matches = entry !== 0 && test(names.searchText(entry, tree.view));
      tested.set(entry, matches);
    }
    const above = node > 0 && covered[tree.parent[node]] === 1;
    before[node + 1] = before[node] + (matches ? 1 : 0);
    covered[node] = matches || above ? 1 : 0;
    if (matches && !above) {
      value += tree.total[node];
      tops.push(node);
    }
  }
  // The largest first: the next match is the next that matters.
  tops.sort((a, b) => tree.total[b] - tree.total[a] || a - b);
  return { before, tops, value, boxes: before[tree.size], at: -1 };
}

function isMatch(found, from, to = from + 1) {
  return found.before[to] > found.before[from];
}
