// Nodes joined by parent and entry.

/** With more children than this, a node finds them by their hashes. */
const CHILDREN_IN_LINE = 10;

/**
 * Nodes by parent and entry. Most nodes have a few children, made shortly before they are looked for: these are found one
 * after the other, which is several times faster than to look into a table of all nodes. The table holds the children of
 * nodes with many: open addressing, and the probe compares parent and entry themselves.
 */
export class Merger {
  size = 1;
  parent: Int32Array;
  entry: Int32Array;
  self: Float64Array;
  /** The child that was made last, and for each child the one before it. */
  private newest: Int32Array;
  private older: Int32Array;
  private children: Uint8Array;
  private slots = new Int32Array(64).fill(-1);
  private hashed = 0;

  constructor(expected: number) {
    const room = Math.max(16, expected);
    [this.parent, this.entry, this.newest, this.older] = Array.from({ length: 4 }, () => new Int32Array(room));
    this.self = new Float64Array(room);
    this.children = new Uint8Array(room);
    this.parent[0] = -1;
  }

  child(parent: number, entry: number): number {
    if (this.children[parent] > CHILDREN_IN_LINE) {
      const node = this.findHashed(parent, entry);
      if (node >= 0) return node;
    } else {
      for (let node = this.newest[parent]; node > 0; node = this.older[node]) if (this.entry[node] === entry) return node;
    }
    return this.add(parent, entry);
  }

  private add(parent: number, entry: number): number {
    if (this.size === this.parent.length) this.grow();
    const node = this.size++;
    this.parent[node] = parent;
    this.entry[node] = entry;
    this.older[node] = this.newest[parent];
    this.newest[parent] = node;
    if (this.children[parent] > CHILDREN_IN_LINE) this.hash(node);
    else if (++this.children[parent] > CHILDREN_IN_LINE) {
      for (let child = node; child > 0; child = this.older[child]) this.hash(child);
    }
    return node;
  }

  private slotOf(parent: number, entry: number): number {
    return (Math.imul(parent, 0x9e3779b1) ^ Math.imul(entry, 0x85ebca6b)) >>> 7;
  }

  private findHashed(parent: number, entry: number): number {
    const mask = this.slots.length - 1;
    for (let slot = this.slotOf(parent, entry) & mask; this.slots[slot] >= 0; slot = slot + 1 & mask) {
      const node = this.slots[slot];
      if (this.parent[node] === parent && this.entry[node] === entry) return node;
    }
    return -1;
  }

  private hash(node: number): void {
    if (++this.hashed * 2 > this.slots.length) {
      const before = this.slots;
      this.slots = new Int32Array(before.length * 4).fill(-1);
      for (const known of before) if (known >= 0) this.place(known);
    }
    this.place(node);
  }

  private place(node: number): void {
    const mask = this.slots.length - 1;
    let slot = this.slotOf(this.parent[node], this.entry[node]) & mask;
    while (this.slots[slot] >= 0) slot = slot + 1 & mask;
    this.slots[slot] = node;
  }

  private grow(): void {
    const room = this.parent.length * 2;
    const copy = <T extends Int32Array | Float64Array | Uint8Array>(into: T, from: T): T => { into.set(from); return into; };
    const wider = (column: Int32Array) => copy(new Int32Array(room), column);
    [this.parent, this.entry, this.newest, this.older] = [this.parent, this.entry, this.newest, this.older].map(wider);
    this.self = copy(new Float64Array(room), this.self);
    this.children = copy(new Uint8Array(room), this.children);
  }
}
