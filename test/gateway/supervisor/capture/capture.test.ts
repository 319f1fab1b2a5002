import { afterEach, describe, expect, test } from 'bun:test';
import { readCapture } from '../../../../src/gateway/author/capture.ts';
import type { Capture } from '../../../../src/gateway/supervisor/capture/capture.ts';
import { TooManyCapturesError } from '../../../../src/gateway/supervisor/capture/captures.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { FlowField } from '../../../../src/stack/flow-row.ts';
import { CaptureRig } from '../../../support/capture-rig.ts';
import {
  pattern,
  referenceChecksum,
  tcpPacket,
  udpPacket,
} from '../../../support/packet-builder.ts';
import { readBlocks, statisticsOf } from '../../../support/pcapng.ts';

/** Type of the blocks that say what is missing. */
const STATISTICS = 5;

const running: Capture[] = [];
afterEach(() => {
  for (const capture of running.splice(0)) capture.close();
});

function started(world: CaptureRig, request: Parameters<CaptureRig['start']>[0] = {}): Capture {
  const capture = world.start(request);
  running.push(capture);
  return capture;
}

const tcpSum = (packet: Uint8Array): number => {
  const length = packet.length - 20;
  const pseudo = [...packet.subarray(12, 20), 0, 6, length >> 8, length & 0xff];
  return referenceChecksum(Uint8Array.from([...pseudo, ...packet.subarray(20)]));
};

describe('a connection', () => {
  test('is there packet by packet, with its direction and what became of it', async () => {
    const world = new CaptureRig();
    const capture = started(world);
    world.rig.connect();
    world.rig.peer.sends('P. 1:101(100) ack 1 win 512');
    world.rig.wait(300);
    const packets = await world.packetsOf(capture);
    expect(packets.map(({ way, comment }) => `${way} ${comment}`)).toEqual([
      'in flow 1, tcp SYN-RECEIVED',
      'out sent: tcp-syn; flow 1, tcp SYN-RECEIVED',
      'in flow 1, tcp ESTABLISHED',
      'in flow 1, tcp ESTABLISHED',
      'out sent: tcp-ack; flow 1, tcp ESTABLISHED',
    ]);
    const times = packets.map(({ time }) => time);
    expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(Math.abs(Number(times[0]! / 1_000_000n) - Date.now())).toBeLessThan(5000);
  });

  test('has complete checksums, superpackets too, where they were left to the device', async () => {
    const world = new CaptureRig();
    const capture = started(world);
    world.rig.connect();
    world.rig.send(20_000);
    const packets = await world.packetsOf(capture);
    const sent = packets.filter(({ way }) => way === 'out');
    expect(Math.max(...sent.map(({ packet }) => packet.length))).toBeGreaterThan(10_000);
    expect(sent.map(({ packet }) => tcpSum(packet))).toEqual(sent.map(() => 0));
    expect(packets.at(-1)?.comment).toContain('superpacket, cut after each 1460 bytes of payload');
  });

  test('is read by the reader of captures that replays them', async () => {
    const world = new CaptureRig();
    const capture = started(world);
    world.rig.connect();
    const file = await world.fileOf(capture);
    const read = [...readCapture(file)];
    expect(read).toHaveLength(3);
    expect(read.map(({ view }) => view.getUint8(0))).toEqual([0x45, 0x45, 0x45]);
    expect(Math.abs(read[0]!.atMs - Date.now())).toBeLessThan(5000);
  });
});

test('the file has a section, and an interface with name, MTU and nanoseconds', async () => {
  const world = new CaptureRig();
  const capture = started(world, { filter: 'dport = 443', snapLength: 96 });
  const [section, device] = readBlocks(await world.fileOf(capture));
  const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
  expect(text(section?.options.get(4))).toStartWith('culvert ');
  expect(text(section?.options.get(1))).toBe('packets of dport = 443');
  expect(device?.body.getUint16(0, true)).toBe(101);
  expect(device?.body.getUint32(4, true)).toBe(96);
  expect(text(device?.options.get(2))).toBe('x0');
  expect(text(device?.options.get(3))).toBe('TUN device, MTU 1500');
  expect(device?.options.get(9)).toEqual(Uint8Array.of(9));
});

test('a frame that NAT rewrites is there as it came, and as it went on', async () => {
  const world = new CaptureRig();
  const capture = started(world);
  world.rig.owner.reactions.syn = (row, now) => void world.rig.stack.nat(row, false, now);
  const ends = { source: '198.18.0.1', destination: '203.0.113.9' };
  world.rig.deliver(udpPacket({ ...ends, ttl: 9, payload: pattern(10) }));
  const packets = await world.packetsOf(capture);
  expect(packets.map(({ way, packet }) => [way, packet[8]])).toEqual([
    ['in', 9],
    ['out', 8],
  ]);
  expect(packets[1]?.comment).toStartWith('sent: nat; flow 1, udp');
});

describe('a filter', () => {
  test('finds addresses whose bits are no number', async () => {
    const world = new CaptureRig();
    // As a float64 its last eight bytes are a NaN.
    const [source, destination] = ['fd00::7ff8:1:2:3', 'fd00::9'];
    const chosen = started(world, { filter: `src = ${source}` });
    for (let i = 0; i < 2; i++) world.rig.deliver(udpPacket({ source, destination }));
    expect(await world.packetsOf(chosen)).toHaveLength(2);
  });

  test('chooses flows by what stands in their rows when the packet is over', async () => {
    const world = new CaptureRig();
    const chosen = started(world, { filter: 'sport = 40001 and state = established' });
    world.rig.connect();
    world.rig.connect(world.rig.newPeer({ port: 40_001 }));
    const packets = await world.packetsOf(chosen);
    expect(packets.map(({ comment }) => comment)).toEqual(['flow 2, tcp ESTABLISHED']);
  });

  test('chooses packets without a flow by their ends, those of the answer too', async () => {
    const world = new CaptureRig();
    const chosen = started(world, { filter: 'src = 10.9.9.9' });
    for (const source of ['10.9.9.9', '10.9.9.8']) {
      world.rig.deliver(tcpPacket({ source, destination: '198.18.0.80' }));
    }
    const packets = await world.packetsOf(chosen);
    expect(packets.map(({ way, comment }) => `${way} ${comment}`)).toEqual([
      'in dropped: no-flow; no flow',
      'out sent: tcp-rst; no flow',
    ]);
  });

  test('with a name is asked by who knows names', async () => {
    const world = new CaptureRig();
    const none = started(world, { filter: 'script = route' });
    const all = started(world, { filter: 'not script = route' });
    world.rig.connect();
    expect(await world.packetsOf(none)).toHaveLength(0);
    expect(await world.packetsOf(all)).toHaveLength(3);
  });
});

test('a filter with the name of an upstream is asked by who knows names', async () => {
  const world = new CaptureRig();
  const chosen = started(world, { filter: 'via = pool-b' });
  const other = started(world, { filter: 'via = pool-c' });
  const { rig } = world;
  rig.owner.reactions.syn = (row, now) => {
    const { view } = rig.stack.arena;
    view.setUint16(rig.stack.rowAt(row) + FlowField.VIA, 7, true);
    rig.stack.accept(row, now);
  };
  rig.connect();
  expect(await world.packetsOf(chosen)).toHaveLength(3);
  expect(await world.packetsOf(other)).toHaveLength(0);
});

describe('a slot that was just freed', () => {
  const ends = { source: '198.18.0.1', destination: '203.0.113.9' };

  test('brings nothing of the capture before, which goes on for a while', async () => {
    const world = new CaptureRig();
    started(world, { filter: 'dport = 1' });
    const before = started(world);
    world.areOrdersHeld = true;
    before.close();
    const after = started(world, { drops: 'any' });
    expect(after.order.slot).toBe(before.order.slot);
    world.rig.deliver(udpPacket({ ...ends, payload: pattern(10) }));
    world.captures.poll();
    world.releaseOrders();
    world.rig.deliverFrame(Uint8Array.from({ length: 40 }, (_, at) => (at < 10 ? 0 : 0xff)));
    const comments = (await world.packetsOf(after)).map(({ comment }) => comment);
    expect(comments).toEqual(['dropped: bad-ip-version; no flow']);
  });

  test('does not end those that run: they miss nothing', async () => {
    const world = new CaptureRig();
    const first = started(world);
    const second = started(world);
    second.close();
    world.areOrdersHeld = true;
    started(world);
    world.rig.deliver(udpPacket({ ...ends, payload: pattern(10) }));
    world.captures.poll();
    world.releaseOrders();
    world.rig.deliver(udpPacket({ ...ends, payload: pattern(11) }));
    expect(await world.packetsOf(first)).toHaveLength(2);
  });
});

describe('drops', () => {
  const noise = (world: CaptureRig) => {
    world.rig.connect();
    world.rig.peer.sends('P. 900000:900100(100) ack 1 win 512');
    world.rig.deliverFrame(Uint8Array.from({ length: 40 }, (_, at) => (at < 10 ? 0 : 0xff)));
  };

  test('of any reason', async () => {
    const world = new CaptureRig();
    const capture = started(world, { drops: 'any' });
    noise(world);
    const comments = (await world.packetsOf(capture)).map(({ comment }) => comment);
    expect(comments).toEqual([
      'dropped: out-of-window; flow 1, tcp ESTABLISHED',
      'dropped: bad-ip-version; no flow',
    ]);
  });

  test('of one reason', async () => {
    const world = new CaptureRig();
    const capture = started(world, { drops: 'out-of-window' });
    noise(world);
    expect(await world.packetsOf(capture)).toHaveLength(1);
  });

  test('of a reason that the data plane does not know: none', () => {
    const world = new CaptureRig();
    world.tap.configure([
      { slot: 0, number: 1, filter: '', drops: 'no-such-reason', snapLength: 100 },
    ]);
    noise(world);
    expect(world.counters.get(Counter.CAPTURED)).toBe(0);
  });

  test('of packets that waited for a verdict, which was to drop them', async () => {
    const world = new CaptureRig();
    const drops = started(world, { drops: 'verdict-drop' });
    const all = started(world);
    const { stack, owner } = world.rig;
    const ends = { source: '198.18.0.1', destination: '203.0.113.9' };
    for (const length of [10, 20]) {
      world.rig.deliver(udpPacket({ ...ends, payload: pattern(length) }));
    }
    stack.reject(owner.last.row, 'drop', 0, CloseReason.DROPPED, 3, world.rig.now);
    const dropped = await world.packetsOf(drops);
    expect(dropped.map(({ packet }) => packet.length)).toEqual([38, 48]);
    expect(dropped[0]?.comment).toBe('dropped after a wait: verdict-drop; flow 1, udp deciding');
    // Each packet is in a file once.
    expect(await world.packetsOf(all)).toHaveLength(2);
  });
});

describe('bounds', () => {
  test('packets are cut, and their length is told', async () => {
    const world = new CaptureRig();
    const capture = started(world, { snapLength: 40 });
    const ends = { source: '198.18.0.1', destination: '203.0.113.9' };
    world.rig.deliver(udpPacket({ ...ends, payload: pattern(100) }));
    const [first] = await world.packetsOf(capture);
    expect([first?.packet.length, first?.length]).toEqual([40, 128]);
  });

  test('a ring that nobody reads takes no more, and the file says what is missing', async () => {
    const world = new CaptureRig();
    const capture = started(world);
    const packet = udpPacket({
      source: '10.0.0.1',
      destination: '203.0.113.9',
      payload: pattern(60_000),
    });
    for (let i = 0; i < 400; i++) world.rig.deliver(packet);
    const file = await world.fileOf(capture);
    const lost = world.counters.get(Counter.CAPTURE_LOST);
    expect(lost).toBeGreaterThan(100);
    const statistics = statisticsOf(file);
    expect(statistics?.dropped).toBe(lost);
    expect(statistics!.received + lost).toBe(400 + world.rig.frames.length);
  });

  test('a ring that is read goes round and round, and nothing is lost or mixed up', async () => {
    const world = new CaptureRig();
    const capture = started(world, { snapLength: 1000 });
    const payload = pattern(50_000);
    for (let i = 0; i < 20_000; i++) {
      const length = (i * 7919) % 900;
      world.rig.deliver(
        udpPacket({
          source: '10.0.0.1',
          destination: '203.0.113.9',
          payload: payload.subarray(0, length),
        }),
      );
      world.rig.frames.length = 0;
      if (i % 100 === 0) world.captures.poll();
    }
    expect(world.counters.get(Counter.CAPTURE_LOST)).toBe(0);
    const packets = await world.packetsOf(capture);
    expect(packets.length).toBeGreaterThanOrEqual(20_000);
    const arrived = packets.filter(({ way }) => way === 'in');
    expect(arrived.map(({ length }) => length)).toEqual(
      Array.from({ length: 20_000 }, (_, i) => 28 + ((i * 7919) % 900)),
    );
  }, 30_000);

  test('it ends after as many packets as are wanted, and costs nothing from then on', async () => {
    const world = new CaptureRig();
    const capture = started(world, { count: 2 });
    world.rig.connect();
    world.captures.poll();
    expect(world.tap.isOn).toBe(false);
    expect(await world.packetsOf(capture)).toHaveLength(2);
  });

  test('it ends when its time is over', async () => {
    const world = new CaptureRig();
    const capture = started(world, { durationMs: 1 });
    while ((await capture.next()) !== undefined);
    expect(world.tap.isOn).toBe(false);
  });

  test('for a client that reads nothing, what is told of losses does not pile up', async () => {
    const world = new CaptureRig();
    const capture = started(world);
    const datagram = udpPacket({ payload: pattern(60_000) });
    // Beyond what waits for a client, 16 MiB.
    for (let i = 0; i < 300; i++) {
      world.rig.deliver(datagram);
      world.captures.poll();
    }
    for (let i = 0; i < 500; i++) {
      world.counters.add(Counter.CAPTURE_LOST);
      world.captures.poll();
    }
    const blocks = readBlocks(await world.fileOf(capture));
    const statistics = blocks.filter(({ type }) => type === STATISTICS);
    expect(statistics.length).toBeLessThan(5);
  });

  test('a client that waits for packets gets statistics now and then', async () => {
    const capture = started(new CaptureRig());
    await capture.next();
    const blocks = readBlocks(new Uint8Array((await capture.next(1))!));
    expect(blocks.map(({ type }) => type)).toEqual([5]);
  });

  test('it ends when its client goes, and the fifth is refused', () => {
    const world = new CaptureRig();
    const captures = Array.from({ length: 4 }, () => started(world));
    expect(() => world.start()).toThrow(TooManyCapturesError);
    captures[1]?.close();
    expect(started(world).order.slot).toBe(1);
    for (const capture of running) capture.close();
    expect(world.tap.isOn).toBe(false);
  });
});
