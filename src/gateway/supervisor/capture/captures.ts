/** Captures that run: a few, each with a client that reads its file while it grows. */
import { monotonicNanoseconds } from '../../../ffi/clock.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { parseFilter } from '../../flow-filter/parse.ts';
import { captureRing, RecordField } from '../../messages/capture-ring.ts';
import type { CaptureOrder } from '../../messages/control.ts';
import type { SharedRing } from '../../messages/shared-ring.ts';
import { Capture, type CaptureRequest } from './capture.ts';
import { ORDER_WINDOW_NS } from './time-order.ts';

/** Each costs the data plane a look at every packet. */
const CAPTURES_MAX = 4;
/** The ring holds what a busy gateway moves in some ten milliseconds. */
const POLL_MS = 5;
const NS_PER_MS = 1_000_000n;

export class TooManyCapturesError extends Error {
  override readonly name = 'TooManyCapturesError';
  readonly code = 'TOO_MANY_CAPTURES';

  constructor() {
    super(`${CAPTURES_MAX} captures run already`);
  }
}

export interface CapturesOptions {
  /** Of the rings, one for each data plane. */
  readonly memories: readonly ArrayBuffer[];
  readonly mtu: () => number;
  readonly context: () => FlowContext;
  /** Packets so far that the data planes had no room for. */
  readonly lost: () => number;
  /** Tells the data planes what is wanted. */
  readonly order: (orders: readonly CaptureOrder[]) => void;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly now?: () => number;
}

export class Captures {
  readonly #options: CapturesOptions;
  readonly #rings: readonly SharedRing[];
  /** By slot. */
  readonly #running = new Map<number, Capture>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #last = 0;

  constructor(options: CapturesOptions) {
    this.#options = options;
    this.#rings = options.memories.map(captureRing);
  }

  /** @throws FilterError, TooManyCapturesError */
  start(request: CaptureRequest): Capture {
    const test = parseFilter(request.filter);
    const slot = Array.from({ length: CAPTURES_MAX }, (_, index) => index).find(
      (index) => !this.#running.has(index),
    );
    if (slot === undefined) throw new TooManyCapturesError();
    const { context, lost, mtu } = this.#options;
    // What an earlier capture has left in the rings is not ours.
    if (this.#running.size === 0) for (const ring of this.#rings) ring.read(() => {});
    const capture = new Capture(request, {
      ...{ slot, test, lost, number: ++this.#last, isMerged: this.#rings.length > 1 },
      mtu: mtu(),
      iface: context().iface,
      epoch: BigInt(Date.now()) * NS_PER_MS - BigInt(monotonicNanoseconds()),
      onEnding: () => this.poll(),
      onClosed: () => this.#remove(slot),
    });
    this.#running.set(slot, capture);
    this.#timer ??= setInterval(() => this.poll(), POLL_MS);
    this.#order();
    return capture;
  }

  /** Takes what the data planes have written. */
  poll(): void {
    const { context, now = monotonicNanoseconds } = this.#options;
    // Before it is read: what comes while we read one queue may be earlier than what another had.
    const until = now() - ORDER_WINDOW_NS;
    const facts = context();
    for (const ring of this.#rings) this.#take(ring, facts);
    for (const capture of this.#running.values()) {
      capture.release(until);
      capture.tellLost();
    }
  }

  /** Ends all of them. */
  close(): void {
    for (const capture of [...this.#running.values()]) capture.end();
  }

  #take(ring: SharedRing, context: FlowContext): void {
    const { view } = ring;
    ring.read((at) => {
      const wantedBy = view.getUint8(at + RecordField.WANTED_BY);
      const newest = view.getUint32(at + RecordField.NEWEST, true);
      for (const [slot, capture] of this.#running) {
        // One that is newer than what was known there: its slot was that of another.
        if ((wantedBy & (1 << slot)) === 0 || newest < capture.order.number) continue;
        capture.take(view, at, at + RecordField.ROW, context);
      }
    });
  }

  #remove(slot: number): void {
    this.#running.delete(slot);
    if (this.#running.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    this.#order();
  }

  #order(): void {
    this.#options.order([...this.#running.values()].map(({ order }) => order));
  }
}
