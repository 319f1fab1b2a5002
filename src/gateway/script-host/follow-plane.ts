/**
 * Where the script host runs: beside its data plane, as long as that asks for it
 * (dataplane/host-placement.ts) and the host has little to do itself. A script that carries bytes
 * or computes needs a processor of its own, and leaves the other one to the data plane.
 */
import { IdleShare } from '../../ffi/idle-share.ts';
import { type Affinity, ANY_PROCESSOR } from '../../ffi/scheduling.ts';

/** Of its time that the host sleeps. */
const FOLLOW_IDLE = 0.6;

export class FollowPlane {
  readonly #affinity: Affinity;
  readonly #idle: IdleShare;
  #mayFollow = false;

  /** @param now  microseconds, as all that follow */
  constructor(affinity: Affinity, now: number) {
    this.#affinity = affinity;
    this.#idle = new IdleShare(now);
  }

  /** The host has slept so long, in microseconds. */
  woke(now: number, sleptUs: number): void {
    const idle = this.#idle.woke(now, sleptUs);
    if (idle !== undefined) this.#mayFollow = idle >= FOLLOW_IDLE;
  }

  /** @param processor  of the data plane, or ANY_PROCESSOR */
  follow(processor: number): void {
    this.#affinity.stayOn(this.#mayFollow ? processor : ANY_PROCESSOR);
  }
}
