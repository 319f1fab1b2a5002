/**
 * One direction of a link, as arithmetic: a packet goes in at a time, and what comes of it is when
 * it arrives. A queue in front of a wire of a given rate, then a delay; on the way packets are
 * lost, doubled, damaged or overtaken. The same seed and the same packets give the same fates. Both
 * the simulation (on a clock moved by hand) and the relay of the bench (on the real one) use it.
 */

/** Shares are of 1: 0.01 is one packet in a hundred. */
export interface LaneShape {
  readonly bitsPerSecond: number;
  /** From the end of the wire to the arrival. */
  readonly delayUs: number;
  /** What may wait for the wire; a packet that does not fit is dropped. */
  readonly queueBytes: number;
  readonly loss: number;
  readonly duplicate: number;
  /** Packets that are late by up to `lateByUs`, so that others overtake them. */
  readonly late: number;
  readonly lateByUs: number;
  /** Packets in which a bit is turned over. */
  readonly corrupt: number;
  /** Longer packets vanish, and nobody says so: a black hole. All lengths pass by default. */
  readonly longestBytes?: number;
  /** Nothing passes in this time, in microseconds since the first packet. */
  readonly silence?: { readonly fromUs: number; readonly untilUs: number };
}

/** What happened to the packets so far. */
export interface LaneCounts {
  packets: number;
  bytes: number;
  /** Dropped because the queue was full. */
  overflowed: number;
  lost: number;
  duplicated: number;
  late: number;
  corrupted: number;
}

/** A wire without faults. */
export const CLEAN = { loss: 0, duplicate: 0, late: 0, lateByUs: 0, corrupt: 0 } as const;

/** xorshift32, Marsaglia 2003: numbers from 0 up to and without 1. */
export function randomShares(seed: number): () => number {
  // Neighbouring seeds must not begin alike: the finalizer of MurmurHash3 takes them apart.
  let x = Math.imul(seed ^ (seed >>> 16), 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
  x = x ^ (x >>> 16) || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

export class Lane {
  readonly shape: LaneShape;
  readonly counts: LaneCounts = {
    packets: 0,
    bytes: 0,
    overflowed: 0,
    lost: 0,
    duplicated: 0,
    late: 0,
    corrupted: 0,
  };
  /** Copies of the last packet that arrive: 0, 1 or 2. */
  copies = 0;
  /** When the last packet arrives, in microseconds. */
  dueUs = 0;
  /** Bit of the last packet that arrives turned over; -1 when it is whole. */
  corruptBit = -1;
  readonly #random: () => number;
  /** When the wire has sent all that waits. */
  #freeAtUs = 0;
  /** When the first packet came; before it, -1. */
  #startedAtUs = -1;

  constructor(shape: LaneShape, seed: number) {
    this.shape = shape;
    this.#random = randomShares(seed);
  }

  /** Decides about a packet that is sent now; the answer is in `copies`, `dueUs`, `corruptBit`. */
  admit(nowUs: number, byteLength: number): void {
    const { shape, counts } = this;
    const random = this.#random;
    // As many numbers for each packet, whatever becomes of it: its fate depends on its place alone.
    const [isLost, isDouble, isLate] = [
      random() < shape.loss,
      random() < shape.duplicate,
      random() < shape.late,
    ];
    const [isCorrupt, lateShare, bitShare] = [random() < shape.corrupt, random(), random()];
    counts.packets += 1;
    counts.bytes += byteLength;
    this.copies = 0;
    const startUs = Math.max(nowUs, this.#freeAtUs);
    const waitingBytes = ((startUs - nowUs) * shape.bitsPerSecond) / 8e6;
    if (waitingBytes + byteLength > shape.queueBytes) {
      counts.overflowed += 1;
      return;
    }
    this.#freeAtUs = startUs + (byteLength * 8e6) / shape.bitsPerSecond;
    const isTooLong = byteLength > (shape.longestBytes ?? Number.POSITIVE_INFINITY);
    if (isLost || isTooLong || this.#isSilent(nowUs)) {
      counts.lost += 1;
      return;
    }
    this.copies = isDouble ? 2 : 1;
    this.dueUs = this.#freeAtUs + shape.delayUs + (isLate ? lateShare * shape.lateByUs : 0);
    this.corruptBit = isCorrupt ? Math.floor(bitShare * byteLength * 8) : -1;
    if (isDouble) counts.duplicated += 1;
    if (isLate) counts.late += 1;
    if (isCorrupt) counts.corrupted += 1;
  }

  #isSilent(nowUs: number): boolean {
    if (this.#startedAtUs < 0) this.#startedAtUs = nowUs;
    const { silence } = this.shape;
    const sinceUs = nowUs - this.#startedAtUs;
    return silence !== undefined && sinceUs >= silence.fromUs && sinceUs < silence.untilUs;
  }
}
