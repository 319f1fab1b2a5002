/**
 * Generations of scripts inside one host. New flows ask the active one; a call in flight finishes
 * on the generation it started with, and a connection that a script claimed stays with it. One that
 * was replaced drains: it goes when its last call and connection ended, and after a deadline its
 * scripts are told (`ctx.signal`), and what is left is ended.
 */
import type { Script } from '../script/script.ts';
import type { SniffProtocol } from '../sniff/sniffed.ts';

/** Between the signal and the end of what is left, in microseconds. */
const SIGNAL_TO_END_US = 1_000_000;
/** So that gateways that were reloaded together do not end their connections together. */
const DRAIN_JITTER = 0.1;
const US_PER_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

/** When scripts that are replaced at `now`, in microseconds, are told. */
export const drainDeadline = (now: number, drainMs: number): number =>
  now + drainMs * US_PER_MS * (1 + Math.random() * DRAIN_JITTER);

export class Generation {
  readonly number: number;
  /** In the order of asking. */
  readonly scripts: readonly Script[];
  /** Microseconds to a verdict. */
  readonly wallUs: number;
  /** Decisions that may wait at once. */
  readonly pendingMax: number;
  /** What its scripts want to know of UDP flows. */
  readonly sniffs: readonly SniffProtocol[];
  #calls = 0;
  #connections = 0;
  #isRetired = false;
  #signalAt = NEVER;
  #endAt = NEVER;
  /** Its time is over: what comes yet must end at once. */
  #isEnded = false;

  constructor(number: number, scripts: readonly Script[], wallUs: number, pendingMax: number) {
    this.number = number;
    this.scripts = scripts;
    this.wallUs = wallUs;
    this.pendingMax = pendingMax;
    this.sniffs = Array.from(new Set(scripts.flatMap((script) => script.sniffs)));
  }

  get isOver(): boolean {
    return this.#isRetired && this.#calls === 0 && this.#connections === 0 && !this.#isWorking;
  }

  get #isWorking(): boolean {
    return this.scripts.some((script) => script.hooks.isWorking);
  }

  /** When `expire` has something to do, in microseconds. */
  get nextDeadline(): number {
    return Math.min(this.#signalAt, this.#endAt);
  }

  /** A decision starts to wait. */
  acquire(): void {
    this.#calls++;
  }

  /** A decision that waited has ended. */
  release(): void {
    this.#calls--;
  }

  /** A script of it has claimed a connection. */
  hold(): void {
    this.#connections++;
    if (this.#isEnded) this.#endAt = 0;
  }

  /** Such a connection has ended, or its bytes pass without the script. */
  letGo(): void {
    this.#connections--;
  }

  /** New flows do not come here any more. @param signalAt  instant at which its scripts are told */
  retire(signalAt: number): void {
    this.#isRetired = true;
    this.#signalAt = signalAt;
    if (this.#connections > 0) return;
    this.#signal();
    // A call in flight can claim a connection yet, and may have sockets whose time is no longer.
    this.#endAt = signalAt + SIGNAL_TO_END_US;
  }

  /** Tells the scripts when it is time. @returns whether the sockets that are left must end */
  expire(now: number): boolean {
    if (now >= this.#signalAt) {
      this.#signal();
      this.#endAt = now + SIGNAL_TO_END_US;
    }
    if (now < this.#endAt) return false;
    this.#endAt = NEVER;
    this.#isEnded = true;
    return this.#connections > 0 || this.#isWorking;
  }

  dispose(): void {
    for (const script of this.scripts) script.dispose();
  }

  #signal(): void {
    this.#signalAt = NEVER;
    for (const script of this.scripts) script.retire();
  }
}

export class Registry {
  #active: Generation | undefined;
  #generations: Generation[] = [];

  /** Undefined until the first bundle was loaded. */
  get active(): Generation | undefined {
    return this.#active;
  }

  /** Active, on trial, and retired ones that still have calls or connections. */
  get generations(): readonly Generation[] {
    return this.#generations;
  }

  /** Keeps a generation beside the active one. */
  add(generation: Generation): void {
    this.#generations.push(generation);
  }

  /** @param signalAt  when scripts of the one before are told, if something holds it until then */
  activate(next: Generation, signalAt: number): void {
    if (!this.#generations.includes(next)) this.add(next);
    this.#active?.retire(signalAt);
    this.#active = next;
    this.sweep();
  }

  /** Tells scripts whose time is over. @param onEnd  gets those whose connections must end */
  expire(now: number, onEnd: (generation: Generation) => void): void {
    for (const generation of this.#generations) if (generation.expire(now)) onEnd(generation);
  }

  /** Lets go of what is over. Returns whether something was. */
  sweep(): boolean {
    if (!this.#generations.some((generation) => generation.isOver)) return false;
    for (const generation of this.#generations) if (generation.isOver) generation.dispose();
    this.#generations = this.#generations.filter((generation) => !generation.isOver);
    return true;
  }
}
