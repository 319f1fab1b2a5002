/**
 * Takes out flows whose time is over, a few rows at a time: live flows must not wait for a walk
 * over a large table. A packet that meets an expired flow ends it anyhow; this is for those that
 * nobody meets again.
 */
import type { Arena } from '../arena.ts';
import { Carrier, FlowField, TrackBit, TrackState } from '../flow-row.ts';
import { type FlowTable, NO_FLOW } from '../flow-table.ts';
import { after, type Duration, type Instant, millis, NEVER, seconds } from '../time.ts';

/** Rows of one step: some 50 microseconds, most of which memory takes. */
const STEP_ROWS = 1024;
const MIN_INTERVAL_US = millis(10);
const MAX_INTERVAL_US = seconds(5);
/** The whole table is looked at in this time. */
const ROUND_US = seconds(60);
/** When more of the rows of a step had expired, the next one follows soon. */
const MANY_EXPIRED = 0.5;
/** Otherwise the next one follows so much later than the last. */
const SLOWER = 1.5;
/** Rows that are looked at for one that can give way. */
const VICTIM_ROWS = 64;

export class Reaper {
  readonly #view: DataView;
  readonly #flows: FlowTable;
  readonly #expire: (row: number, now: Instant) => void;
  #next = 0;
  #victimNext = 0;
  #interval = MIN_INTERVAL_US;
  #at = NEVER;

  /** @param expire  ends a flow whose time is over */
  constructor(arena: Arena, flows: FlowTable, expire: (row: number, now: Instant) => void) {
    this.#view = arena.view;
    this.#flows = flows;
    this.#expire = expire;
  }

  /** When `run` wants to be called. */
  get nextAt(): Instant {
    return this.#at;
  }

  /** There are flows that can expire. */
  start(now: Instant): void {
    if (this.#at === NEVER) this.#at = after(now, this.#interval);
  }

  /** There are none any more. */
  stop(): void {
    this.#at = NEVER;
    this.#interval = MIN_INTERVAL_US;
  }

  /** One step, when it is due. */
  run(now: Instant): void {
    if (now < this.#at) return;
    const { end } = this.#flows;
    // Of a table so large that steps of this size would take too long, more at a time.
    const rows = Math.min(end, Math.max(STEP_ROWS, Math.ceil((end * MIN_INTERVAL_US) / ROUND_US)));
    let seen = 0;
    let expired = 0;
    for (let i = 0; i < rows; i++) {
      if (this.#next >= end) this.#next = 0;
      const row = this.#next++;
      if (!this.#isWatched(row)) continue;
      seen += 1;
      if (!this.#isExpired(row, now)) continue;
      expired += 1;
      this.#expire(row, now);
    }
    const longest = Math.min(MAX_INTERVAL_US, (ROUND_US * rows) / Math.max(end, 1));
    const hasMany = expired > seen * MANY_EXPIRED;
    const next = hasMany ? MIN_INTERVAL_US : Math.min(this.#interval * SLOWER, longest);
    this.#interval = next as Duration;
    if (this.#at !== NEVER) this.#at = after(now, this.#interval);
  }

  /**
   * A flow that can give way when the table is full: it has expired, was never answered, or is
   * about to be over. Only a few rows are looked at; the next call goes on behind them.
   */
  findVictim(now: Instant): number {
    const { end } = this.#flows;
    const rows = Math.min(end, VICTIM_ROWS);
    let found = NO_FLOW;
    for (let i = 0; i < rows; i++) {
      if (this.#victimNext >= end) this.#victimNext = 0;
      const row = this.#victimNext++;
      if (!this.#isWatched(row)) continue;
      if (this.#isExpired(row, now) || this.#isOver(row)) return row;
      if (found === NO_FLOW && !this.#hasBit(row, TrackBit.ASSURED)) found = row;
      else if (!this.#hasBit(row, TrackBit.SEEN_REPLY)) return row;
    }
    return found;
  }

  #isWatched(row: number): boolean {
    const at = this.#flows.rowAt(row);
    const view = this.#view;
    const carrier = view.getUint8(at + FlowField.CARRIER);
    return (
      (carrier === Carrier.NAT || carrier === Carrier.SESSION) &&
      view.getFloat64(at + FlowField.SERIAL, true) !== 0
    );
  }

  #isExpired(row: number, now: Instant): boolean {
    const at = this.#flows.rowAt(row) + FlowField.EXPIRES_AT;
    return this.#view.getFloat64(at, true) <= now;
  }

  #isOver(row: number): boolean {
    const state = this.#view.getUint8(this.#flows.rowAt(row) + FlowField.TRACK_STATE);
    return state === TrackState.TIME_WAIT || state === TrackState.CLOSE;
  }

  #hasBit(row: number, bit: number): boolean {
    const at = this.#flows.rowAt(row) + FlowField.TRACK_BITS;
    return (this.#view.getUint8(at) & bit) !== 0;
  }
}
