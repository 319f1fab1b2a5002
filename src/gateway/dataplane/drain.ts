import { CloseReason } from '../../stack/close-reason.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase } from '../../stack/flow-row.ts';
import { NO_FLOW } from '../../stack/flow-table.ts';
import type { Stack } from '../../stack/stack.ts';
import { after, type Instant, millis } from '../../stack/time.ts';
import type { Orphans } from './forward/orphans.ts';

type LeftBehind = Pick<Orphans, 'count' | 'endAll'>;

/**
 * The end of a gateway that is asked to stop: it takes no new flow, and waits for connections.
 *
 * Only TCP says when it is over, whoever carries it; UDP, pings and the rest are carried for as
 * long as a connection is waited for, and let go then. To wait for them would be to wait for their
 * time-outs, and they are made to be lost.
 */
export class Drain {
  readonly #stack: Stack;
  readonly #orphans: LeftBehind;
  #until: Instant | undefined;
  /** The connection that is waited for: until it is over, no other has to be looked for. */
  #row = 0;

  constructor(stack: Stack, orphans: LeftBehind) {
    this.#stack = stack;
    this.#orphans = orphans;
  }

  begin(deadlineMs: number, now: Instant): void {
    this.#stack.drain();
    this.#until = after(now, millis(deadlineMs));
  }

  /**
   * Ends all flows, once, when the last connection is over, or the deadline has come.
   *
   * @returns how many connections were cut by that; undefined while there is nothing to do but wait
   */
  check(now: Instant): number | undefined {
    if (this.#until === undefined) return undefined;
    const row = this.#nextConnection();
    if ((row !== NO_FLOW || this.#orphans.count > 0) && now < this.#until) {
      this.#row = Math.max(row, 0);
      return undefined;
    }
    this.#until = undefined;
    return this.#letGo(now);
  }

  /** From the last one on, and once more from the start: the stack may have dialled since. */
  #nextConnection(): number {
    const row = this.#stack.nextConnection(this.#row);
    return row === NO_FLOW ? this.#stack.nextConnection(0) : row;
  }

  #letGo(now: Instant): number {
    const stack = this.#stack;
    let cut = 0;
    for (let row = stack.flows.nextLive(0); row !== NO_FLOW; row = stack.flows.nextLive(row + 1)) {
      if (stack.nextConnection(row) === row) cut += 1;
      if (!this.#isReported(row)) stack.abort(row, CloseReason.DRAIN, ClosedBy.GATEWAY, now);
    }
    return cut + this.#orphans.endAll();
  }

  /** A connection of our TCP is reported when TIME-WAIT begins, a rewritten one when it is over. */
  #isReported(row: number): boolean {
    const stack = this.#stack;
    const carrier = stack.arena.view.getUint8(stack.rowAt(row) + FlowField.CARRIER);
    return stack.tcb(row).phase === FlowPhase.TIME_WAIT && carrier !== Carrier.NAT;
  }
}
