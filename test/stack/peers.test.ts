/** Packets that came to the wrong queue reach the stack that has their flow. */
import { describe, expect, test } from 'bun:test';
import { CounterSum } from '../../src/gateway/supervisor/metrics/counter-sum.ts';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { checkBalance } from '../support/balance.ts';
import { fragmentsOf } from '../support/fragments.ts';
import { icmpPacket, pattern, tcpPacket, udpPacket } from '../support/packet-builder.ts';
import { QueueRigs } from '../support/queue-rigs.ts';

const SYN = 0x02;
const FAMILIES = [
  {
    ends: { source: '198.18.0.1', destination: '198.51.100.9' },
    pool: '192.0.2.1',
    tooBig: { type: 3, code: 4, parameter: 1200 },
  },
  {
    ends: { source: 'fd00::1', destination: '2001:db8::9' },
    pool: '2001:db8:1::1',
    tooBig: { type: 2, code: 0, parameter: 1300 },
  },
] as const;
const PORTS = { sourcePort: 40_000, destinationPort: 5353 };

describe.each(FAMILIES)('from $ends.source', ({ ends, pool, tooBig }) => {
  const datagram = (bytes: number) => udpPacket({ ...ends, ...PORTS, payload: pattern(bytes) });
  const reply = { source: ends.destination, destination: pool, sourcePort: 5353 };

  /** The first stack serves a session of the client. */
  function withSession() {
    const queues = new QueueRigs();
    const [first, second] = queues.rigs;
    for (const rig of queues.rigs)
      rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
    first.deliver(datagram(30));
    expect(first.owner.datagrams).toHaveLength(1);
    return { queues, first, second };
  }

  /** The first stack masquerades whatever the client begins. */
  function withNat() {
    const queues = new QueueRigs();
    const [first, second] = queues.rigs;
    first.stack.setPool([parseAddress(pool) as Uint8Array]);
    first.owner.reactions.syn = (row, now) => {
      expect(first.stack.nat(row, true, now)).toBe(CloseReason.NONE);
    };
    first.deliver(datagram(30));
    expect(first.frames.splice(0)).toHaveLength(1);
    return { queues, first, second };
  }

  test('a datagram of a flow of the other queue is handed over', () => {
    const { first, second } = withSession();
    second.deliver(datagram(31));
    expect(first.owner.datagrams.map(({ length }) => length)).toEqual([30, 31]);
    expect(second.owner.flows).toEqual([]);
    expect(second.counters.get(Counter.PEER_FRAMES_OUT)).toBe(1);
    expect(first.counters.get(Counter.PEER_FRAMES_IN)).toBe(1);
  });

  test('each frame is counted once, whichever stack it ended in', () => {
    const { queues, first, second } = withSession();
    const balance = () => checkBalance(new CounterSum([first.counters, second.counters]));
    second.deliver(datagram(31));
    balance();
    for (const fragment of fragmentsOf(datagram(3000), 1400)) second.deliver(fragment);
    balance();
    queues.isFull = true;
    second.deliver(datagram(32));
    balance();
    expect(second.counters.arrivedReason).toBe(DropReason.PEER_FULL);
  });

  test('a packet that is put together of fragments is handed over whole', () => {
    const { queues, first, second } = withSession();
    for (const fragment of fragmentsOf(datagram(3000), 1400)) second.deliver(fragment);
    expect(queues.handedOver).toHaveLength(1);
    expect(first.owner.datagrams.at(-1)).toEqual(pattern(3000));
  });

  test('a datagram of nobody begins a flow where it came', () => {
    const { queues, second } = withSession();
    second.deliver(udpPacket({ ...ends, ...PORTS, sourcePort: 1, payload: pattern(9) }));
    expect(queues.handedOver).toEqual([]);
    expect(second.owner.flows).toHaveLength(1);
  });

  test('serial numbers of the two are never the same', () => {
    const { first, second } = withSession();
    second.deliver(udpPacket({ ...ends, ...PORTS, sourcePort: 1 }));
    first.deliver(udpPacket({ ...ends, ...PORTS, sourcePort: 2 }));
    const serials = [first, second].map(({ stack, owner }) =>
      owner.flows.map(({ row }) => stack.arena.view.getFloat64(stack.rowAt(row), true)),
    );
    expect(serials).toEqual([[1, 3], [2]]);
  });

  test('a reply to a masqueraded flow goes back to the client', () => {
    const { first, second } = withNat();
    second.deliver(udpPacket({ ...reply, destinationPort: 40_000, payload: pattern(7) }));
    expect(second.frames).toEqual([]);
    const back = { source: ends.destination, destination: ends.source, ttl: 63 };
    const ports = { sourcePort: 5353, destinationPort: 40_000 };
    expect(first.frames[0]?.packet).toEqual(udpPacket({ ...back, ...ports, payload: pattern(7) }));
  });

  test('an error about a rewritten packet goes to the client', () => {
    const { queues, first, second } = withNat();
    const quoted = udpPacket({ ...ends, ...PORTS, source: pool, payload: pattern(30) });
    const error = { source: ends.destination, destination: pool, payload: quoted };
    second.deliver(icmpPacket({ ...error, ...tooBig }));
    expect(queues.handedOver).toHaveLength(1);
    expect(first.frames).toHaveLength(1);
    expect(second.drops).toEqual({});
  });

  test('an error about a segment of our TCP is obeyed', () => {
    const queues = new QueueRigs();
    const [first, second] = queues.rigs;
    const serverEnds = { source: ends.destination, destination: ends.source };
    first.owner.reactions.syn = (row, now) => first.stack.accept(row, now);
    first.deliver(tcpPacket({ ...ends, sourcePort: 40_000, destinationPort: 443, flags: SYN }));
    const answer = first.frames.splice(0)[0]?.packet as Uint8Array;
    second.deliver(
      icmpPacket({
        ...serverEnds,
        source: ends.source,
        destination: ends.destination,
        ...tooBig,
        payload: answer,
      }),
    );
    expect(first.counters.get(Counter.ICMP_ERRORS_MATCHED)).toBe(1);
    expect(second.drops).toEqual({});
  });

  test('what a full inbox does not take is dropped with its reason', () => {
    const { queues, second } = withSession();
    queues.isFull = true;
    second.deliver(datagram(31));
    expect(second.drops).toEqual({ 'peer-full': 1 });
    expect(second.owner.flows).toEqual([]);
  });

  test('a packet of a flow that ended on its way is not handed over again', () => {
    const { queues, first, second } = withSession();
    first.takeOver(first.device.incoming(udpPacket({ ...ends, ...PORTS, sourcePort: 77 })));
    expect(first.owner.flows).toHaveLength(2);
    second.takeOver(second.device.incoming(datagram(31)));
    expect(second.owner.flows).toHaveLength(1);
    expect(queues.handedOver).toEqual([]);
  });
});
