/** Two stacks behind the queues of one device, both taps, and the captures of a supervisor. */
import { CaptureTap } from '../../src/gateway/dataplane/capture/capture-tap.ts';
import { CAPTURE_RING_BYTES } from '../../src/gateway/messages/capture-ring.ts';
import type { Capture, CaptureRequest } from '../../src/gateway/supervisor/capture/capture.ts';
import { Captures } from '../../src/gateway/supervisor/capture/captures.ts';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import { flowContext } from '../gateway/supervisor/flows/flow-memory.ts';
import { ALL, restOf } from './capture-rig.ts';
import { type PcapngPacket, packetsOf } from './pcapng.ts';
import { QueueRigs } from './queue-rigs.ts';
import type { RigOptions } from './tcp-rig.ts';

export class QueueCaptureRig {
  readonly queues: QueueRigs;
  readonly captures: Captures;

  constructor(options: RigOptions = {}) {
    const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
    const memories = [0, 1].map(() => new ArrayBuffer(CAPTURE_RING_BYTES));
    const taps = memories.map((memory) => new CaptureTap(memory, counters));
    this.queues = new QueueRigs(taps, options);
    for (const [index, tap] of taps.entries()) tap.attach(this.queues.rigs[index]!.stack);
    this.captures = new Captures({
      memories,
      mtu: () => 1500,
      context: flowContext,
      lost: () => 0,
      order: (orders) => {
        for (const tap of taps) tap.configure(orders);
      },
    });
  }

  start(request: Partial<CaptureRequest> = {}): Capture {
    return this.captures.start({ ...ALL, ...request });
  }

  async packetsOf(capture: Capture): Promise<PcapngPacket[]> {
    this.captures.poll();
    capture.end();
    return packetsOf(await restOf(capture));
  }
}
