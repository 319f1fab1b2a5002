/**
 * Keeps the data plane and the script host on one processor while both have little to do.
 *
 * They take turns then: who asks sleeps until the answer. On one processor that is a switch of
 * contexts; on two it is an interrupt, and a processor that has to leave its idle state, which in a
 * virtual machine takes tens of microseconds, and now and then milliseconds. The kernel wakes a
 * thread on a processor that is idle wherever there is one, so it would part them each time.
 *
 * A data plane that is busy half of its time goes where the kernel likes, and the host too; also
 * one whose questions are not answered, for the host may be in a script that does not end. So it
 * does from time to time without all that, for the kernel may know a better place by now.
 */
import { IdleShare } from '../../ffi/idle-share.ts';
import { type Affinity, ANY_PROCESSOR } from '../../ffi/scheduling.ts';
import type { Instant } from '../../stack/time.ts';

/** Shares of its time that the loop sleeps: from one on it stays, below the other it leaves. */
const STAY_IDLE = 0.6;
const LEAVE_IDLE = 0.45;
/** Periods that it stays before it lets the kernel choose anew for one. */
const STAYS_MAX = 50;

export class HostPlacement {
  readonly #affinity: Affinity;
  readonly #idle: IdleShare;
  #answered = 0;
  /** The last question has no answer yet, nor has one come since. */
  #isWaiting = false;
  #stays = 0;

  constructor(affinity: Affinity, now: Instant) {
    this.#affinity = affinity;
    this.#idle = new IdleShare(now);
  }

  /** Where the host should be: a processor, or ANY_PROCESSOR. Asked for with each question. */
  ask(): number {
    this.#isWaiting = true;
    return this.#affinity.processor;
  }

  answered(): void {
    this.#answered += 1;
    this.#isWaiting = false;
  }

  /** The loop has slept so long, in microseconds. */
  woke(now: Instant, sleptUs: number): void {
    const idle = this.#idle.woke(now, sleptUs);
    if (idle === undefined) return;
    if (this.#affinity.processor === ANY_PROCESSOR) {
      if (this.#answered > 0 && idle >= STAY_IDLE) this.#affinity.stayHere();
      this.#stays = 0;
    } else {
      this.#stays += 1;
      const isStuck = this.#isWaiting && this.#answered === 0;
      const isOver = isStuck || idle < LEAVE_IDLE || this.#stays >= STAYS_MAX;
      if (isOver) this.#affinity.stayOn(ANY_PROCESSOR);
    }
    this.#answered = 0;
  }
}
