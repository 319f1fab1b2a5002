/**
 * A download through a bottleneck on a clock moved by hand: a queue of so many bytes in front of a
 * wire of a given rate, then half a round trip; ACKs take the other half.
 */
import type { Instant } from '../../src/stack/time.ts';
import { cut } from './lossy-link.ts';
import { SackClient, type SackClientOptions } from './sack-client.ts';
import { parsePacket, type ReceivedSegment } from './scripted-peer.ts';
import { type RigOptions, TcpRig } from './tcp-rig.ts';

/** What becomes of a packet: copies that arrive, and microseconds that it is late. */
export interface Fate {
  readonly copies: number;
  readonly lateUs: number;
}

export interface DownloadOptions {
  readonly bytes: number;
  readonly bitsPerSecond: number;
  readonly roundTripUs: number;
  readonly queueBytes: number;
  readonly client?: Partial<SackClientOptions>;
  readonly rig?: RigOptions;
  /** Of data packets, by their number; and of ACKs. */
  readonly fate?: (index: number, segment: ReceivedSegment) => Fate;
  readonly ackFate?: (index: number) => Fate;
  /** Called when something has happened. */
  readonly watch?: (rig: TcpRig) => void;
}

export interface DownloadReport {
  readonly rig: TcpRig;
  readonly client: SackClient;
  /** From the SYN until the FIN arrived. */
  readonly seconds: number;
  readonly bitsPerSecond: number;
  /** Data packets that entered the path, and that found the queue full. */
  readonly packets: number;
  readonly overflows: number;
}

const WHOLE: Fate = { copies: 1, lateUs: 0 };
export const LOST: Fate = { copies: 0, lateUs: 0 };

const LIMIT_US = 3_600_000_000;
const HEADER_BYTES = 54;

/** @throws Error when a byte is wrong, or the download takes more than an hour */
export function download(options: DownloadOptions): DownloadReport {
  const { roundTripUs, bitsPerSecond, queueBytes } = options;
  const rig = new TcpRig({ sack: true, ...options.rig });
  const events: { due: number; run: () => void }[] = [];
  const at = (due: number, run: () => void) => {
    let index = events.length;
    while (index > 0 && events[index - 1]!.due > due) index -= 1;
    events.splice(index, 0, { due, run });
  };
  let [packets, acks, overflows, wireFreeAt] = [0, 0, 0, 0];
  const client = new SackClient(
    { sack: true, timestamps: false, mss: 1460, window: 8 * 1024 * 1024, ...options.client },
    (packet) => {
      const { copies, lateUs } = options.ackFate?.(acks++) ?? WHOLE;
      for (let i = 0; i < copies; i++) {
        at(rig.now + roundTripUs / 2 + lateUs, () => rig.deliver(packet));
      }
    },
  );
  const carry = (segment: ReceivedSegment) => {
    const size = segment.payload.length + HEADER_BYTES;
    const start = Math.max(rig.now, wireFreeAt);
    if (((start - rig.now) * bitsPerSecond) / 8e6 > queueBytes) {
      overflows += 1;
      return;
    }
    const { copies, lateUs } = options.fate?.(packets++, segment) ?? WHOLE;
    wireFreeAt = start + (size * 8e6) / bitsPerSecond;
    for (let i = 0; i < copies; i++) {
      at(wireFreeAt + roundTripUs / 2 + lateUs, () => client.arrive(segment, rig.now));
    }
  };
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.owner.reactions.established = (row, now) => {
    rig.owner.send(row, options.bytes, now);
    rig.owner.close(row, now);
  };
  const start = rig.now;
  client.connect(start);
  while (!client.hasFin) {
    const next = Math.min(
      events[0]?.due ?? Number.POSITIVE_INFINITY,
      client.deadline,
      rig.stack.pollAt(),
    );
    if (next > start + LIMIT_US) throw new Error(`not finished at ${client.rcvNxt}`);
    rig.clock.moveTo(Math.max(rig.now, next) as Instant);
    while (events.length > 0 && events[0]!.due <= rig.now) events.shift()!.run();
    if (rig.stack.pollAt() <= rig.now) rig.stack.expire(rig.now);
    client.tick(rig.now);
    rig.stack.flush(rig.now);
    for (const frame of rig.frames.splice(0)) cut(parsePacket(frame), true).forEach(carry);
    options.watch?.(rig);
  }
  const seconds = (rig.now - start) / 1e6;
  const rate = (options.bytes * 8) / seconds;
  return { rig, client, seconds, bitsPerSecond: rate, packets, overflows };
}
