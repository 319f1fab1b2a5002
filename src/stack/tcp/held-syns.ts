import type { Arena } from '../arena.ts';
import { Counter, type Counters } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** A power of two, several times the usual limit, so that sources seldom share a bucket. */
const BUCKETS = 8192;

/**
 * Counts the flows that are not open yet, in all and per source, so that one source cannot keep the
 * others out: a flow counts from its SYN until its owner has accepted it and its client has shown,
 * by its ACK, that it exists. A source is an IPv4 address or an IPv6 /64; sources are told apart by
 * a keyed hash, and two that share a bucket share its limit.
 *
 * From `cookiesFrom` flows on a SYN is answered with a cookie. A client that comes back with one
 * has proved that it is no spoofed source: it is not counted here, nor turned away.
 */
export class HeldSyns {
  #limit = 0;
  #limitPerSource = 0;
  #cookiesFrom = 0;
  readonly #perSource: Uint16Array;
  readonly #hash: HalfSipHash;
  readonly #view: DataView;
  readonly #counters: Counters;
  #held = 0;

  static readonly BYTES = BUCKETS * 2 + 64;

  constructor(
    arena: Arena,
    limit: number,
    limitPerSource: number,
    cookiesFrom: number,
    hash: HalfSipHash,
    counters: Counters,
  ) {
    this.#perSource = new Uint16Array(arena.buffer, arena.take(BUCKETS * 2), BUCKETS).fill(0);
    this.#hash = hash;
    this.#view = arena.view;
    this.#counters = counters;
    this.setLimits(limit, limitPerSource, cookiesFrom);
    counters.set(Counter.HELD_SYNS_NOW, 0);
  }

  /** Flows that are held already stay, also beyond a limit that is lower than before. */
  setLimits(limit: number, limitPerSource: number, cookiesFrom: number): void {
    this.#limit = limit;
    this.#limitPerSource = limitPerSource;
    this.#cookiesFrom = cookiesFrom;
    this.#counters.set(Counter.HELD_SYNS_LIMIT_NOW, limit);
    this.#counters.set(Counter.HELD_SYNS_SOURCE_LIMIT_NOW, limitPerSource);
  }

  bucketOf(sourceAt: number, addressLength: number): number {
    this.#hash.start();
    this.#hash.word(this.#view.getInt32(sourceAt));
    if (addressLength === 16) this.#hash.word(this.#view.getInt32(sourceAt + 4));
    return this.#hash.finish() % BUCKETS;
  }

  /** Whether SYNs get cookies; never, when `cookiesFrom` is the limit itself. */
  get isPressed(): boolean {
    return this.#cookiesFrom < this.#limit && this.#held >= this.#cookiesFrom;
  }

  /** Whether there is room for one more. */
  check(bucket: number): DropReason {
    if (this.#held >= this.#limit) return DropReason.HELD_SYN_LIMIT;
    return this.#perSource[bucket]! >= this.#limitPerSource
      ? DropReason.HELD_SYN_SOURCE_LIMIT
      : DropReason.NONE;
  }

  take(tcb: Tcb, bucket: number): void {
    this.#held += 1;
    this.#perSource[bucket]! += 1;
    tcb.sourceBucket = bucket;
    tcb.raise(TcbFlag.HELD_COUNTED);
    this.#counters.set(Counter.HELD_SYNS_NOW, this.#held);
  }

  release(tcb: Tcb): void {
    if (!tcb.has(TcbFlag.HELD_COUNTED)) return;
    tcb.lower(TcbFlag.HELD_COUNTED);
    this.#held -= 1;
    this.#perSource[tcb.sourceBucket]! -= 1;
    this.#counters.set(Counter.HELD_SYNS_NOW, this.#held);
  }
}
