/** What may be sent, how it is cut, and the window that is offered. */

import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowCount } from '../../../src/stack/flow-counts.ts';
import { flowTotal } from '../../../src/stack/flow-tally.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../support/memory-device.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const MSS = 1460;

describe('new data', () => {
  test('leaves as one superpacket that the device cuts', () => {
    const rig = inState('ESTABLISHED');
    rig.send(14_000);
    const segment = rig.peer.expects('P. 1:14001(14000) ack 1');
    expect(segment.gsoSize).toBe(MSS);
    expect(rig.counters.get(Counter.DEVICE_SUPERFRAMES_OUT)).toBe(1);
    expect(flowTotal(rig.counters, FlowCount.BYTES_DOWN)).toBe(14_000);
  });

  test('of one MSS at most needs no cutting', () => {
    const rig = inState('ESTABLISHED');
    rig.send(MSS);
    expect(rig.peer.expects(`P. 1:${1 + MSS}(${MSS}) ack 1`).gsoSize).toBe(0);
  });

  for (const family of [4, 6] as const) {
    test(`IPv${family}: is cut here for a device that cannot`, () => {
      const rig = inState('ESTABLISHED', { family, capabilities: NO_OFFLOAD });
      const mss = family === 4 ? 1460 : 1440;
      rig.send(3000);
      rig.peer.expects(`. 1:${1 + mss}(${mss}) ack 1`);
      rig.peer.expects(`. ${1 + mss}:${1 + 2 * mss}(${mss}) ack 1`);
      rig.peer.expects(`P. ${1 + 2 * mss}:3001(${3000 - 2 * mss}) ack 1`);
    });

    test(`IPv${family}: is cut here for a device with a vnet header but no TSO`, () => {
      const capabilities = { ...FULL_OFFLOAD, tso4: false, tso6: false };
      const rig = inState('ESTABLISHED', { family, capabilities });
      rig.send(3000);
      expect(rig.peer.readAll().map(({ gsoSize }) => gsoSize)).toEqual([0, 0, 0]);
    });
  }

  test('waits for the congestion window: ten segments at first (RFC 6928)', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100_000);
    const sent = rig.peer.readAll().reduce((sum, { payload }) => sum + payload.length, 0);
    expect(sent).toBe(10 * MSS);
    expect(rig.flow.unsent).toBe(100_000 - 10 * MSS);
  });

  test('is a whole number of segments, so that the device cuts no small one', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 40');
    rig.send(10_000);
    // 5,120 bytes of window are three segments and a rest.
    rig.peer.expects(`P. 1:${1 + 3 * MSS}(${3 * MSS}) ack 1`);
    rig.peer.expectsNothing();
  });

  test('of any length arrives whole as acknowledgments come', () => {
    const rig = inState('ESTABLISHED', { stackIss: 0xffff_0000 });
    rig.send(3_000_000);
    rig.close();
    let last = 1;
    for (let turn = 0; turn < 10_000 && rig.state !== 'FIN-WAIT-2'; turn++) {
      for (const segment of rig.peer.readAll()) {
        expect(rig.peer.relative(segment)).toBe(last);
        last += segment.payload.length + (segment.flags & 1);
        rig.peer.sends(`. 1:1(0) ack ${last} win 8000`);
      }
      rig.wait(1);
    }
    expect(last).toBe(3_000_002);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    expect(rig.counters.get(Counter.TCP_RETRANSMITS)).toBe(0);
  });

  test('a flow never takes more slabs than it may', () => {
    const rig = inState('ESTABLISHED', { settings: { slabBytesPerFlow: 200_000 } });
    let largest = 0;
    rig.send(2_000_000);
    for (let acked = 1; acked < 2_000_001; ) {
      largest = Math.max(largest, rig.stack.slabs.bytesUsed);
      const segment = rig.peer.read();
      if (segment === undefined) throw new Error('nothing more was sent');
      acked += segment.payload.length;
      rig.peer.sends(`. 1:1(0) ack ${acked} win 8000`);
    }
    // One superpacket over, because room is counted in payload.
    expect(largest).toBeLessThan(200_000 + 69_632);
  });

  test('small writes in flight do not wait for each other: there is no Nagle algorithm', () => {
    const rig = inState('ESTABLISHED');
    rig.send(10);
    rig.send(10);
    rig.peer.expects('P. 1:11(10) ack 1');
    rig.peer.expects('P. 11:21(10) ack 1');
  });

  test('carries the acknowledgment that was owed', () => {
    const rig = inState('ESTABLISHED');
    rig.owner.reactions.data = () => rig.send(50);
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    // The answer leaves inside the call, with what was acknowledged before it.
    rig.peer.expects('P. 1:51(50)');
    rig.wait(44);
    rig.peer.readAll();
    expect(rig.peer.relativeAck(rig.peer.last)).toBe(101);
  });
});

describe('the window that is offered', () => {
  test('is 65,535 bytes on the SYN-ACK and 128 KiB after it', () => {
    const rig = inState('SYN-RECEIVED');
    expect(rig.peer.last.window).toBe(65_535);
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    expect(rig.peer.expects('. 1:1(0) ack 2').window << 7).toBe(128 * 1024);
  });

  test('is never taken back while the owner is slow', () => {
    const rig = inState('ESTABLISHED', { settings: { slabBytesPerFlow: 60_000 } });
    rig.flow.appetite = 0;
    let sent = 1;
    let right = 0;
    for (let i = 0; i < 60; i++) {
      const length = [100, 1460, 700, 3][i % 4]!;
      rig.peer.sends(`P. ${sent}:${sent + length}(${length}) ack 1 win 512`);
      sent += length;
      if (i % 7 === 0) rig.eat(1000);
      rig.wait(44);
      for (const segment of rig.peer.readAll()) {
        const edge = rig.peer.relativeAck(segment) + (segment.window << 7);
        // Less than a step of the scale may be lost to rounding, RFC 7323 §2.4.
        expect(edge).toBeGreaterThan(right - 128);
        right = Math.max(right, edge);
      }
    }
    expect(rig.drops).toEqual({});
  });

  test('is exact without scaling', () => {
    const rig = new TcpRig({ settings: { slabBytesPerFlow: 10_000 } });
    rig.owner.appetite = 0;
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 win 10000');
    rig.peer.sends('P. 1:3001(3000) ack 1 win 65535');
    rig.peer.expects('. 1:1(0) ack 3001 win 7000');
  });

  test('is zero behind a FIN that took its last number', () => {
    const rig = new TcpRig({ settings: { slabBytesPerFlow: 3000 } });
    rig.owner.appetite = 0;
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
    rig.accept();
    rig.peer.read();
    rig.peer.sends('F. 1:3001(3000) ack 1 win 65535');
    rig.peer.expects('. 1:1(0) ack 3002 win 0');
  });
});
