// The largest of many rows, without putting all of them in order.

/** At most `limit` rows, in order of `sizes[0]`, equal ones in order of `sizes[1]` and so on, the largest first; else as they came. */
export function largest(rows: Int32Array, sizes: readonly ((row: number) => number)[], limit: number): Int32Array {
  const [size, ...others] = sizes;
  if (!size) return rows.subarray(0, limit);
  const values = Float64Array.from(rows, size);
  const least = rows.length > limit ? values.slice().sort()[rows.length - limit] : -Infinity;
  const places = Int32Array.from(rows.keys()), above = places.filter((at) => values[at] > least);
  above.sort((a, b) => {
    if (values[a] !== values[b]) return values[b] - values[a];
    for (const other of others) {
      const order = other(rows[b]) - other(rows[a]);
      if (order !== 0) return order;
    }
    return a - b;
  });
  const first = above.map((at) => rows[at]);
  if (first.length >= Math.min(limit, rows.length)) return first;
  const equal = largest(places.filter((at) => values[at] === least).map((at) => rows[at]), others, limit - first.length);
  const all = new Int32Array(first.length + equal.length);
  all.set(first);
  all.set(equal, first.length);
  return all;
}
