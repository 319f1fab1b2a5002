/**
 * How many sockets sessions may have, in all and per source. The oldest session of a source gives
 * way to a new one of the same source; when all sockets are in use, so does an old one that nobody
 * has answered. A source is an IPv4 address or an IPv6 /64, told apart by a keyed hash; two that
 * share a bucket share its bound, as those of held SYNs do.
 */
import { FlowField, TrackBit } from '../../../stack/flow-row.ts';
import type { FlowTable } from '../../../stack/flow-table.ts';
import type { HalfSipHash } from '../../../stack/sip-hash.ts';
import { NO_ROW, RowQueues } from '../row-queues.ts';

/** A power of two, several times the number of sources that are busy at once. */
const BUCKETS = 8192;
const ALL = 0;
/** How many of the oldest are looked at for one that has no answer: the work is bounded. */
const CANDIDATES = 16;

export class SessionBounds {
  readonly #flows: Pick<FlowTable, 'capacity' | 'rowAt'>;
  #limit: number;
  #perSource: number;
  readonly #hash: HalfSipHash;
  readonly #view: DataView;
  readonly #all: RowQueues;
  readonly #bySource: RowQueues;

  constructor(
    flows: Pick<FlowTable, 'capacity' | 'rowAt'>,
    view: DataView,
    limit: number,
    perSource: number,
    hash: HalfSipHash,
  ) {
    this.#flows = flows;
    this.#limit = limit;
    this.#perSource = perSource;
    this.#hash = hash;
    this.#view = view;
    this.#all = new RowQueues(1, flows.capacity);
    this.#bySource = new RowQueues(BUCKETS, flows.capacity);
  }

  /** Sessions beyond a limit that is lower than before live on, and none begins. */
  setLimits(limit: number, perSource: number): void {
    this.#limit = limit;
    this.#perSource = perSource;
  }

  get count(): number {
    return this.#all.size(ALL);
  }

  /** Sockets are all in use. */
  get isFull(): boolean {
    return this.count >= this.#limit;
  }

  /**
   * Who has to give way before a session of the flow at `flowAt` may begin.
   *
   * @returns its row, or NO_ROW: nobody has to, or nobody can when `isFull`
   */
  victim(flowAt: number): number {
    const bucket = this.#bucketOf(flowAt);
    const ofSource = this.#bySource.oldest(bucket);
    if (this.#bySource.size(bucket) >= this.#perSource) return ofSource;
    if (!this.isFull) return NO_ROW;
    return ofSource === NO_ROW ? this.#oldestUnanswered() : ofSource;
  }

  add(row: number, flowAt: number): void {
    this.#all.push(ALL, row);
    this.#bySource.push(this.#bucketOf(flowAt), row);
  }

  remove(row: number): void {
    this.#all.remove(row);
    this.#bySource.remove(row);
  }

  #oldestUnanswered(): number {
    let row = this.#all.oldest(ALL);
    for (let i = 0; i < CANDIDATES && row !== NO_ROW; i++) {
      const bits = this.#view.getUint8(this.#flows.rowAt(row) + FlowField.TRACK_BITS);
      if ((bits & TrackBit.SEEN_REPLY) === 0) return row;
      row = this.#all.after(row);
    }
    return NO_ROW;
  }

  #bucketOf(flowAt: number): number {
    const sourceAt = flowAt + FlowField.SOURCE;
    this.#hash.start();
    this.#hash.word(this.#view.getInt32(sourceAt));
    if (this.#view.getUint8(flowAt + FlowField.FAMILY) === 6) {
      this.#hash.word(this.#view.getInt32(sourceAt + 4));
    }
    return this.#hash.finish() % BUCKETS;
  }
}
