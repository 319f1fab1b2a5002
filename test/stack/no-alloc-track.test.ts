/** A packet that is rewritten makes no object, nor does the beginning or the end of its flow. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { ClosedBy } from '../../src/stack/flow-row.ts';
import type { Instant } from '../../src/stack/time.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { icmpPacket, tcpPacket, udpPacket } from '../support/packet-builder.ts';
import { encodeOptions } from '../support/segment-text.ts';
import { CLIENT, POOL, SERVER, TrackRig } from '../support/track-rig.ts';

// Each test makes 22,000 calls, which takes its time on a busy machine.
setDefaultTimeout(60_000);

const SEQ_AT = 24;
const ACK_AT = 28;
const ENDS = { source: CLIENT, destination: SERVER };
const REPLY_ENDS = {
  source: SERVER,
  destination: POOL,
  sourcePort: 80,
  destinationPort: 40_000,
};
const ACK = 0x10;
const V6 = { source: 'fd00::7', destination: '2001:db8::9' };
const V6_POOL = '2001:db8::1';

function expectNothing(rig: TrackRig, run: (call: number) => void): void {
  expect(allocatedTypes(run)).toEqual([]);
  expect(rig.resets).toEqual([]);
}

test('data of a TCP connection, and acknowledgments with and without blocks', () => {
  const rig = new TrackRig({ isSilent: true });
  const options = encodeOptions(['mss 1460', 'wscale 7', 'sackOK']);
  rig.client({ flags: 2, seq: 0, options });
  rig.upstream({ flags: 0x12, seq: 0, ack: 1, options });
  rig.client({ flags: ACK, seq: 1, ack: 1 });
  const data = tcpPacket({ ...ENDS, flags: ACK, ack: 1, payload: new Uint8Array(1000) });
  const sack = encodeOptions(['nop', 'nop', 'sack 1:2']);
  const answer = tcpPacket({ ...REPLY_ENDS, flags: ACK, seq: 1, options: sack });
  const dataView = new DataView(data.buffer);
  const answerView = new DataView(answer.buffer);
  let sent = 1;
  expectNothing(rig, () => {
    dataView.setUint32(SEQ_AT, sent);
    sent = (sent + 1000) >>> 0;
    answerView.setUint32(ACK_AT, sent);
    if (rig.offer(data) !== 'none' || rig.offer(answer) !== 'none') throw new Error('dropped');
  });
});

test('datagrams in both directions, of both families', () => {
  for (const [ends, pool] of [
    [ENDS, POOL],
    [V6, V6_POOL],
  ] as const) {
    const rig = new TrackRig({ isSilent: true, pool: [pool] });
    const up = udpPacket({ ...ends, payload: new Uint8Array(64) });
    rig.offer(up);
    const down = udpPacket({ ...rig.replyEnds(), payload: new Uint8Array(64) });
    expectNothing(rig, () => {
      if (rig.offer(up) !== 'none' || rig.offer(down) !== 'none') throw new Error('dropped');
    });
  }
});

test('errors about packets of a flow', () => {
  const rig = new TrackRig({ isSilent: true });
  rig.clientUdp();
  const quote = udpPacket({ ...ENDS, source: POOL, payload: new Uint8Array(64) });
  const error = icmpPacket({ source: '203.0.113.1', destination: POOL, type: 11, payload: quote });
  expectNothing(rig, () => {
    if (rig.offer(error) !== 'none') throw new Error('dropped');
  });
});

test('flows that begin and end, with their mappings', () => {
  const rig = new TrackRig({ isSilent: true });
  const packet = udpPacket(ENDS);
  const ports = new DataView(packet.buffer);
  expectNothing(rig, (call) => {
    ports.setUint16(20, 1024 + (call % 50_000));
    if (rig.offer(packet) !== 'none') throw new Error('dropped');
    rig.conntrack.end(0, CloseReason.IDLE, ClosedBy.GATEWAY, rig.now);
  });
  expect(rig.flows.used).toBe(0);
});

test('a flood of new flows into a full table, and the reaper behind it', () => {
  const rig = new TrackRig({ isSilent: true, flows: 256 });
  const packet = udpPacket(ENDS);
  const ports = new DataView(packet.buffer);
  expectNothing(rig, (call) => {
    ports.setUint16(20, 1024 + (call % 50_000));
    rig.offer(packet);
    if (rig.flows.used === 256) rig.conntrack.earlyDrop(rig.now);
    rig.now = (rig.now + 10_000) as Instant;
    rig.conntrack.reap(rig.now);
  });
});
