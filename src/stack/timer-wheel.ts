/**
 * A timer wheel: one deadline per item (a flow), no object and no closure for any of them.
 *
 * A slot spans one tick. A deadline beyond the wheel's span lies in the last slot and is looked at
 * again when its turn comes. Deadlines that move away are left where they are: the item comes up
 * early, its owner finds nothing due and schedules it again. So the usual case, a deadline pushed
 * back by every acknowledgement, costs one comparison.
 */
import type { Arena } from './arena.ts';
import { type Instant, NEVER } from './time.ts';

/** Of a wheel that is not told otherwise. */
const TICK_US = 4000;
/** A power of two: 4,096 slots of 4 ms span 16 s. */
const SLOTS = 4096;
const NONE = -1;

export class TimerWheel {
  readonly #tickUs: number;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Tick at which the item is due; 0 when it is not in the wheel. */
  readonly #dueTick: Float64Array;
  readonly #heads: Int32Array;
  /** One bit per slot that holds an item. */
  readonly #occupied: Int32Array;
  #tick: number;
  #count = 0;

  static bytes(capacity: number): number {
    return capacity * 16 + SLOTS * 4 + SLOTS / 8 + 5 * 64;
  }

  /** @param tickUs  microseconds by which deadlines are rounded up at most */
  constructor(arena: Arena, capacity: number, now: Instant, tickUs = TICK_US) {
    this.#tickUs = tickUs;
    this.#dueTick = new Float64Array(arena.buffer, arena.take(capacity * 8), capacity).fill(0);
    this.#next = new Int32Array(arena.buffer, arena.take(capacity * 4), capacity);
    this.#previous = new Int32Array(arena.buffer, arena.take(capacity * 4), capacity);
    this.#heads = new Int32Array(arena.buffer, arena.take(SLOTS * 4), SLOTS).fill(NONE);
    this.#occupied = new Int32Array(arena.buffer, arena.take(SLOTS / 8), SLOTS / 32).fill(0);
    this.#tick = Math.floor(now / this.#tickUs);
  }

  /** Makes sure that `item` comes up at `deadline` or before. */
  schedule(item: number, deadline: Instant): void {
    if (deadline === NEVER) return;
    let tick = Math.ceil(deadline / this.#tickUs);
    if (tick <= this.#tick) tick = this.#tick + 1;
    else if (tick >= this.#tick + SLOTS) tick = this.#tick + SLOTS - 1;
    const due = this.#dueTick[item]!;
    if (due !== 0) {
      if (due <= tick) return;
      this.#unlink(item);
    }
    const slot = tick % SLOTS;
    const head = this.#heads[slot]!;
    this.#dueTick[item] = tick;
    this.#next[item] = head;
    this.#previous[item] = NONE;
    if (head === NONE) this.#occupied[slot >>> 5]! |= 1 << (slot & 31);
    else this.#previous[head] = item;
    this.#heads[slot] = item;
    this.#count += 1;
  }

  cancel(item: number): void {
    if (this.#dueTick[item] !== 0) this.#unlink(item);
  }

  /** When `expire` should be called next; NEVER when nothing is scheduled. */
  nextDeadline(): Instant {
    if (this.#count === 0) return NEVER;
    const first = (this.#tick + 1) % SLOTS;
    for (let step = 0; step <= SLOTS / 32; step++) {
      const index = ((first >>> 5) + step) % (SLOTS / 32);
      let word = this.#occupied[index]!;
      if (step === 0) word &= -1 << (first & 31);
      else if (step === SLOTS / 32) word &= ~(-1 << (first & 31));
      if (word === 0) continue;
      const slot = index * 32 + 31 - Math.clz32(word & -word);
      const distance = (slot - first + SLOTS) % SLOTS;
      return ((this.#tick + 1 + distance) * this.#tickUs) as Instant;
    }
    return NEVER;
  }

  /** Takes out every item that is due and hands it to `onDue`, which may schedule it again. */
  expire(now: Instant, onDue: (item: number) => void): void {
    const target = Math.floor(now / this.#tickUs);
    if (this.#count === 0) {
      if (target > this.#tick) this.#tick = target;
      return;
    }
    while (this.#tick < target && this.#count > 0) {
      const next = this.nextDeadline() / this.#tickUs;
      if (next > target) break;
      this.#tick = next;
      const slot = next % SLOTS;
      for (let item = this.#heads[slot]!; item !== NONE; item = this.#heads[slot]!) {
        this.#unlink(item);
        onDue(item);
      }
    }
    if (this.#tick < target) this.#tick = target;
  }

  #unlink(item: number): void {
    const slot = this.#dueTick[item]! % SLOTS;
    const next = this.#next[item]!;
    const previous = this.#previous[item]!;
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else {
      this.#heads[slot] = next;
      if (next === NONE) this.#occupied[slot >>> 5]! &= ~(1 << (slot & 31));
    }
    this.#dueTick[item] = 0;
    this.#count -= 1;
  }
}
