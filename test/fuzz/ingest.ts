/**
 * Throws bytes at a stack: noise, packets with a few bytes changed, right segments with wrong
 * numbers. Three things must hold: nothing throws, every frame is accounted for, and a well-behaved
 * flow beside it all moves its bytes.
 */

import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { FlowField, type FlowSnapshot, readFlowRow } from '../../src/stack/flow-row.ts';
import { TcbFlag } from '../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../src/stack/time.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';
import { checkBalance } from '../support/balance.ts';
import { KERNEL_PACKETS, KERNEL_VNET_FRAMES } from '../support/kernel-packets.ts';
import { randomNumbers } from '../support/lossy-link.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { concat, icmpPacket, tcpPacket, udpPacket } from '../support/packet-builder.ts';
import type { ScriptedPeer } from '../support/scripted-peer.ts';
import { encodeOptions } from '../support/segment-text.ts';
import { TcpRig } from '../support/tcp-rig.ts';
import { trackSettings } from '../support/tracking.ts';

type Random = (below: number) => number;
type Addresses = { readonly source: string; readonly destination: string };

const FRAMES_PER_ROUND = 500;
/** Of masqueraded flows. */
const POOL = ['192.0.2.1', '2001:db8:1::1'];
const NOISE_MAX = 2000;
const LIMITS = {
  flows: 48,
  flowsPerSource: 40,
  heldSyns: 40,
  heldSynsPerSource: 30,
  timeWait: 8,
  slabBytes: 20 * 69_632,
  slabBytesPerFlow: 200_000,
};

/** What a round did, for the report. */
export interface Round {
  readonly seed: number;
  readonly frames: number;
  /** Reasons for drops that were seen, with their numbers. */
  readonly drops: Readonly<Record<string, number>>;
  readonly flows: number;
}

/**
 * One round: a stack, a well-behaved flow, and bad frames between its segments.
 *
 * @throws Error when one of the three does not hold; the seed makes it happen again
 */
export function fuzzRound(seed: number): Round {
  const random = randomNumbers(seed + 1);
  // The first numbers of near seeds are near each other.
  for (let i = 0; i < 8; i++) random(2);
  const family = random(2) === 0 ? 4 : 6;
  const capabilities = random(2) === 0 ? FULL_OFFLOAD : NO_OFFLOAD;
  const rig = new TcpRig({ family, capabilities, limits: LIMITS, timestamps: random(2) === 0 });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.device.isCareless = true;
  const peer = rig.newPeer({ port: 50_000 });
  rig.connect(peer);
  const legit = rig.flow;
  behaveRandomly(rig, random);
  let sent = 1;
  for (let i = 0; i < FRAMES_PER_ROUND; i++) {
    if (random(10) === 0) dropNoise(rig, noise(random, random(NOISE_MAX)));
    const frame = badFrame(rig, random);
    rig.batch(() => rig.deliverFrame(frame));
    checkBalance(rig.counters);
    if (random(8) === 0) rig.wait(random(50));
    if (random(100) === 0) rig.wait(random(40_000));
    if (i % 25 === 24) sent = exchange(rig, peer, legit.row, sent);
    rig.frames.length = 0;
  }
  const expected = legit.received;
  if (expected !== sent - 1) throw new Error(`${expected} of ${sent - 1} bytes arrived`);
  if (legit.isGone) throw new Error(`the flow ended: ${legit.calls.at(-1)}`);
  const { drops } = rig;
  const frames = rig.counters.get(Counter.DEVICE_FRAMES_IN);
  finish(rig);
  checkBalance(rig.counters);
  return { seed, frames, drops, flows: rig.owner.flows.length };
}

/** The well-behaved flow sends and receives, as if nothing else went on. */
function exchange(rig: TcpRig, peer: ScriptedPeer, row: number, sent: number): number {
  rig.frames.length = 0;
  const flow = rig.owner.flow(row);
  const before = flow.sent;
  peer.sends(`P. ${sent}:${sent + 300}(300) ack ${before + 1} win 512`);
  rig.owner.send(row, 200, rig.now);
  const segments = peer.readAll();
  const got = segments.reduce((sum, { payload }) => sum + payload.length, 0);
  if (got !== 200) throw new Error(`${got} of 200 bytes came back`);
  peer.sends(`. ${sent + 300}:${sent + 300}(0) ack ${before + 201} win 512`);
  return sent + 300;
}

/** Owners of the other flows take what they like, answer, and close. */
function behaveRandomly(rig: TcpRig, random: Random): void {
  const isLegit = (row: number) => rig.owner.flow(row) === rig.owner.flows[0];
  rig.stack.setPool(POOL.map((ip) => parseAddress(ip) as Uint8Array));
  rig.stack.setTracking(trackSettings({ perSource: 20, firstPort: 1024, lastPort: 1040 }));
  rig.owner.reactions.syn = (row, now) => {
    const flow = rig.owner.flow(row);
    if (decideOnPackets(rig, random, row, now)) return;
    flow.appetite = random(3) === 0 ? 0 : Number.POSITIVE_INFINITY;
    // What a stranger sends is no stream of ours.
    flow.isStranger = true;
    if (random(4) !== 0) rig.stack.accept(row, now);
    else if (random(2) === 0) rig.stack.reject(row, 'icmp', 0, 9, 3, now);
    else rig.stack.setDeadline(row, rig.clock.in(random(5000)));
  };
  rig.owner.reactions.deadline = (row, now) => rig.stack.reject(row, 'rst', 0, 12, 3, now);
  rig.owner.reactions.established = (row, now) => {
    if (random(2) === 0) rig.owner.send(row, random(100_000), now);
  };
  rig.owner.reactions.data = (row, now) => {
    if (isLegit(row)) return;
    const choice = random(20);
    if (choice === 0) rig.stack.abort(row, 3, 2, now);
    else if (choice === 1) rig.owner.close(row, now);
  };
  rig.owner.reactions.fin = (row, now) => {
    if (random(2) === 0) rig.owner.close(row, now);
  };
}

/** Some flows of TCP, and all others, are rewritten or carried by a socket. @returns whether */
function decideOnPackets(rig: TcpRig, random: Random, row: number, now: Instant): boolean {
  const view = rig.stack.arena.view;
  const at = rig.stack.rowAt(row);
  const isTcp = view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP;
  if (isTcp && random(4) !== 0) return false;
  const choice = random(8);
  if (choice === 0) {
    rig.stack.reject(row, choice < 4 ? 'icmp' : 'drop', 0, CloseReason.REJECTED, 3, now);
  } else if (choice < 3 && !isTcp) {
    rig.stack.admit(row, now);
  } else {
    const reason = rig.stack.nat(row, random(4) !== 0, now);
    if (reason !== CloseReason.NONE) rig.stack.reject(row, 'icmp', 0, reason, 3, now);
  }
  return true;
}

/** A frame as the device might hand over, seldom a right one. */
function badFrame(rig: TcpRig, random: Random): Uint8Array {
  const kind = random(9);
  if (kind === 0) {
    const originals = [...Object.values(KERNEL_PACKETS), ...Object.values(KERNEL_VNET_FRAMES)];
    return mutate(originals[random(originals.length)]!, random);
  }
  const packet = somePacket(rig, random);
  const frame = rig.device.incoming(packet, random(4) === 0 ? random(3000) : 0);
  return kind < 4 ? mutate(frame, random) : frame;
}

/**
 * Noise is no packet: it is counted once, and not answered. What happens to be IPv6 with an unknown
 * next header hears of that (RFC 8200 §4).
 */
function dropNoise(rig: TcpRig, bytes: Uint8Array): void {
  const count = () => Object.values(rig.drops).reduce((sum, drops) => sum + drops, 0);
  const before = count();
  rig.frames.length = 0;
  rig.deliverFrame(bytes);
  if (count() !== before + 1) throw new Error('noise was not counted as one drop');
  const answers = rig.frames.filter(({ packet }) => !isParameterProblem(packet));
  if (answers.length > 0) throw new Error('noise was answered');
}

const isParameterProblem = (packet: Uint8Array): boolean =>
  packet[0]! >>> 4 === 6 && packet[6] === Protocol.ICMPV6 && packet[40] === 4;

function noise(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

function mutate(frame: Uint8Array, random: Random): Uint8Array {
  const bytes = frame.slice(0, random(4) === 0 ? random(frame.length + 1) : frame.length);
  for (let i = random(4); i >= 0 && bytes.length > 0; i--) {
    bytes[random(bytes.length)] = random(256);
  }
  return bytes;
}

/** A packet with right checksums, of one of a few sockets so that flows are met again. */
function somePacket(rig: TcpRig, random: Random): Uint8Array {
  const isIpv4 = random(2) === 0;
  const addresses: Addresses = isIpv4
    ? { source: `198.18.7.${1 + random(3)}`, destination: '198.18.0.80' }
    : { source: `fd00::7:${1 + random(3)}`, destination: 'fd00::80' };
  const kind = random(20);
  if (kind > 15) return someReply(rig, random) ?? someSegment(rig, random, addresses);
  if (kind === 0) return udpPacket({ ...addresses, payload: noise(random, random(50)) });
  if (kind === 1) {
    const type = random(4) === 0 ? (isIpv4 ? 8 : 128) : random(256);
    return icmpPacket({ ...addresses, type, payload: noise(random, random(100)) });
  }
  return someSegment(rig, random, addresses);
}

/** What the far end of a rewritten flow might answer, or a router on the way to it. */
function someReply(rig: TcpRig, random: Random): Uint8Array | undefined {
  const rewritten = rig.owner.flows.filter(
    ({ isGone, row }) => !isGone && snapshotOf(rig, row)?.carrier === 'nat',
  );
  const flow = rewritten[random(rewritten.length)];
  const snapshot = flow === undefined ? undefined : snapshotOf(rig, flow.row);
  if (snapshot === undefined) return undefined;
  const far = snapshot.upstream ?? snapshot.destination;
  const near = snapshot.natSource ?? snapshot.source;
  const ends = { source: far.ip, destination: near.ip };
  const ports = { sourcePort: far.port, destinationPort: near.port };
  const payload = noise(random, random(200));
  const numbers = { seq: random(0xffff_ffff), ack: random(0xffff_ffff), window: random(65_536) };
  const flags = [0x12, 0x10, 0x11, 0x14, 0x02][random(5)]!;
  const sent = { source: near.ip, destination: far.ip };
  const turned = { sourcePort: near.port, destinationPort: far.port };
  if (random(3) === 0) {
    // An error that quotes the packet, as much of it as routers like to.
    const quoted =
      snapshot.protocol === 'udp'
        ? udpPacket({ ...sent, ...turned, payload })
        : tcpPacket({ ...sent, ...turned, ...numbers, flags: 0x10, payload });
    const type = near.family === 4 ? [3, 11, 12][random(3)]! : 1 + random(4);
    const body = concat([new Uint8Array(4), quoted.subarray(0, random(quoted.length + 1))]);
    return icmpPacket({ ...ends, type, code: random(16), payload: body });
  }
  if (snapshot.protocol === 'udp') return udpPacket({ ...ends, ...ports, payload });
  return tcpPacket({ ...ends, ...ports, ...numbers, flags, payload });
}

const snapshotOf = (rig: TcpRig, row: number): FlowSnapshot | undefined =>
  readFlowRow(rig.stack.arena.view, rig.stack.rowAt(row));

/** A segment of a socket that may be new, or of a live flow with numbers that nearly fit. */
function someSegment(rig: TcpRig, random: Random, addresses: Addresses): Uint8Array {
  const flags = [0x02, 0x10, 0x18, 0x11, 0x18, 0x10, 0x12, random(256)][random(8)]!;
  const fresh = { ...addresses, sourcePort: 1 + random(12), destinationPort: 443 };
  const payload = noise(random, random(2) === 0 ? random(NOISE_MAX) : 0);
  const live = rig.owner.flows.slice(1).filter(({ isGone }) => !isGone);
  const flow = live[random(live.length + 2)];
  if (flow === undefined) {
    const numbers = { seq: random(0xffff_ffff), ack: random(0xffff_ffff), window: random(65_536) };
    return tcpPacket({ ...fresh, ...numbers, flags, options: someOptions(random), payload });
  }
  const { source, destination } = readFlowRow(rig.stack.arena.view, rig.stack.rowAt(flow.row))!;
  const tcb = rig.stack.tcb(flow.row);
  const near = (base: number, span: number) => (base + random(span) - (span >> 3)) >>> 0;
  const isExact = random(3) !== 0;
  const hasTimestamps = tcb.has(TcbFlag.TIMESTAMPS) && random(8) !== 0;
  return tcpPacket({
    source: source.ip,
    destination: destination.ip,
    sourcePort: source.port,
    destinationPort: destination.port,
    // Resets are rare, or no flow would live long enough to be met again.
    flags: random(40) === 0 ? 0x14 : flags & ~(random(4) === 0 ? 0 : 0x06),
    seq: isExact ? tcb.rcvNxt : near(tcb.rcvNxt, 100_000),
    ack: random(3) === 0 ? tcb.sndNxt : near(tcb.sndUna, 20_000),
    window: random(4) === 0 ? 0 : random(65_536),
    options: hasTimestamps
      ? encodeOptions(['nop', 'nop', `TS val ${rig.clock.ms - random(3)} ecr 0`])
      : someOptions(random),
    payload,
  });
}

function someOptions(random: Random): Uint8Array {
  const kind = random(6);
  if (kind > 3) return new Uint8Array(0);
  if (kind === 0) return Uint8Array.of(2, 4, random(256), random(256));
  if (kind === 1) return Uint8Array.of(1, 3, 3, random(256));
  if (kind === 2) return noise(random, random(11) * 4);
  return concat([Uint8Array.of(1, 1, 8, 10), noise(random, 8)]);
}

/** After it all, every flow can be ended and nothing is left. */
function finish(rig: TcpRig): void {
  for (const flow of rig.owner.flows) {
    if (!flow.isGone) rig.stack.abort(flow.row, 18, 3, rig.now);
  }
  rig.wait(61_000);
  // What is not terminated expires, and the reaper has seen all of the table.
  rig.wait(600_000);
  rig.frames.length = 0;
  rig.expectEmpty();
  for (const name of [Counter.HELD_SYNS_NOW, Counter.TIME_WAIT_NOW, Counter.FLOWS_NOW]) {
    if (rig.counters.get(name) !== 0) throw new Error(`gauge ${name} is not 0`);
  }
}
