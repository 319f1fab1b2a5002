/** Errors about answers that sessions have sent: who is believed, and what follows. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { SLAB_PAYLOAD_AT } from '../../src/stack/slab-pool.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { concat, icmpPacket, pattern, udpPacket } from '../support/packet-builder.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const FAMILIES = [
  {
    ends: { source: '198.18.0.1', destination: '198.18.0.80' },
    router: '198.18.0.254',
    port: { type: 3, code: 3 },
    host: { type: 3, code: 1 },
    tooBig: { type: 3, code: 4 },
    least: 576,
    headerBytes: 20,
    fragmentHeaderBytes: 20,
  },
  {
    ends: { source: 'fd00::1', destination: 'fd00::80' },
    router: 'fd00::fe',
    port: { type: 1, code: 4 },
    host: { type: 1, code: 3 },
    tooBig: { type: 2, code: 0 },
    least: 1280,
    headerBytes: 40,
    fragmentHeaderBytes: 48,
  },
] as const;

function send(rig: TcpRig, payload: Uint8Array, segmentBytes = 0): Uint8Array[] {
  const slab = rig.stack.slabs.take(payload.length);
  const at = slab + SLAB_PAYLOAD_AT;
  rig.stack.arena.bytes.set(payload, at);
  rig.stack.datagram(rig.row, at, payload.length, segmentBytes, 0, rig.now);
  rig.stack.slabs.release(slab);
  return rig.frames.splice(0).map(({ packet }) => packet);
}

describe.each(FAMILIES)('about an answer to $ends.source', (family) => {
  const { ends, router, port, host, tooBig, least, headerBytes, fragmentHeaderBytes } = family;
  const ports = { sourcePort: 40_000, destinationPort: 5353 };
  const error = (fields: object) =>
    icmpPacket({ source: ends.source, destination: ends.destination, type: 0, ...fields });

  /** A session whose client has sent one datagram. */
  function asked(capabilities = FULL_OFFLOAD): TcpRig {
    const rig = new TcpRig({ capabilities });
    rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
    rig.deliver(udpPacket({ ...ends, ...ports, payload: pattern(30) }));
    return rig;
  }

  test('"port unreachable" of the client ends the session', () => {
    const rig = asked();
    const [answer] = send(rig, pattern(100));
    rig.deliver(error({ ...port, payload: answer }));
    expect(rig.flow.calls.at(-1)).toBe('closed client-unreachable by client');
    expect(rig.counters.get(Counter.ICMP_ERRORS_MATCHED)).toBe(1);
    expect(rig.drops).toEqual({});
    rig.expectEmpty();
  });

  test('nothing else does: neither a router, nor another error', () => {
    const rig = asked();
    const [answer] = send(rig, pattern(100));
    rig.deliver(error({ ...port, source: router, payload: answer }));
    rig.deliver(error({ ...host, payload: answer }));
    expect(rig.stack.flows.used).toBe(1);
    expect(rig.drops).toEqual({});
  });

  test('a flow that was not answered has nothing that could have failed', () => {
    const rig = asked();
    const swapped = { source: ends.destination, destination: ends.source };
    const forged = { ...swapped, sourcePort: 5353, destinationPort: 40_000 };
    rig.deliver(error({ ...port, payload: udpPacket(forged) }));
    expect(rig.stack.flows.used).toBe(1);
    expect(rig.counters.get(Counter.ICMP_ERRORS_MATCHED)).toBe(0);
  });

  test('an error to somebody who did not send the answer is dropped', () => {
    const rig = asked();
    const [answer] = send(rig, pattern(100));
    rig.deliver(error({ ...port, destination: router, payload: answer }));
    expect(rig.drops).toEqual({ 'bad-icmp-quote': 1 });
    expect(rig.stack.flows.used).toBe(1);
  });

  for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
    const how = capabilities.uso ? 'with' : 'without';
    test(`answers that are too big for a link leave in fragments, ${how} offload`, () => {
      const rig = asked(capabilities);
      const [answer] = send(rig, pattern(1400));
      rig.deliver(error({ ...tooBig, source: router, rest: 1300, payload: answer }));
      const fragments = send(rig, pattern(1400));
      expect(fragments.map(({ length }) => length > 1300)).toEqual([false, false]);
      const bodies = fragments.map((packet) => packet.subarray(fragmentHeaderBytes));
      expect(concat(bodies)).toEqual(new Uint8Array(answer!.subarray(headerBytes)));
      // Runs of long datagrams come one by one, and those of short ones as before.
      expect(send(rig, pattern(2800), 1400)).toHaveLength(4);
      expect(send(rig, pattern(2000), 1000)).toHaveLength(capabilities.uso ? 1 : 2);
      rig.clock.advance(601_000_000);
      expect(send(rig, pattern(1400))).toHaveLength(1);
    });
  }

  test('a forged MTU cuts no packet into crumbs', () => {
    const rig = asked();
    const [answer] = send(rig, pattern(1400));
    rig.deliver(error({ ...tooBig, source: router, rest: 68, payload: answer }));
    const lengths = send(rig, pattern(1400)).map(({ length }) => length);
    expect(lengths[0]).toBeGreaterThan(least - 16);
    expect(lengths[0]).toBeLessThanOrEqual(least);
  });

  test('an error about an answer that would have fitted says nothing', () => {
    const rig = asked();
    const [answer] = send(rig, pattern(100));
    rig.deliver(error({ ...tooBig, source: router, rest: 1300, payload: answer }));
    expect(send(rig, pattern(1400))).toHaveLength(1);
  });
});

test('runs of datagrams that are longer than the MTU are not left to the device', () => {
  const rig = new TcpRig();
  rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
  const [{ ends }] = FAMILIES;
  rig.deliver(udpPacket(ends));
  expect(send(rig, pattern(2 * 1472), 1472)).toHaveLength(1);
  expect(send(rig, pattern(2 * 1473), 1473)).toHaveLength(4);
});
