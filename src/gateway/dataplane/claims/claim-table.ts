/**
 * The claims: by the row of an end, those that a script talks to, those without a client by their
 * numbers, and those with work to do.
 */
import { Counter, type Counters } from '../../../stack/counters.ts';
import type { Stack } from '../../../stack/stack.ts';
import { FIRST_OWN_CONN } from '../../messages/conn.ts';
import { SlabQueue } from '../forward/slab-queue.ts';
import { RowPort } from '../row-port.ts';
import { Claim, ClaimPhase, NO_CLIENT } from './claim.ts';

/** Rows have 24 bits of a conn; the others count the claims of a row, so that each has its own. */
const ROW_BITS = 24;
const ROW_MASK = (1 << ROW_BITS) - 1;
/** The highest byte of a conn is less than that of FIRST_OWN_CONN. */
const TURNS = FIRST_OWN_CONN >>> ROW_BITS;

export class ClaimTable {
  /** Claims that scripts may talk to at a time. */
  limit = 0;
  readonly #stack: Stack;
  readonly #counters: Counters;
  /** Rows of clients, and of sockets that were dialled into the device. */
  readonly #byRow: (RowPort | undefined)[];
  readonly #turns: Uint8Array;
  readonly #active: Claim[] = [];
  readonly #own = new Map<number, Claim>();
  #listed: Claim[] = [];
  #current: Claim[] = [];

  constructor(stack: Stack, counters: Counters) {
    this.#stack = stack;
    this.#counters = counters;
    this.#byRow = Array.from({ length: stack.flows.capacity });
    this.#turns = new Uint8Array(stack.flows.capacity);
    counters.set(Counter.CLAIMS_NOW, 0);
  }

  /** Those that a script talks to. */
  get active(): readonly Claim[] {
    return this.#active;
  }

  /** Those without a client. */
  get own(): ReadonlyMap<number, Claim> {
    return this.#own;
  }

  get isFull(): boolean {
    return this.#active.length >= this.limit;
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
    this.#turns[row] = (this.#turns[row]! + 1) % TURNS;
    const conn = ((this.#turns[row]! << ROW_BITS) | row) >>> 0;
    const claim = new Claim({ row, conn, epoch, requestId }, this.newQueue());
    const port = new RowPort(claim.client, row, this.#stack);
    claim.client.port = port;
    this.#byRow[row] = port;
    claim.position = this.#active.push(claim) - 1;
    this.#counters.set(Counter.CLAIMS_NOW, this.#active.length);
    return claim;
  }

  /** What a script dials without a client, under a number of the host's choosing. */
  addOwn(conn: number, epoch: number): Claim {
    const claim = new Claim({ row: NO_CLIENT, conn, epoch, requestId: 0 }, this.newQueue());
    claim.phase = ClaimPhase.OPEN;
    claim.isOpenTold = true;
    this.#own.set(conn, claim);
    return claim;
  }

  removeOwn(claim: Claim): void {
    if (this.#own.get(claim.conn) === claim) this.#own.delete(claim.conn);
  }

  /** The claim that the host calls `conn`, unless it has ended. */
  find(conn: number): Claim | undefined {
    if (conn >= FIRST_OWN_CONN) {
      const own = this.#own.get(conn);
      return own?.phase === ClaimPhase.OPEN ? own : undefined;
    }
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
