/** Two stacks, each behind a queue of the same device; what they hand over arrives at once. */
import { stateBytes } from '../../src/stack/layout.ts';
import { NO_TAP, type PacketTap } from '../../src/stack/packet-tap.ts';
import { PeerTable } from '../../src/stack/peer-table.ts';
import { LIMITS, type RigOptions, TcpRig } from './tcp-rig.ts';

const QUEUES = 2;

export class QueueRigs {
  readonly rigs: readonly [TcpRig, TcpRig];
  /** Frames that were handed over. */
  readonly handedOver: Uint8Array[] = [];
  /** The inboxes take nothing. */
  isFull = false;
  /** Happens while a frame is on its way. */
  beforeHandOver: () => void = () => {};

  /**
   * @param taps     of each stack
   * @param options  of both
   */
  constructor(taps: readonly PacketTap[] = [NO_TAP, NO_TAP], options: RigOptions = {}) {
    const limits = { ...LIMITS, ...options.limits };
    const memories = [0, 1].map(() => new ArrayBuffer(stateBytes(limits)));
    const rig = (index: number): TcpRig => {
      const memory = memories[index]!;
      const peer = 1 - index;
      return new TcpRig({
        ...options,
        memory,
        tap: taps[index]!,
        queue: {
          serials: { first: index + 1, step: QUEUES },
          hashSecret: [11, 13],
          tables: [new PeerTable(memories[peer]!, limits)],
          sink: {
            handOver: (_, at, length) => {
              if (this.isFull) return false;
              this.beforeHandOver();
              const frame = new Uint8Array(memory, at, length).slice();
              this.handedOver.push(frame);
              this.rigs[peer]!.takeOver(frame);
              return true;
            },
          },
        },
      });
    };
    this.rigs = [rig(0), rig(1)];
  }
}
