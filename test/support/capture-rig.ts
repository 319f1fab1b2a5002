/** A stack, the tap of its data plane, and the captures of a supervisor, in one process. */
import { CaptureTap } from '../../src/gateway/dataplane/capture/capture-tap.ts';
import { CAPTURE_RING_BYTES } from '../../src/gateway/messages/capture-ring.ts';
import type { Capture, CaptureRequest } from '../../src/gateway/supervisor/capture/capture.ts';
import { Captures } from '../../src/gateway/supervisor/capture/captures.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { flowContext } from '../gateway/supervisor/flows/flow-memory.ts';
import { type PcapngPacket, packetsOf } from './pcapng.ts';
import { type RigOptions, TcpRig } from './tcp-rig.ts';

export const ALL: CaptureRequest = { filter: '', snapLength: 262_144, count: 0, durationMs: 0 };

export class CaptureRig {
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly captures: Captures;
  readonly rig: TcpRig;
  readonly tap: CaptureTap;
  /** Orders are on their way, and the tap goes on with those before. */
  areOrdersHeld = false;
  #held: (() => void) | undefined;

  constructor(options: RigOptions = {}) {
    const memory = new ArrayBuffer(CAPTURE_RING_BYTES);
    this.tap = new CaptureTap(memory, this.counters);
    this.rig = new TcpRig({ ...options, tap: this.tap });
    this.tap.attach(this.rig.stack);
    this.captures = new Captures({
      memories: [memory],
      mtu: () => 1500,
      context: flowContext,
      lost: () => this.counters.get(Counter.CAPTURE_LOST),
      order: (orders) => {
        this.#held = () => this.tap.configure(orders);
        if (!this.areOrdersHeld) this.#held();
      },
    });
  }

  /** What was held arrives. */
  releaseOrders(): void {
    this.areOrdersHeld = false;
    this.#held?.();
  }

  start(request: Partial<CaptureRequest> = {}): Capture {
    return this.captures.start({ ...ALL, ...request });
  }

  /** Ends the capture. @returns its file */
  async fileOf(capture: Capture): Promise<Uint8Array> {
    this.captures.poll();
    capture.end();
    return restOf(capture);
  }

  async packetsOf(capture: Capture): Promise<PcapngPacket[]> {
    return packetsOf(await this.fileOf(capture));
  }
}

/** What a capture that has ended still has to say. */
export async function restOf(capture: Capture): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const chunk = await capture.next();
    if (chunk === undefined) return new Uint8Array(Buffer.concat(chunks));
    chunks.push(chunk);
  }
}
