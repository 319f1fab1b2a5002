/** The public face: what the parts promise together. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { ClosedBy } from '../../src/stack/flow-row.ts';
import { NO_FLOW } from '../../src/stack/flow-table.ts';
import {
  boundsOf,
  FlowReader,
  FRAME_BYTES,
  OWNER_ROW_BYTES,
  stateBytes,
} from '../../src/stack/layout.ts';
import { NEVER } from '../../src/stack/time.ts';
import { NO_OFFLOAD } from '../support/memory-device.ts';
import { LIMITS, TcpRig } from '../support/tcp-rig.ts';
import { inState } from '../support/tcp-states.ts';

describe('memory', () => {
  test('is what stateBytes says, for small and large limits', () => {
    for (const flows of [1, 2, 100, 65_536]) {
      for (const slabBytes of [1, 200_000, 10_000_000]) {
        const limits = { ...LIMITS, flows, slabBytes };
        const rig = new TcpRig({ limits });
        expect(rig.stack.arena.used).toBeLessThanOrEqual(stateBytes(limits));
        // Little is wasted: the margin is for alignment only.
        expect(stateBytes(limits) - rig.stack.arena.used).toBeLessThan(100_000);
      }
    }
  });

  test('too small for its limits is refused at once', () => {
    expect(() => new TcpRig({ memory: new ArrayBuffer(100_000) })).toThrow('cannot hold');
  });

  test('has a place for the largest frame, and a row for the owner of each flow', () => {
    const { stack } = new TcpRig();
    expect(stack.frameAt + FRAME_BYTES).toBeLessThanOrEqual(stack.ownerAt);
    const end = stack.ownerAt + LIMITS.flows * OWNER_ROW_BYTES;
    expect(end).toBeLessThanOrEqual(stack.arena.buffer.byteLength);
    expect(stack.arena.bytes.subarray(stack.ownerAt, end).every((byte) => byte === 0)).toBe(true);
  });

  test('shows its flows to a reader outside', () => {
    const rig = inState('ESTABLISHED');
    const reader = new FlowReader([rig.memory], LIMITS);
    expect(reader.snapshot(rig.row)).toMatchObject({ tcpState: 'ESTABLISHED', phase: 'open' });
    expect(reader.snapshot(rig.row + 1)).toBeUndefined();
  });
});

describe('time', () => {
  test('there is nothing to wait for without flows', () => {
    expect(new TcpRig().stack.pollAt()).toBe(NEVER);
  });

  test('expire before the deadline does nothing', () => {
    const rig = inState('SYN-RECEIVED');
    rig.stack.expire(rig.now);
    rig.peer.expectsNothing();
    expect(rig.stack.pollAt()).toBeGreaterThan(rig.now);
  });

  test('expire long after it does everything that is due', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.peer.readAll();
    rig.clock.advance(10_000_000);
    rig.stack.expire(rig.now);
    rig.peer.expects('P. 1:101(100) ack 1');
    rig.peer.expectsNothing();
  });

  test('an acknowledgment is sent by flush, not before', () => {
    const rig = inState('ESTABLISHED');
    rig.batch(() => {
      rig.peer.sends('F. 1:1(0) ack 1 win 512');
      rig.peer.expectsNothing();
    });
    rig.peer.expects('. 1:1(0) ack 2');
  });
});

test('a connection in TIME-WAIT is over', () => {
  expect(inState('TIME-WAIT').stack.nextConnection(0)).toBe(NO_FLOW);
  expect(inState('FIN-WAIT-2').stack.nextConnection(0)).toBe(0);
  expect(inState('FIN-WAIT-2').stack.nextConnection(1)).toBe(NO_FLOW);
});

describe('gauges', () => {
  test('tell limits from the start and use as it changes', () => {
    const rig = inState('ESTABLISHED');
    const { counters } = rig;
    expect(counters.get(Counter.FLOWS_LIMIT_NOW)).toBe(LIMITS.flows);
    expect(counters.get(Counter.SLAB_BYTES_LIMIT_NOW)).toBe(rig.stack.slabs.bytesLimit);
    expect(counters.get(Counter.FLOWS_NOW)).toBe(1);
    expect(counters.get(Counter.FLOWS_TOTAL)).toBe(1);
    rig.send(100);
    rig.stack.flush(rig.now);
    expect(counters.get(Counter.SLAB_BYTES_NOW)).toBe(rig.stack.slabs.bytesUsed);
    expect(counters.get(Counter.SLAB_BYTES_NOW)).toBeGreaterThan(0);
    rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
    rig.stack.flush(rig.now);
    expect(counters.get(Counter.FLOWS_NOW)).toBe(0);
    expect(counters.get(Counter.SLAB_BYTES_NOW)).toBe(0);
  });
});

test('bounds change while flows live, and not beyond what memory is laid out for', () => {
  const rig = inState('ESTABLISHED');
  const { counters, stack } = rig;
  const laidOut = stack.slabs.bytesLimit;
  stack.setBounds({ ...boundsOf(LIMITS), flows: 1, slabBytes: 1 });
  expect(counters.get(Counter.FLOWS_LIMIT_NOW)).toBe(1);
  expect(counters.get(Counter.SLAB_BYTES_LIMIT_NOW)).toBeLessThan(laidOut);
  const next = rig.newPeer({ port: 4001 });
  next.sends('S 0:0(0) win 65535 <mss 1460>');
  expect(counters.dropped(DropReason.FLOW_TABLE_FULL)).toBe(1);
  rig.send(100);
  expect(rig.state).toBe('ESTABLISHED');
  stack.setBounds({ ...boundsOf(LIMITS), flows: 1e9, slabBytes: 1e12 });
  expect(counters.get(Counter.FLOWS_LIMIT_NOW)).toBe(LIMITS.flows);
  expect(counters.get(Counter.SLAB_BYTES_LIMIT_NOW)).toBe(laidOut);
  next.sends('S 0:0(0) win 65535 <mss 1460>');
  expect(counters.get(Counter.FLOWS_NOW)).toBe(2);
});

describe('many flows', () => {
  for (const family of [4, 6] as const) {
    for (const capabilities of [undefined, NO_OFFLOAD]) {
      const device = capabilities === undefined ? 'with' : 'without';
      test(`IPv${family}, ${device} offloads: bytes of one never reach another`, () => {
        const rig = new TcpRig({ family, ...(capabilities && { capabilities }) });
        const peers = Array.from({ length: 50 }, (_, i) => rig.newPeer({ port: 1000 + i }));
        for (const peer of peers) rig.connect(peer);
        for (let turn = 0; turn < 5; turn++) {
          rig.batch(() => {
            for (const [i, peer] of peers.entries()) {
              const at = 1 + turn * (i + 1);
              peer.sends(`P. ${at}:${at + i + 1}(${i + 1}) ack 1 win 512`);
            }
          });
        }
        for (const [i, flow] of rig.owner.flows.entries()) expect(flow.received).toBe(5 * (i + 1));
        for (const flow of rig.owner.flows) rig.owner.send(flow.row, 100, rig.now);
        for (const [i, peer] of peers.entries()) {
          const { payload } = peer.readAll().at(-1)!;
          expect(payload).toHaveLength(100);
          peer.sends(`R ${1 + 5 * (i + 1)}:${1 + 5 * (i + 1)}(0)`);
        }
        rig.expectEmpty();
      });
    }
  }
});
