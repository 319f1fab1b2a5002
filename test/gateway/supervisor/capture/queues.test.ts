/** Captures of a device with several queues: each frame once, and all in the order of time. */
import { afterEach, describe, expect, test } from 'bun:test';
import {
  CAPTURE_RING_BYTES,
  captureRing,
  PacketWay,
  RecordField,
} from '../../../../src/gateway/messages/capture-ring.ts';
import type { CaptureOrder } from '../../../../src/gateway/messages/control.ts';
import type {
  Capture,
  CaptureRequest,
} from '../../../../src/gateway/supervisor/capture/capture.ts';
import { Captures } from '../../../../src/gateway/supervisor/capture/captures.ts';
import { ORDER_WINDOW_NS } from '../../../../src/gateway/supervisor/capture/time-order.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { ALL, restOf } from '../../../support/capture-rig.ts';
import { fragmentsOf } from '../../../support/fragments.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../../support/memory-device.ts';
import { pattern, udpPacket } from '../../../support/packet-builder.ts';
import { packetsOf } from '../../../support/pcapng.ts';
import { QueueCaptureRig } from '../../../support/queue-capture-rig.ts';
import type { RigOptions } from '../../../support/tcp-rig.ts';
import { flowContext } from '../flows/flow-memory.ts';

const running: Capture[] = [];
afterEach(() => {
  for (const capture of running.splice(0)) capture.close();
});

const FAMILIES = [
  { name: 'IPv4', ends: { source: '198.18.0.1', destination: '198.51.100.9' } },
  { name: 'IPv6', ends: { source: 'fd00::1', destination: '2001:db8::9' } },
];

describe.each(FAMILIES)('a frame of $name that came to the wrong queue', ({ ends }) => {
  const datagram = (bytes: number) =>
    udpPacket({ ...ends, sourcePort: 40_000, destinationPort: 53, payload: pattern(bytes) });

  function withSession(request: Partial<CaptureRequest> = {}, options: RigOptions = {}) {
    const world = new QueueCaptureRig(options);
    const [first, second] = world.queues.rigs;
    first.owner.reactions.syn = (row, now) => first.stack.admit(row, now);
    first.deliver(datagram(1));
    const capture = world.start(request);
    running.push(capture);
    return { world, first, second, capture };
  }

  test('is there once, with the flow that it belongs to', async () => {
    const { world, second, capture } = withSession();
    second.deliver(datagram(30));
    const packets = await world.packetsOf(capture);
    expect(packets.map(({ way, comment }) => `${way} ${comment}`)).toEqual([
      'in flow 1, udp UNREPLIED',
    ]);
    expect(packets[0]?.packet).toEqual(datagram(30));
  });

  test('is found by what stands in the row of its flow', async () => {
    const { world, second, capture } = withSession({ filter: 'id = 1 and state = unreplied' });
    second.deliver(datagram(30));
    expect(await world.packetsOf(capture)).toHaveLength(1);
  });

  test('of which there were fragments, is there fragment by fragment', async () => {
    for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
      const { world, first, second, capture } = withSession({}, { capabilities });
      const fragments = fragmentsOf(datagram(3000), 1400);
      for (const fragment of fragments) second.deliver(fragment);
      expect(first.owner.datagrams.at(-1)).toEqual(pattern(3000));
      const packets = await world.packetsOf(capture);
      expect(packets.map(({ packet }) => packet)).toEqual(fragments);
    }
  });

  test('of which there were fragments, is there when it is dropped', async () => {
    const { world, first, second, capture } = withSession({ drops: 'any' });
    const { row } = first.owner.last;
    world.queues.beforeHandOver = () => {
      first.stack.abort(row, CloseReason.KILLED, 3, first.now);
      first.stack.drain();
    };
    for (const fragment of fragmentsOf(datagram(3000), 1400)) second.deliver(fragment);
    const comments = (await world.packetsOf(capture)).map(({ comment }) => comment);
    expect(comments).toEqual([expect.stringMatching(/^dropped after a wait: draining; no flow/)]);
  });

  test('and finds its inbox full, stays with the reason for which it is dropped', async () => {
    const { world, second, capture } = withSession();
    world.queues.isFull = true;
    second.deliver(datagram(30));
    const comments = (await world.packetsOf(capture)).map(({ comment }) => comment);
    expect(comments).toEqual(['dropped: peer-full; no flow']);
  });
});

/** Two rings that a test writes, and a clock that stands still. */
class Rings {
  /** Nanoseconds. */
  now = 1_000_000_000;
  readonly captures: Captures;
  readonly #rings: readonly ReturnType<typeof captureRing>[];
  #orders: readonly CaptureOrder[] = [];

  constructor() {
    const memories = [0, 1].map(() => new ArrayBuffer(CAPTURE_RING_BYTES));
    this.#rings = memories.map(captureRing);
    this.captures = new Captures({
      memories,
      mtu: () => 1500,
      context: flowContext,
      lost: () => 0,
      order: (orders) => {
        this.#orders = orders;
      },
      now: () => this.now,
    });
  }

  start(request: Partial<CaptureRequest> = {}): Capture {
    const capture = this.captures.start({ ...ALL, ...request });
    running.push(capture);
    return capture;
  }

  /** A packet that came to a queue at that time; the time is what it says, too. */
  write(queue: number, time: number, length = 8): void {
    const ring = this.#rings[queue]!;
    const at = ring.begin(RecordField.PACKET + length);
    const { view } = ring;
    for (let i = 4; i < RecordField.PACKET; i++) view.setUint8(at + i, 0);
    view.setUint8(at + RecordField.WANTED_BY, 1);
    view.setUint8(at + RecordField.WAY, PacketWay.IN);
    view.setUint32(at + RecordField.CAPTURED, length, true);
    view.setUint32(at + RecordField.PACKET_LENGTH, length, true);
    view.setFloat64(at + RecordField.TIME, time, true);
    view.setUint32(at + RecordField.NEWEST, this.#orders.at(-1)?.number ?? 0, true);
    view.setFloat64(at + RecordField.PACKET, time, true);
    ring.publish();
  }

  /** The clock goes on, and what was written is looked at. */
  poll(ns = 0): void {
    this.now += ns;
    this.captures.poll();
  }

  async timesOf(capture: Capture): Promise<number[]> {
    capture.end();
    return this.timesIn(await restOf(capture));
  }

  timesIn(file: Uint8Array): number[] {
    return packetsOf(file).map(({ packet }) =>
      new DataView(packet.buffer, packet.byteOffset).getFloat64(0, true),
    );
  }
}

describe('packets of several queues', () => {
  test('are in the file in the order of their times', async () => {
    const rings = new Rings();
    const capture = rings.start();
    const { now } = rings;
    for (const ns of [10, 30, 50]) rings.write(0, now + ns);
    for (const ns of [20, 40]) rings.write(1, now + ns);
    rings.poll(ORDER_WINDOW_NS);
    for (const ns of [25, 60]) rings.write(1, now + ns);
    rings.poll(ORDER_WINDOW_NS);
    const times = await rings.timesOf(capture);
    expect(times.map((time) => time - now)).toEqual([10, 20, 25, 30, 40, 50, 60]);
  });

  test('that were written just before the end are in the file, too', async () => {
    for (const end of ['one capture', 'all'] as const) {
      const rings = new Rings();
      const capture = rings.start();
      rings.write(0, 20);
      rings.write(1, 10);
      if (end === 'all') rings.captures.close();
      expect(await rings.timesOf(capture)).toEqual([10, 20]);
    }
  });

  test('leave when nothing earlier can come any more, and not before', async () => {
    const rings = new Rings();
    const capture = rings.start();
    // The header of the file.
    await capture.next();
    const time = rings.now;
    rings.write(0, time);
    rings.poll(ORDER_WINDOW_NS - 1);
    rings.write(0, time + 2 * ORDER_WINDOW_NS);
    const next = capture.next();
    expect(await Promise.race([next, Bun.sleep(5).then(() => 'nothing')])).toBe('nothing');
    rings.poll(1);
    expect(rings.timesIn((await next) as Uint8Array)).toEqual([time]);
  });

  test('that come too late are there all the same', async () => {
    const rings = new Rings();
    const capture = rings.start();
    rings.write(0, 20);
    rings.poll(ORDER_WINDOW_NS);
    rings.write(1, 10);
    rings.poll();
    expect(await rings.timesOf(capture)).toEqual([20, 10]);
  });

  test('are not more than is wanted, and those are the first', async () => {
    const rings = new Rings();
    const capture = rings.start({ count: 2 });
    for (const time of [30, 40]) rings.write(0, time);
    for (const time of [10, 20]) rings.write(1, time);
    rings.poll();
    expect(await rings.timesOf(capture)).toEqual([10, 20]);
  });

  test('wait in bounded memory: what is too much leaves at once', async () => {
    const rings = new Rings();
    const capture = rings.start();
    await capture.next();
    const time = rings.now;
    for (let i = 0; i < 200; i++) rings.write(i % 2, time + i, 60_000);
    rings.poll();
    const taken = (await capture.next()) as Uint8Array;
    expect(rings.timesIn(taken)[0]).toBe(time);
    const left = await rings.timesOf(capture);
    expect(left.at(-1)).toBe(time + 199);
    expect(left.length).toBeGreaterThan(100);
  });
});
