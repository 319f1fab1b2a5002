/**
 * Reads the device: until it would block, or a batch is full. With virtio-net headers each frame
 * may be a superpacket, and goes into the stack as it comes. Without them a batch of packets is
 * read first, and runs of one flow are made superpackets (stack/frame-batch.ts), so that all that
 * lies above works on the same few large segments.
 */
import type { Counters } from '../../../stack/counters.ts';
import { Counter } from '../../../stack/counters.ts';
import { FRAME_BYTES } from '../../../stack/layout.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';

/** Frames per turn: enough to share a wake-up, few enough that sockets do not wait long. */
const FRAME_BATCH = 64;
/** Packets per turn where each is one MTU: two superpackets of TCP. */
const PACKET_BATCH = 96;

export interface FrameSource {
  /** Frames start with a virtio-net header. */
  readonly vnetHeader: boolean;
  /** Reads one frame to a position of the arena. @returns its length, 0 when there is none */
  read(at: number, length: number): number;
}

export class TunInput {
  readonly #stack: Stack;
  readonly #counters: Counters;

  constructor(stack: Stack, counters: Counters) {
    this.#stack = stack;
    this.#counters = counters;
  }

  /** Reads what is there, a batch at most. @returns frames read */
  readBatch(source: FrameSource, now: Instant): number {
    const count = source.vnetHeader ? this.#frames(source, now) : this.#packets(source, now);
    if (count > 0) {
      this.#counters.add(Counter.DEVICE_READ_BATCHES);
      if (count === (source.vnetHeader ? FRAME_BATCH : PACKET_BATCH)) {
        this.#counters.add(Counter.DEVICE_READ_BATCHES_FULL);
      }
    }
    return count;
  }

  #frames(source: FrameSource, now: Instant): number {
    const { frameAt } = this.#stack;
    for (let count = 0; count < FRAME_BATCH; count++) {
      const length = source.read(frameAt, FRAME_BYTES);
      if (length === 0) return count;
      this.#stack.ingest(frameAt, length, now, true);
    }
    return FRAME_BATCH;
  }

  #packets(source: FrameSource, now: Instant): number {
    const batch = this.#stack.frameBatch;
    let count = 0;
    while (count < PACKET_BATCH && batch.hasRoom) {
      const length = source.read(batch.nextAt, FRAME_BYTES);
      if (length === 0) break;
      batch.push(length, now);
      count += 1;
    }
    if (count > 0) batch.flush(now);
    return count;
  }
}
