/**
 * The splice of a claimed flow with a connection that was dialled into the device: both ends are
 * connections of our TCP, in two rows.
 *
 * A call of the stack about one row may not touch the other, so it only lists the row, and bytes
 * are moved when the turn of the loop comes to an end. What waits in one row's slabs is copied to
 * slabs of the other as far as that has room: what is slow on one side closes the window of the
 * other.
 */
import { CloseReason } from '../../../stack/close-reason.ts';
import { ClosedBy, FlowField, Service } from '../../../stack/flow-row.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../../stack/slab-pool.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';
import { isOverByteLimit } from '../byte-limit.ts';
import type { FlowService } from '../flow-service.ts';
import { STARVED_WAIT_MS } from '../next-turn.ts';

/** Superpackets that a row may move before the others have their turn. */
const SHARE = 8;

/** One direction of a pair: bytes that arrive in `row` leave by that of `other`. */
interface Direction {
  readonly row: number;
  /** The row that the client's limits stand in. */
  readonly flowRow: number;
  other: Direction | undefined;
  hasEnded: boolean;
  isFinished: boolean;
  isListed: boolean;
  /** Why the other row ended first; NONE while both live. */
  ending: CloseReason;
}

/** Reasons that hold for both connections of a pair; any other is a failure of one far end. */
const SHARED_REASONS: readonly number[] = [
  CloseReason.EOF,
  CloseReason.IDLE,
  CloseReason.HALF_CLOSE_TIMEOUT,
  CloseReason.KILLED,
  CloseReason.DRAIN,
  CloseReason.LIMIT,
];

export class Relay implements FlowService {
  readonly #stack: Stack;
  readonly #byRow: (Direction | undefined)[];
  #listed: Direction[] = [];
  #current: Direction[] = [];
  #isStarved = false;
  /** Where the bytes go that are taken now. */
  #into = 0;
  #wanted = 0;
  #got = 0;

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#byRow = Array.from({ length: stack.flows.capacity });
  }

  /** Milliseconds that the loop may sleep: as `NextTurn.patienceMs`. */
  get patienceMs(): number {
    if (this.#listed.length === 0) return Number.POSITIVE_INFINITY;
    return this.#isStarved ? STARVED_WAIT_MS : 0;
  }

  /**
   * Joins the flow in `row`, whose limits hold, with the connection in `dialed`.
   *
   * @param rowEnded, dialedEnded  the end's FIN was read already
   */
  join(row: number, rowEnded: boolean, dialed: number, dialedEnded: boolean): void {
    const { view } = this.#stack.arena;
    for (const one of [row, dialed]) {
      view.setUint8(this.#stack.rowAt(one) + FlowField.SERVICE, Service.RELAY);
    }
    const up = this.#direction(row, row, rowEnded);
    const down = this.#direction(dialed, row, dialedEnded);
    up.other = down;
    down.other = up;
    this.#list(up);
    this.#list(down);
  }

  onEstablished(): void {
    throw new Error('a row is joined only when its handshake is done');
  }

  onData(row: number, at: number, length: number): number {
    const direction = this.#byRow[row];
    if (direction?.other === undefined) return length;
    if (this.#wanted === 0) {
      this.#list(direction);
      return 0;
    }
    const taken = Math.min(length, this.#wanted - this.#got);
    this.#stack.arena.bytes.copyWithin(this.#into + this.#got, at, at + taken);
    this.#got += taken;
    return taken;
  }

  onWaiting(row: number): void {
    this.#list(this.#byRow[row]);
  }

  onFin(row: number): void {
    const direction = this.#byRow[row];
    if (direction === undefined) return;
    direction.hasEnded = true;
    this.#list(direction);
  }

  /** There is room in `row` for what the other row has. */
  onRoom(row: number): void {
    this.#list(this.#byRow[row]?.other);
  }

  release(row: number): void {
    const direction = this.#byRow[row];
    if (direction === undefined) return;
    this.#byRow[row] = undefined;
    const { other } = direction;
    if (other === undefined) return;
    other.other = undefined;
    const reason = this.#stack.arena.view.getUint8(
      this.#stack.rowAt(row) + FlowField.CLOSE_REASON,
    ) as CloseReason;
    other.ending = SHARED_REASONS.includes(reason) ? reason : CloseReason.UPSTREAM_RESET;
    this.#list(other);
  }

  /** Moves what is there to be moved. */
  run(now: Instant): void {
    if (this.#listed.length === 0) return;
    const current = this.#listed;
    this.#listed = this.#current;
    this.#current = current;
    this.#isStarved = false;
    for (const direction of current) {
      direction.isListed = false;
      if (this.#byRow[direction.row] === direction) this.#move(direction, now);
    }
    current.length = 0;
  }

  #move(direction: Direction, now: Instant): void {
    const stack = this.#stack;
    const { row, other, ending } = direction;
    if (other === undefined) {
      this.#end(row, ending, now);
      return;
    }
    for (let share = 0; stack.waiting(row) > 0; share++) {
      if (share === SHARE) {
        this.#list(direction);
        return;
      }
      if (!this.#moveSlab(row, other.row, now)) return;
      if (this.#byRow[row] !== direction) return;
      if (this.#isOverLimit(direction.flowRow)) {
        stack.abort(direction.flowRow, CloseReason.LIMIT, ClosedBy.LIMIT, now);
        return;
      }
    }
    if (!direction.hasEnded || direction.isFinished) return;
    direction.isFinished = true;
    stack.close(other.row, now);
  }

  /** The other row is no more. */
  #end(row: number, reason: CloseReason, now: Instant): void {
    // Both of its FINs have passed, and the one of this row is still to be sent.
    if (reason === CloseReason.EOF) this.#stack.close(row, now);
    else {
      const isOurs = reason !== CloseReason.UPSTREAM_RESET;
      const by = isOurs ? ClosedBy.GATEWAY : ClosedBy.UPSTREAM;
      this.#stack.abort(row, reason, by, now);
    }
  }

  /** @returns false when there is no room, or no slab */
  #moveSlab(row: number, to: number, now: Instant): boolean {
    const stack = this.#stack;
    const room = stack.room(to, now);
    if (room === 0) return false;
    const wanted = Math.min(room, stack.superpacketBytes(to), stack.waiting(row));
    const slabAt = stack.slabs.take(wanted);
    if (slabAt === NO_SLAB) {
      this.#isStarved = true;
      this.#list(this.#byRow[row]);
      return false;
    }
    this.#into = slabAt + SLAB_PAYLOAD_AT;
    this.#wanted = wanted;
    this.#got = 0;
    stack.drainBacklog(row, now);
    this.#wanted = 0;
    stack.transmit(to, slabAt, this.#got, now);
    return true;
  }

  #isOverLimit(flowRow: number): boolean {
    return isOverByteLimit(this.#stack.arena.view, this.#stack.rowAt(flowRow));
  }

  #direction(row: number, flowRow: number, hasEnded: boolean): Direction {
    const direction: Direction = {
      row,
      flowRow,
      other: undefined,
      hasEnded,
      isFinished: false,
      isListed: false,
      ending: CloseReason.NONE,
    };
    this.#byRow[row] = direction;
    return direction;
  }

  #list(direction: Direction | undefined): void {
    if (direction === undefined || direction.isListed) return;
    direction.isListed = true;
    this.#listed.push(direction);
  }
}
