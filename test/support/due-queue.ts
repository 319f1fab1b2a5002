/** Things that are due at a time, the earliest first; of one time, in the order they were put. */

interface Entry<T> {
  readonly due: number;
  readonly order: number;
  readonly item: T;
}

const isBefore = <T>(a: Entry<T>, b: Entry<T>): boolean =>
  a.due < b.due || (a.due === b.due && a.order < b.order);

/** A binary heap. */
export class DueQueue<T> {
  readonly #heap: Entry<T>[] = [];
  #order = 0;

  get length(): number {
    return this.#heap.length;
  }

  /** When the first is due; infinite when there is none. */
  get due(): number {
    return this.#heap[0]?.due ?? Number.POSITIVE_INFINITY;
  }

  push(due: number, item: T): void {
    const heap = this.#heap;
    const entry = { due, order: this.#order++, item };
    let at = heap.length;
    while (at > 0) {
      const parentAt = (at - 1) >>> 1;
      const parent = heap[parentAt]!;
      if (isBefore(parent, entry)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = entry;
  }

  /** Takes the first out. @throws Error when there is none */
  pop(): T {
    const heap = this.#heap;
    const first = heap[0];
    const moved = heap.pop();
    if (first === undefined || moved === undefined) throw new Error('nothing is due');
    if (heap.length > 0) this.#sink(moved);
    return first.item;
  }

  /** Puts an entry where the first was, and lets it sink to its place. */
  #sink(entry: Entry<T>): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      const right = heap[childAt + 1];
      if (right !== undefined && isBefore(right, heap[childAt]!)) childAt += 1;
      const child = heap[childAt];
      if (child === undefined || isBefore(entry, child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = entry;
  }
}
