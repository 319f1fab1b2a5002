/**
 * Calls into a script, by number. What a sandbox does is charged to whom its turn is for: a call,
 * or a connection that it claimed; so their numbers must not meet.
 *
 * A call lives from its beginning until its promise is settled or given up, and longer for what
 * `ctx.waitUntil` was told meanwhile. So long it may have sockets of its own.
 */
import { RenewedMap } from '../renewed-map.ts';

/** Numbers of calls are this and above; those of claimed connections lie below. */
export const FIRST_CALL = 0x8000_0000;
const CALL_COUNT = 0x8000_0000;

/** @returns gives another number each time, of all scripts of a host */
export function callNumbers(): () => number {
  let last = -1;
  return () => {
    last = (last + 1) % CALL_COUNT;
    return FIRST_CALL + last;
  };
}

export class ScriptCalls {
  readonly #onEnd: (call: number) => void;
  /** Begun and not settled. */
  readonly #open = new RenewedMap<number, true>();
  /** Promises of `waitUntil` by the call that they belong to. */
  readonly #waits = new RenewedMap<number, number>();
  /** A decision that is being made: most are over within their turn. */
  #deciding = 0;

  /** @param onEnd  the call is over, and nothing waits in its name */
  constructor(onEnd: (call: number) => void) {
    this.#onEnd = onEnd;
  }

  isLive(call: number): boolean {
    return call !== 0 && (call === this.#deciding || this.#open.has(call) || this.#waits.has(call));
  }

  /** @param isPending  runs the turn in which a decision begins, and tells whether it goes on */
  decide(call: number, isPending: () => boolean): void {
    this.#deciding = call;
    const isOpen = isPending();
    this.#deciding = 0;
    if (isOpen) this.#open.set(call, true);
    else this.#endUnlessLive(call);
  }

  begin(call: number): void {
    this.#open.set(call, true);
  }

  /** What has ended already is ignored. */
  end(call: number): void {
    if (this.#open.delete(call)) this.#endUnlessLive(call);
  }

  /** `waitUntil`, in a turn of `of`; anything but a call is ignored. */
  startWait(of: number): void {
    if (of >= FIRST_CALL) this.#waits.set(of, (this.#waits.get(of) ?? 0) + 1);
  }

  endWait(of: number): void {
    const left = (this.#waits.get(of) ?? 0) - 1;
    if (left > 0) this.#waits.set(of, left);
    else if (this.#waits.delete(of)) this.#endUnlessLive(of);
  }

  /** The sandbox is gone, and all calls with it. */
  clear(): void {
    this.#open.clear();
    this.#waits.clear();
  }

  #endUnlessLive(call: number): void {
    if (!this.isLive(call)) this.#onEnd(call);
  }
}
