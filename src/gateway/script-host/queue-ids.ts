/**
 * Numbers that data planes choose, for requests and conns. Each chooses its own, so in the host the
 * number of the queue stands in their last place: with one queue they are what they were.
 */
export class QueueIds {
  readonly #queue: number;
  readonly #queues: number;

  /** @param queues  how many there are */
  constructor(queue: number, queues: number) {
    this.#queue = queue;
    this.#queues = queues;
  }

  /** A number of the data plane as the host knows it. */
  fromQueue(id: number): number {
    return id * this.#queues + this.#queue;
  }

  toQueue(id: number): number {
    return Math.floor(id / this.#queues);
  }

  /** A number of the host is one of this queue. */
  readonly isOfQueue = (id: number): boolean => id % this.#queues === this.#queue;
}
