/**
 * Captured packets, from the data plane to the supervisor: a ring in memory that both map. There is
 * one writer and one reader, neither waits: what finds no room is not written.
 *
 *   | head | tail | … | record | record | pad |
 *
 * A record never goes round the end: where it does not fit, a pad fills what is left. Positions are
 * of 32 bits and go on beyond the size of the ring, which is a power of two.
 */
import { FLOW_ROW_BYTES } from '../../stack/flow-row.ts';

/** Positions, of 32 bits each: of the writer and of the reader. */
const HEAD = 0;
const TAIL = 1;
const HEADER_BYTES = 64;
const RING_BYTES = 16 * 1024 * 1024;
/** Length of the shared memory. */
export const CAPTURE_RING_BYTES = HEADER_BYTES + RING_BYTES;
const ALIGNMENT = 8;

/** Fields of a record, in host order; behind them lie the row of the flow and the packet. */
export const RecordField = {
  /** uint32: of the whole record; of a pad too. */
  LENGTH: 0,
  /** uint8: a bit for each capture that wants it; 0 for one that nobody does. */
  WANTED_BY: 4,
  /** uint8: PacketWay. */
  WAY: 5,
  /** uint8: DropReason. */
  REASON: 6,
  /** uint8: why it leaves, one of the counters `OUT_…`. */
  CAUSE: 7,
  /** uint32: bytes of the packet that are here, and that it has. */
  CAPTURED: 8,
  PACKET_LENGTH: 12,
  /** float64: nanoseconds of CLOCK_MONOTONIC. */
  TIME: 16,
  /** uint16: payload bytes of each packet of a superpacket, else 0. */
  GSO_SIZE: 24,
  /** uint16, counted from the IP header: what is to be summed, and where the sum goes; else 0. */
  CHECKSUM_FROM: 26,
  CHECKSUM_AT: 28,
  /** The row of the flow, or one that has the packet's ends alone and serial number 0. */
  ROW: 32,
  PACKET: 32 + FLOW_ROW_BYTES,
} as const;

export const PacketWay = {
  /** Into the gateway, out of it. */
  IN: 0,
  OUT: 1,
  /** It had come in earlier. */
  LATER: 2,
} as const;
export type PacketWay = (typeof PacketWay)[keyof typeof PacketWay];

/** No room for a record. */
export const NO_RECORD = -1;

export class CaptureRing {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly #positions: Int32Array;
  /** Of the writer, ahead of what the reader sees. */
  #head: number;

  constructor(buffer: ArrayBuffer) {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.#positions = new Int32Array(buffer, 0, 2);
    this.#head = this.#load(HEAD);
  }

  /** Begins a record for so many bytes of a packet. @returns its position, or NO_RECORD */
  begin(captured: number): number {
    const length = roundUp(RecordField.PACKET + captured);
    const toEnd = RING_BYTES - (this.#head & (RING_BYTES - 1));
    const pad = length > toEnd ? toEnd : 0;
    if (this.#used + pad + length > RING_BYTES) return NO_RECORD;
    if (pad > 0) {
      this.view.setUint32(this.#at(this.#head), pad, true);
      this.view.setUint8(this.#at(this.#head) + RecordField.WANTED_BY, 0);
      this.#head = (this.#head + pad) >>> 0;
    }
    const at = this.#at(this.#head);
    this.view.setUint32(at + RecordField.LENGTH, length, true);
    this.#head = (this.#head + length) >>> 0;
    return at;
  }

  /** Takes back a record that nobody wants; where others follow, it is skipped by its reader. */
  takeBack(at: number): void {
    const length = this.view.getUint32(at + RecordField.LENGTH, true);
    this.view.setUint8(at + RecordField.WANTED_BY, 0);
    const end = (this.#head - length) >>> 0;
    if (this.#at(end) === at) this.#head = end;
  }

  /** All that was begun is complete. */
  publish(): void {
    Atomics.store(this.#positions, HEAD, this.#head | 0);
  }

  /** Hands over what is published, oldest first, and makes room of it. */
  read(onRecord: (at: number) => void): void {
    const head = this.#load(HEAD);
    let tail = this.#load(TAIL);
    while (tail !== head) {
      const at = this.#at(tail);
      // The writer may have died inside a record that was there before it: begin afresh.
      const length = this.view.getUint32(at + RecordField.LENGTH, true);
      if (length < ALIGNMENT || length > (head - tail) >>> 0) break;
      if (this.view.getUint8(at + RecordField.WANTED_BY) !== 0) onRecord(at);
      tail = (tail + length) >>> 0;
    }
    Atomics.store(this.#positions, TAIL, head | 0);
  }

  get #used(): number {
    return (this.#head - this.#load(TAIL)) >>> 0;
  }

  #load(which: number): number {
    return Atomics.load(this.#positions, which) >>> 0;
  }

  #at(position: number): number {
    return HEADER_BYTES + (position & (RING_BYTES - 1));
  }
}

const roundUp = (bytes: number): number => (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
