/**
 * Promises of one script that no flow waits for: of hooks, and what it gave to `waitUntil`. They
 * keep its generation in memory, each until it is settled or its time is over.
 */
import { RenewedMap } from '../renewed-map.ts';

/** @param error  described by the guest, or in words of ours; undefined when all went well */
export type WorkEnd = (error: string | undefined) => void;

interface Work {
  readonly onEnd: WorkEnd;
  /** Microseconds. */
  readonly deadline: number;
}

export class PendingWork {
  readonly #hooks = new RenewedMap<number, Work>();
  readonly #waits = new RenewedMap<number, Work>();
  #nextDeadline = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#hooks.size + this.#waits.size;
  }

  /** Microseconds; Infinity while there is nothing. Perhaps too early, never too late. */
  get nextDeadline(): number {
    return this.#nextDeadline;
  }

  /** A hook is about to be called. */
  startHook(call: number, deadline: number, onEnd: WorkEnd): void {
    this.#hooks.set(call, { onEnd, deadline });
    this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
  }

  startWait(id: number, deadline: number, onEnd: WorkEnd): void {
    this.#waits.set(id, { onEnd, deadline });
    this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
  }

  /** What ended before, or never began, is ignored. */
  endHook(call: number, error: string | undefined): void {
    end(this.#hooks, call, error);
  }

  endWait(id: number, error: string | undefined): void {
    end(this.#waits, id, error);
  }

  /** Gives up what took too long at `now`, in microseconds. */
  expire(now: number): void {
    if (now < this.#nextDeadline) return;
    for (const works of [this.#hooks, this.#waits]) {
      const over = Array.from(works.entries()).filter(([, { deadline }]) => deadline <= now);
      for (const [id] of over) end(works, id, 'took too long, and is not waited for any more');
    }
    this.#nextDeadline = [...this.#hooks.values(), ...this.#waits.values()].reduce(
      (next, { deadline }) => Math.min(next, deadline),
      Number.POSITIVE_INFINITY,
    );
  }

  /** The sandbox is gone, and all that waited in it. */
  clear(error: string): void {
    for (const works of [this.#hooks, this.#waits]) {
      for (const [id] of Array.from(works.entries())) end(works, id, error);
    }
    this.#nextDeadline = Number.POSITIVE_INFINITY;
  }
}

function end(works: RenewedMap<number, Work>, id: number, error: string | undefined): void {
  const work = works.get(id);
  works.delete(id);
  work?.onEnd(error);
}
