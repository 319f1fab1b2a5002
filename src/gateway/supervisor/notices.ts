/**
 * What happens to the gateway itself, for those who listen to events: rare, unlike what happens to
 * flows, and so kept as text. The oldest give way to new ones.
 */

export const NOTICE_NAMES = ['GENERATION', 'RELOAD', 'DEVICE', 'AUDIT', 'LIMIT'] as const;
export type NoticeName = (typeof NOTICE_NAMES)[number];

/** Some hundred bytes each. */
const KEPT = 1024;

interface Notice {
  readonly name: NoticeName;
  /** JSON. */
  readonly data: string;
}

export class Notices {
  readonly #kept: Notice[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #now: () => number;
  #next = 1;

  /** @param now  milliseconds since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Number of the notice that comes next; they count from 1. */
  get next(): number {
    return this.#next;
  }

  /** Number of the oldest notice that is still here. */
  get first(): number {
    return this.#next - this.#kept.length;
  }

  tell(name: NoticeName, fields: Readonly<Record<string, unknown>>): void {
    const time = new Date(this.#now()).toISOString();
    this.#kept.push({ name, data: JSON.stringify({ event: name, time, ...fields }) });
    if (this.#kept.length > KEPT) this.#kept.shift();
    this.#next += 1;
    for (const listener of this.#listeners) listener();
  }

  /** @param number  from `first` to `next` - 1 */
  at(number: number): Notice {
    return this.#kept[number - this.first]!;
  }

  /** Calls when there is a new one; the result ends that. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
