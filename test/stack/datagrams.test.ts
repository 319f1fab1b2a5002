/** UDP, ICMP echo and the rest: from the first packet to the verdict, and what follows it. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { ClosedBy, flowDurationUs } from '../../src/stack/flow-row.ts';
import { IcmpErrorKind } from '../../src/stack/icmp-error-kind.ts';
import { SLAB_PAYLOAD_AT } from '../../src/stack/slab-pool.ts';
import type { EndingReject } from '../../src/stack/verdict.ts';
import { parseIcmpError } from '../support/icmp-error.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { hex, icmpPacket, ipPacket, pattern, udpPacket } from '../support/packet-builder.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const V4 = { source: '198.18.0.1', destination: '198.18.0.80' };
const V6 = { source: 'fd00::1', destination: 'fd00::80' };
const FAMILIES = [V4, V6] as const;
const swapped = ({ source, destination }: typeof V4) => ({
  source: destination,
  destination: source,
});

const datagram = (ends: typeof V4, fields = {}) =>
  udpPacket({ ...ends, sourcePort: 40_000, destinationPort: 53, payload: pattern(30), ...fields });
const echo = (ends: typeof V4, fields = {}) =>
  icmpPacket({
    ...ends,
    type: ends === V4 ? 8 : 128,
    rest: 0x1234_0001,
    payload: pattern(56),
    ...fields,
  });

const asHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const admit = (rig: TcpRig) => {
  rig.stack.admit(rig.row, rig.now);
};
const reject = (rig: TcpRig, how: EndingReject) => {
  const { PROHIBITED } = IcmpErrorKind;
  rig.stack.reject(rig.row, how, PROHIBITED, CloseReason.REJECTED, ClosedBy.SCRIPT, rig.now);
};
const end = (rig: TcpRig) => {
  rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
};

/** Has the stack send `payload` to the client, as a socket would. */
function reply(rig: TcpRig, payload: Uint8Array, segmentBytes = 0): void {
  const slab = rig.stack.slabs.take(payload.length);
  const at = slab + SLAB_PAYLOAD_AT;
  rig.stack.arena.bytes.set(payload, at);
  rig.stack.datagram(rig.row, at, payload.length, segmentBytes, 0, rig.now);
  rig.stack.slabs.release(slab);
}

for (const ends of FAMILIES) {
  const family = ends === V4 ? 4 : 6;

  describe(`UDP over IPv${family}`, () => {
    test('what waits can be looked at, and goes on waiting', () => {
      const rig = new TcpRig();
      for (const length of [1, 0, 1400]) rig.deliver(datagram(ends, { payload: pattern(length) }));
      expect(rig.owner.parked).toEqual([rig.row, rig.row]);
      const shown = (skip: number): { count: number; payloads: string[] } => {
        const payloads: string[] = [];
        const count = rig.stack.showParked(rig.row, skip, (at, length) => {
          payloads.push(asHex(rig.stack.arena.bytes.slice(at, at + length)));
        });
        return { count, payloads };
      };
      const all = [1, 0, 1400].map((length) => asHex(pattern(length)));
      expect(shown(0)).toEqual({ count: 3, payloads: all });
      expect(shown(2)).toEqual({ count: 3, payloads: all.slice(2) });
      expect(shown(3)).toEqual({ count: 3, payloads: [] });
      admit(rig);
      expect(rig.owner.datagrams.map(asHex)).toEqual(all);
    });

    test('the first datagram asks for a verdict, once; those that follow wait with it', () => {
      const rig = new TcpRig();
      for (const length of [1, 0, 1400]) rig.deliver(datagram(ends, { payload: pattern(length) }));
      expect(rig.owner.flows).toHaveLength(1);
      expect(rig.flow.calls).toEqual(['syn']);
      admit(rig);
      expect(rig.owner.datagrams).toEqual([pattern(1), pattern(0), pattern(1400)]);
      end(rig);
      rig.expectEmpty();
    });

    test('of a client that does not wait, eight datagrams are kept', () => {
      const rig = new TcpRig();
      for (let i = 0; i < 10; i++) rig.deliver(datagram(ends));
      expect(rig.drops).toEqual({ 'parked-limit': 2 });
      admit(rig);
      expect(rig.owner.datagrams).toHaveLength(8);
    });

    test('datagrams of an admitted flow go straight to its socket, with their hop limit', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => admit(rig);
      rig.deliver(datagram(ends, { ttl: 9 }));
      rig.deliver(datagram(ends, { ttl: 2 }));
      expect(rig.flow.calls).toEqual(['syn', 'datagram 30 hop limit 9', 'datagram 30 hop limit 2']);
      expect(rig.stack.slabs.bytesUsed).toBe(0);
      expect(rig.counters.get(Counter.DATAGRAMS_UP)).toBe(2);
    });

    test('a run of datagrams arrives as one, and counts as many', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => admit(rig);
      rig.deliver(datagram(ends, { payload: pattern(2500) }), 1000);
      expect(rig.flow.calls.at(-1)).toBe('datagram 2500 in runs of 1000 hop limit 64');
      expect(rig.counters.get(Counter.DATAGRAMS_UP)).toBe(3);
    });

    test('a run of datagrams that waits is shown one by one, the first eight', () => {
      for (const [bytes, lengths] of [
        [2500, [1000, 1000, 500]],
        [2000, [1000, 1000]],
        [20_000, Array<number>(8).fill(1000)],
      ] as const) {
        const rig = new TcpRig();
        rig.deliver(datagram(ends, { payload: pattern(bytes) }), 1000);
        const shown: Uint8Array[] = [];
        rig.stack.showParked(rig.row, 0, (at, length) => {
          shown.push(rig.stack.arena.bytes.slice(at, at + length));
        });
        expect(shown.map(({ length }) => length)).toEqual([...lengths]);
        const sum = lengths.reduce((total, length) => total + length, 0);
        expect(asHex(Buffer.concat(shown))).toBe(asHex(pattern(bytes).slice(0, sum)));
      }
    });

    test('a hop limit of 1 ends here, and the client is told by the gateway', () => {
      const rig = new TcpRig();
      rig.stack.setLocalAddresses(['198.18.0.9', 'fd00::9']);
      rig.owner.reactions.syn = () => admit(rig);
      rig.deliver(datagram(ends, { ttl: 1 }));
      expect(rig.owner.datagrams).toEqual([]);
      expect(rig.drops).toEqual({ 'hop-limit-exceeded': 1 });
      const error = parseIcmpError(rig.frames.shift()!.packet);
      expect(error).toMatchObject({
        source: family === 4 ? '198.18.0.9' : 'fd00::9',
        destination: ends.source,
        type: family === 4 ? 11 : 3,
        code: 0,
        quoted: { ...ends, sourcePort: 40_000, destinationPort: 53 },
      });
    });

    const answers = [
      ['rst', family === 4 ? [3, 3] : [1, 4]],
      ['icmp', family === 4 ? [3, 13] : [1, 1]],
    ] as const;
    for (const [how, [type, code]] of answers) {
      test(`a refusal with ${how} is an ICMP error that quotes the datagram`, () => {
        const rig = new TcpRig();
        rig.deliver(datagram(ends));
        reject(rig, how);
        const error = parseIcmpError(rig.frames.shift()!.packet);
        expect(error).toMatchObject({
          ...swapped(ends),
          type,
          code,
          quoted: { ...ends, sourcePort: 40_000, destinationPort: 53 },
        });
        expect(rig.flow.calls).toEqual(['syn', 'closed rejected by script']);
        rig.expectEmpty();
      });
    }

    test('a refusal with drop says nothing', () => {
      const rig = new TcpRig();
      rig.deliver(datagram(ends));
      reject(rig, 'drop');
      expect(rig.drops).toEqual({ 'verdict-drop': 1 });
      rig.expectEmpty();
    });

    test('a refused flow lasted as long as its decision took', () => {
      const rig = new TcpRig();
      let durationUs = 0;
      rig.owner.reactions.closed = (row) => {
        durationUs = flowDurationUs(rig.stack.arena.view, rig.stack.rowAt(row));
      };
      rig.deliver(datagram(ends));
      rig.wait(20);
      reject(rig, 'icmp');
      expect(durationUs).toBe(20_000);
    });

    for (const [how, [type, code]] of answers) {
      test(`for a second, all datagrams of a flow refused with ${how} are answered so`, () => {
        const rig = new TcpRig();
        rig.owner.reactions.syn = () => reject(rig, how);
        for (let i = 0; i < 3; i++) rig.deliver(datagram(ends));
        const errors = rig.frames.splice(0).map(({ packet }) => parseIcmpError(packet));
        expect(errors).toHaveLength(3);
        for (const error of errors) {
          expect(error).toMatchObject({ ...swapped(ends), type, code, quoted: ends });
        }
        expect(rig.owner.flows).toHaveLength(1);
        expect(rig.drops).toEqual({ 'refused-again': 2 });
        rig.expectEmpty();
        rig.wait(1000);
        rig.deliver(datagram(ends));
        expect(rig.owner.flows).toHaveLength(2);
      });
    }

    test('for a second, all datagrams of a flow that was dropped are, and nobody is asked', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => reject(rig, 'drop');
      for (let i = 0; i < 3; i++) rig.deliver(datagram(ends));
      expect(rig.owner.flows).toHaveLength(1);
      expect(rig.drops).toEqual({ 'verdict-drop': 3 });
      rig.expectEmpty();
    });

    test('a refusal is of one flow, and is forgotten when who decides changes', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => reject(rig, 'drop');
      rig.deliver(datagram(ends));
      const isIpv4 = family === 4;
      const other = { source: isIpv4 ? '198.18.0.2' : 'fd00::2' };
      for (const fields of [{ sourcePort: 40_001 }, { destinationPort: 54 }, other]) {
        rig.deliver(datagram(ends, fields));
      }
      rig.deliver(echo(ends));
      expect(rig.owner.flows).toHaveLength(5);
      rig.stack.forgetRefusals();
      rig.deliver(datagram(ends));
      expect(rig.owner.flows).toHaveLength(6);
    });

    test('a static rule for a flow that was refused is obeyed at once', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => reject(rig, 'drop');
      rig.deliver(datagram(ends));
      rig.owner.natOf = () => true;
      rig.deliver(datagram(ends));
      expect(rig.owner.flows).toHaveLength(2);
    });

    test('a wrong checksum is dropped, and asks nobody', () => {
      const rig = new TcpRig();
      const packet = datagram(ends);
      packet[packet.length - 1]! ^= 1;
      rig.deliver(packet);
      expect(rig.drops).toEqual({ 'bad-udp-checksum': 1 });
      expect(rig.owner.flows).toEqual([]);
    });

    test('a datagram longer than its packet is dropped', () => {
      const rig = new TcpRig();
      const packet = datagram(ends);
      packet[(family === 4 ? 20 : 40) + 5]! += 1;
      rig.deliver(packet);
      expect(rig.drops).toEqual({ 'bad-udp-header': 1 });
    });

    for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
      const device = capabilities.uso ? 'a device that cuts' : 'a device that does not cut';
      const answer = (payload: Uint8Array) =>
        udpPacket({ ...swapped(ends), sourcePort: 53, destinationPort: 40_000, payload });

      test(`what comes back reaches the client through ${device}`, () => {
        const rig = new TcpRig({ capabilities });
        rig.owner.reactions.syn = () => admit(rig);
        rig.deliver(datagram(ends));
        for (const length of [0, 1, 512, 1472 - (family === 4 ? 0 : 20)]) {
          reply(rig, pattern(length));
          expect(rig.frames.shift()?.packet).toEqual(answer(pattern(length)));
        }
      });

      const becomes = capabilities.uso ? 'one frame' : 'cut';
      test(`a run that comes back is ${becomes} for ${device}`, () => {
        const rig = new TcpRig({ capabilities });
        rig.owner.reactions.syn = () => admit(rig);
        rig.deliver(datagram(ends));
        const payload = pattern(2500);
        reply(rig, payload, 1000);
        if (capabilities.uso) {
          expect(rig.frames.map((frame) => frame.gsoSize)).toEqual([1000]);
        } else {
          const parts = [0, 1000, 2000].map((at) => payload.subarray(at, at + 1000));
          expect(rig.frames.map((frame) => frame.packet)).toEqual(parts.map(answer));
        }
        expect(rig.counters.get(Counter.DATAGRAMS_DOWN)).toBe(3);
      });
    }

    test('a datagram longer than the MTU comes back in fragments', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => admit(rig);
      rig.deliver(datagram(ends));
      reply(rig, pattern(4000));
      expect(rig.frames.length).toBeGreaterThan(2);
      for (const { packet } of rig.frames) expect(packet.length).toBeLessThanOrEqual(1500);
    });

    test('while no verdict comes, the owner is told when its time is over', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = (row, now) => {
        rig.stack.setDeadline(row, (now + 2_000_000) as typeof now);
      };
      rig.owner.reactions.deadline = () => reject(rig, 'rst');
      rig.deliver(datagram(ends));
      rig.wait(2100);
      expect(rig.flow.calls).toEqual(['syn', 'deadline', 'closed rejected by script']);
    });
  });

  describe(`ICMP echo over IPv${family}`, () => {
    test('to somebody behind the gateway is a flow, and comes out whole', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => admit(rig);
      const packet = echo(ends);
      rig.deliver(packet);
      expect(rig.owner.datagrams).toEqual([packet.slice(family === 4 ? 20 : 40)]);
      rig.deliver(echo(ends, { rest: 0x1234_0002 }));
      expect(rig.owner.flows).toHaveLength(1);
      rig.deliver(echo(ends, { rest: 0x1235_0001 }));
      expect(rig.owner.flows).toHaveLength(2);
    });

    test('the answer of a socket has the identifier that the client knows', () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = () => admit(rig);
      rig.deliver(echo(ends));
      const message = rig.owner.datagrams[0]!;
      const slab = rig.stack.slabs.take(message.length);
      const at = slab + SLAB_PAYLOAD_AT;
      rig.stack.arena.bytes.set(message, at);
      rig.stack.arena.view.setUint16(at + 4, 0x9999);
      rig.stack.echoReply(rig.row, at, message.length, 0, rig.now);
      rig.stack.slabs.release(slab);
      const type = family === 4 ? 0 : 129;
      expect(rig.frames.shift()?.packet).toEqual(echo(swapped(ends), { type }));
    });

    test('a refusal says that the host is out of reach, for there is no port', () => {
      const rig = new TcpRig();
      rig.deliver(echo(ends));
      const { PORT } = IcmpErrorKind;
      rig.stack.reject(rig.row, 'rst', PORT, CloseReason.UNCLAIMED, ClosedBy.GATEWAY, rig.now);
      const error = parseIcmpError(rig.frames.shift()!.packet);
      expect([error.type, error.code]).toEqual(family === 4 ? [3, 1] : [1, 3]);
      rig.expectEmpty();
    });
  });

  test(`an error that a datagram met on its way is told to the client over IPv${family}`, () => {
    const rig = new TcpRig();
    rig.owner.reactions.syn = () => admit(rig);
    rig.deliver(datagram(ends));
    const { stack } = rig;
    const quoted = pattern(30);
    const at = stack.slabs.take(64) + SLAB_PAYLOAD_AT;
    stack.arena.bytes.set(quoted, at);
    const offender = family === 4 ? [203, 0, 113, 7] : [0xfd, ...new Array(14).fill(0), 7];
    stack.arena.bytes.set(offender, at + 40);
    stack.relayError(rig.row, IcmpErrorKind.TOO_BIG, 1400, at + 40, at, 30, rig.now);
    const { packet } = rig.frames.shift()!;
    expect(parseIcmpError(packet)).toMatchObject({
      source: family === 4 ? '203.0.113.7' : 'fd00::7',
      destination: ends.source,
      type: family === 4 ? 3 : 2,
      code: family === 4 ? 4 : 0,
      quoted: { ...ends, sourcePort: 40_000, destinationPort: 53 },
    });
    const message = packet.subarray(family === 4 ? 20 : 40);
    expect(new DataView(packet.buffer, message.byteOffset).getUint32(4)).toBe(1400);
    stack.relayError(rig.row, IcmpErrorKind.PORT, 0, 0, at, 30, rig.now);
    expect(parseIcmpError(rig.frames.shift()!.packet).source).toBe(ends.destination);
  });

  test(`a protocol that nobody speaks is refused as such over IPv${family}`, () => {
    const rig = new TcpRig();
    rig.deliver(ipPacket(ends, 47, hex('00000800 45000000 01020304 05060708'), -1));
    expect(rig.drops).toEqual({ 'unknown-protocol': 1 });
    const error = parseIcmpError(rig.frames.shift()!.packet);
    expect([error.type, error.code]).toEqual(family === 4 ? [3, 2] : [4, 1]);
  });
}

test('a UDP checksum of zero is right over IPv4, and wrong over IPv6', () => {
  const rig = new TcpRig();
  for (const ends of FAMILIES) {
    const packet = datagram(ends);
    packet.fill(0, (ends === V4 ? 20 : 40) + 6, (ends === V4 ? 20 : 40) + 8);
    rig.deliver(packet);
  }
  expect(rig.owner.flows).toHaveLength(1);
  expect(rig.drops).toEqual({ 'bad-udp-checksum': 1 });
});

test('where memory is scarce, a flow may still begin, but keeps no second packet', () => {
  const rig = new TcpRig();
  const { slabs } = rig.stack;
  while (!slabs.isLean) slabs.take(60_000);
  for (const sourcePort of [1, 2, 2]) rig.deliver(datagram(V4, { sourcePort }));
  expect(rig.owner.flows).toHaveLength(2);
  expect(rig.drops).toEqual({ 'parked-limit': 1 });
});

test('a client whose datagrams are all refused does not keep others from being told', () => {
  const rig = new TcpRig({ limits: { heldSynsPerSource: 1, heldSyns: 2 } });
  rig.owner.reactions.syn = () => reject(rig, 'icmp');
  for (let ms = 0; ms < 1000; ms++) {
    for (let i = 0; i < 10; i++) rig.deliver(datagram(V4));
    rig.clock.advance(1000);
  }
  // Its burst, and 250 a second.
  expect(rig.frames.splice(0).length).toBeWithin(298, 302);
  rig.deliver(datagram({ ...V4, source: '198.18.0.2' }));
  expect(rig.frames).toHaveLength(1);
});

test('a broadcast begins no flow, and is not answered', () => {
  const rig = new TcpRig();
  rig.deliver(datagram({ ...V4, destination: '255.255.255.255' }));
  expect(rig.drops).toEqual({ 'multicast-destination': 1 });
  expect(rig.frames).toEqual([]);
});

test('one source can have but so many flows that wait', () => {
  const rig = new TcpRig({ limits: { heldSyns: 8, heldSynsPerSource: 3 } });
  for (let port = 1; port <= 5; port++) rig.deliver(datagram(V4, { sourcePort: port }));
  expect(rig.owner.flows).toHaveLength(3);
  expect(rig.drops).toEqual({ 'held-syn-source-limit': 2 });
  for (const { row } of rig.owner.flows) rig.stack.admit(row, rig.now);
  rig.deliver(datagram(V4, { sourcePort: 9 }));
  expect(rig.owner.flows).toHaveLength(4);
});

for (const ends of FAMILIES) {
  const family = ends === V4 ? 4 : 6;
  test(`IPv${family}: what the host has no socket for is no error, nor remembered`, () => {
    const rig = new TcpRig();
    const { HOST } = IcmpErrorKind;
    rig.owner.reactions.syn = () => {
      const { DIAL_SHORTAGE } = CloseReason;
      rig.stack.reject(rig.row, 'drop', HOST, DIAL_SHORTAGE, ClosedBy.GATEWAY, rig.now);
    };
    rig.deliver(datagram(ends));
    expect(rig.flow.calls.at(-1)).toBe('closed dial-shortage by gateway');
    rig.owner.reactions.syn = () => admit(rig);
    rig.deliver(datagram(ends));
    expect(rig.owner.datagrams).toHaveLength(1);
    expect(rig.drops).toEqual({ 'dial-shortage': 1 });
    expect(rig.frames).toEqual([]);
  });
}

test('a gateway that drains takes no new flow, and carries those that it has', () => {
  const rig = new TcpRig();
  rig.owner.reactions.syn = () => admit(rig);
  rig.deliver(datagram(V4));
  rig.stack.drain();
  rig.deliver(datagram(V4, { sourcePort: 9 }));
  rig.deliver(datagram(V4));
  expect(rig.owner.flows).toHaveLength(1);
  expect(rig.owner.datagrams).toHaveLength(2);
  expect(rig.drops).toEqual({ draining: 1 });
});
