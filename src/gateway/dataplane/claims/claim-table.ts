/** The claims: by the row of an end, those that a script talks to, and those with work to do. */
import { Counter, type Counters } from '../../../stack/counters.ts';
import type { Stack } from '../../../stack/stack.ts';
import { NEVER } from '../../../stack/time.ts';
import { SlabQueue } from '../forward/slab-queue.ts';
import { RowPort } from '../row-port.ts';
import { Claim, type ClaimPhase } from './claim.ts';

/** Rows have 24 bits of a conn; the others count the claims of a row, so that each has its own. */
const ROW_BITS = 24;
const ROW_MASK = (1 << ROW_BITS) - 1;

export class ClaimTable {
  readonly #stack: Stack;
  readonly #counters: Counters;
  readonly #limit: number;
  /** Rows of clients, and of sockets that were dialled into the device. */
  readonly #byRow: (RowPort | undefined)[];
  readonly #turns: Uint8Array;
  readonly #active: Claim[] = [];
  #listed: Claim[] = [];
  #current: Claim[] = [];

  /** @param limit  claims that scripts may talk to at a time */
  constructor(stack: Stack, counters: Counters, limit: number) {
    this.#stack = stack;
    this.#counters = counters;
    this.#limit = limit;
    this.#byRow = Array.from({ length: stack.flows.capacity });
    this.#turns = new Uint8Array(stack.flows.capacity);
  }

  /** Those that a script talks to. */
  get active(): readonly Claim[] {
    return this.#active;
  }

  get isFull(): boolean {
    return this.#active.length >= this.#limit;
  }

  /** Some wait for `takeListed`. */
  get hasListed(): boolean {
    return this.#listed.length > 0;
  }

  newQueue(): SlabQueue {
    return new SlabQueue(this.#stack.arena, this.#stack.slabs);
  }

  /** A claim of the flow in `row`. */
  add(row: number, epoch: number, requestId: number): Claim {
    this.#turns[row]! += 1;
    const conn = ((this.#turns[row]! << ROW_BITS) | row) >>> 0;
    const claim = new Claim(row, conn, epoch, requestId, this.newQueue(), NEVER);
    const port = new RowPort(claim.client, row, this.#stack);
    claim.client.port = port;
    this.#byRow[row] = port;
    claim.position = this.#active.push(claim) - 1;
    this.#counters.set(Counter.CLAIMS_NOW, this.#active.length);
    return claim;
  }

  /** The claim that the host calls `conn`, unless its flow has ended. */
  find(conn: number): Claim | undefined {
    const end = this.#byRow[conn & ROW_MASK]?.end;
    return end?.isClient === true && end.claim.conn === conn ? end.claim : undefined;
  }

  portOf(row: number): RowPort | undefined {
    return this.#byRow[row];
  }

  setPort(row: number, port: RowPort | undefined): void {
    this.#byRow[row] = port;
  }

  /** No script talks to it any more. */
  retire(claim: Claim, phase: typeof ClaimPhase.SPLICED | typeof ClaimPhase.OVER): void {
    claim.phase = phase;
    const { position } = claim;
    if (position < 0) return;
    claim.position = -1;
    const last = this.#active.pop();
    if (last !== undefined && last !== claim) {
      this.#active[position] = last;
      last.position = position;
    }
    this.#counters.set(Counter.CLAIMS_NOW, this.#active.length);
  }

  /** It has something to do, or to tell, at the end of the turn. */
  list(claim: Claim): void {
    if (claim.isListed) return;
    claim.isListed = true;
    this.#listed.push(claim);
  }

  /** Those that were listed, valid until the next call. Each may be listed again meanwhile. */
  takeListed(): readonly Claim[] {
    const taken = this.#listed;
    this.#listed = this.#current;
    this.#listed.length = 0;
    this.#current = taken;
    for (const claim of taken) claim.isListed = false;
    return taken;
  }
}
