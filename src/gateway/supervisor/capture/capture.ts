/** One capture: what it wants, and the file that its client reads as it is made. */

import type { RowTest } from '../../flow-filter/fields.ts';
import type { FlowContext } from '../../flow-filter/flow-context.ts';
import { RecordField } from '../../messages/capture-ring.ts';
import type { CaptureOrder } from '../../messages/control.ts';
import { buildInfo } from '../build-info.ts';
import { packetBlock } from './captured-packet.ts';
import { interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts';
import { TimeOrder } from './time-order.ts';

/** Bytes that may wait for a client that is slower than its packets. */
const BACKLOG_MAX = 16 * 1024 * 1024;
/** How much of a backlog leaves at once. */
const CHUNK_BYTES = 256 * 1024;
/** So that nobody on the way takes the silence for an end. */
const KEEPALIVE_MS = 60_000;
const NS_PER_MS = 1_000_000n;

export interface CaptureRequest {
  /** Text of a filter. */
  readonly filter: string;
  /** Only packets that are dropped: for this reason, or `any`. */
  readonly drops?: string | undefined;
  /** Bytes of a packet; more is cut off. */
  readonly snapLength: number;
  /** Packets after which it ends; 0 is never. */
  readonly count: number;
  /** Milliseconds; 0 is never. */
  readonly durationMs: number;
}

export interface CaptureSource extends Pick<CaptureOrder, 'slot' | 'number'> {
  /** Packets come from several queues, and have to be put in order. */
  readonly isMerged: boolean;
  /** The whole filter, with names and the time. */
  readonly test: (context: FlowContext) => RowTest;
  /** Nanoseconds since 1970 at the beginning of CLOCK_MONOTONIC. */
  readonly epoch: bigint;
  readonly iface: string;
  readonly mtu: number;
  /** Packets so far that the data plane had no room for. */
  readonly lost: () => number;
  /** What the data planes have written can be taken a last time. */
  readonly onEnding: () => void;
  readonly onClosed: () => void;
}

export class Capture {
  readonly order: CaptureOrder;
  readonly #request: CaptureRequest;
  readonly #source: CaptureSource;
  readonly #startedAt = now();
  readonly #lostBefore: number;
  readonly #merge = new TimeOrder();
  #blocks: Uint8Array[] = [];
  #waiting = 0;
  #received = 0;
  /** Packets that the client was too slow for, and how many were told of last. */
  #tooSlow = 0;
  #told = 0;
  #isEnded = false;
  #isClosed = false;
  #wake: (() => void) | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(request: CaptureRequest, source: CaptureSource) {
    const { filter, drops, snapLength, durationMs } = request;
    this.#request = request;
    this.#source = source;
    this.#lostBefore = source.lost();
    this.order = { slot: source.slot, number: source.number, filter, drops, snapLength };
    const what = drops === undefined ? 'packets' : `dropped packets (${drops})`;
    const comment = `${what} of ${filter === '' ? 'all flows' : filter}`;
    this.#push(sectionHeader(`culvert ${buildInfo.version}`, comment));
    const { iface, mtu } = source;
    this.#push(interfaceDescription(iface, `TUN device, MTU ${mtu}`, snapLength));
    if (durationMs > 0) this.#timer = setTimeout(() => this.end(), durationMs);
  }

  /** A record of the ring, which the data plane took for one of ours. */
  take(view: DataView, at: number, rowAt: number, context: FlowContext): void {
    if (this.#isEnded || !this.#source.test(context)(view, rowAt)) return;
    if (this.#waiting > BACKLOG_MAX) {
      this.#received++;
      this.#tooSlow++;
      return;
    }
    const block = packetBlock(view, at, this.#request.snapLength, this.#source.epoch, context);
    if (this.#source.isMerged)
      this.#merge.push(view.getFloat64(at + RecordField.TIME, true), block);
    else this.#add(block);
  }

  /** No packet comes any more with a time until then, in nanoseconds of CLOCK_MONOTONIC. */
  release(until: number): void {
    for (const block of this.#merge.take(until)) this.#add(block);
  }

  #add(block: Uint8Array): void {
    if (this.#isEnded) return;
    this.#received++;
    this.#push(block);
    const { count } = this.#request;
    if (count > 0 && this.#received >= count) this.#finish();
  }

  /**
   * What comes next in the file, as soon as there is something; statistics, when there is nothing
   * for a while; undefined at its end. Not while another call waits.
   */
  async next(keepaliveMs = KEEPALIVE_MS): Promise<Uint8Array | undefined> {
    while (this.#waiting === 0) {
      if (this.#isEnded || this.#isClosed) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(() => this.#pushStatistics(), keepaliveMs);
      await promise;
      clearTimeout(timer);
    }
    let taken = 0;
    let count = 0;
    while (count < this.#blocks.length && taken < CHUNK_BYTES) {
      taken += this.#blocks[count]?.length ?? 0;
      count++;
    }
    this.#waiting -= taken;
    return Buffer.concat(this.#blocks.splice(0, count));
  }

  /** Says in the file how many packets are missing, where there are more than were told. */
  tellLost(): void {
    if (this.#isEnded || this.#waiting > BACKLOG_MAX) return;
    if (this.#lost > this.#told) this.#pushStatistics();
  }

  /** The file is complete; what waits can still be read. */
  end(): void {
    if (this.#isEnded) return;
    this.#source.onEnding();
    this.release(Number.POSITIVE_INFINITY);
    this.#finish();
  }

  #finish(): void {
    if (this.#isEnded) return;
    this.#pushStatistics();
    this.#isEnded = true;
    this.#leave();
  }

  /** The client is gone. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#blocks = [];
    this.#waiting = 0;
    this.#merge.clear();
    if (!this.#isEnded) this.#leave();
    this.#isEnded = true;
  }

  get #lost(): number {
    return this.#source.lost() - this.#lostBefore + this.#tooSlow;
  }

  #leave(): void {
    clearTimeout(this.#timer);
    this.#source.onClosed();
    this.#wake?.();
  }

  #pushStatistics(): void {
    this.#told = this.#lost;
    this.#push(interfaceStatistics(this.#startedAt, now(), this.#received, this.#told));
  }

  #push(bytes: Uint8Array): void {
    this.#blocks.push(bytes);
    this.#waiting += bytes.length;
    this.#wake?.();
  }
}

const now = (): bigint => BigInt(Date.now()) * NS_PER_MS;
