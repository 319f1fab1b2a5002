/**
 * Time for scripts outside of a gateway. It stands still while nobody works, jumps to where the
 * next timer is due, and inside a sandbox it runs on with the time of this machine: limits of
 * processor time are those of a gateway, and waiting costs nothing.
 */
import type { EngineClock } from '../engine/engine.ts';

/** Any instant that is not 0. */
const START_US = 1_000_000;
const US_PER_MS = 1000;

/** Processor time of this thread, in microseconds; it moves in ticks of the kernel. */
function threadCpuUs(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

const realUs = (): number => performance.now() * US_PER_MS;

/** The time of this machine, for sandboxes that live in it. */
export const realClock: EngineClock = { now: realUs, cpuTime: threadCpuUs };

export class VirtualClock implements EngineClock {
  readonly #epochAtStartMs: number;
  #now = START_US;
  #enteredAt: number | undefined;

  /** @param epochMs  what the clock on the wall shows at first, in milliseconds since 1970 */
  constructor(epochMs: number) {
    this.#epochAtStartMs = epochMs;
  }

  now(): number {
    return this.#now + this.#insideUs;
  }

  cpuTime(): number {
    return threadCpuUs();
  }

  /** Milliseconds since 1970. */
  epochMs(): number {
    return this.#epochAtStartMs + Math.floor((this.now() - START_US) / US_PER_MS);
  }

  /** A sandbox is being entered. */
  enter(): void {
    this.#enteredAt = realUs();
  }

  /** It has been left. Returns how long it worked, in microseconds. */
  leave(): number {
    const took = this.#insideUs;
    this.#enteredAt = undefined;
    this.#now += took;
    return took;
  }

  /** Moves on to an instant in microseconds; one that is past already changes nothing. */
  moveTo(instant: number): void {
    this.#now = Math.max(this.#now, instant);
  }

  get #insideUs(): number {
    return this.#enteredAt === undefined ? 0 : realUs() - this.#enteredAt;
  }
}
