/**
 * Traffic of every kind, most of it right, to a stack whose owner decides at random: after each
 * frame, every frame that came in must be somewhere, and every frame that went out have a cause.
 */
import type { Capture } from '../../src/gateway/supervisor/capture/capture.ts';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { FlowField, FlowPhase, readFlowRow } from '../../src/stack/flow-row.ts';
import { TcpState } from '../../src/stack/tcp/states.ts';
import type { Instant } from '../../src/stack/time.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { Protocol } from '../../src/stack/wire/protocol.ts';
import { checkBalance, whereFramesAre } from '../support/balance.ts';
import { CaptureRig } from '../support/capture-rig.ts';
import { fragmentOf, piecesOf } from '../support/fragments.ts';
import { randomNumbers } from '../support/lossy-link.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { icmpPacket, pattern, tcpPacket, udpPacket } from '../support/packet-builder.ts';
import type { TcpRig } from '../support/tcp-rig.ts';
import { trackSettings } from '../support/tracking.ts';

export type Random = (below: number) => number;

const STEPS = 400;
export const POOL = ['192.0.2.1', '2001:db8:1::1'];
export const GATEWAY = ['198.18.0.1', 'fd00::1'];
export const LIMITS = {
  flows: 40,
  flowsPerSource: 30,
  heldSyns: 24,
  heldSynsPerSource: 20,
  synCookiesFrom: 16,
  timeWait: 6,
  slabBytes: 24 * 69_632,
  slabBytesPerFlow: 200_000,
};
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
const FIN = 0x01;

/** Where frames were at the end of the round, and how many came. */
export interface Accounts {
  readonly frames: number;
  readonly where: Readonly<Record<string, number>>;
}

/** @throws Error when a frame is nowhere, or in two places; the seed makes it happen again */
export async function accountingRound(seed: number): Promise<Accounts> {
  const random = randomNumbers(seed + 1);
  for (let i = 0; i < 8; i++) random(2);
  const capabilities = random(3) === 0 ? NO_OFFLOAD : FULL_OFFLOAD;
  const world = new CaptureRig({ capabilities, limits: LIMITS });
  const { rig } = world;
  // Somebody looks on, whatever the bytes are.
  const capture = world.start({ snapLength: 60 });
  rig.device.isCareless = true;
  rig.stack.setLocalAddresses(GATEWAY);
  rig.stack.setPool(POOL.map((ip) => parseAddress(ip) as Uint8Array));
  rig.stack.setTracking(trackSettings({ perSource: 12, firstPort: 1024, lastPort: 1040 }));
  decideRandomly(rig, random);
  for (let i = 0; i < STEPS; i++) {
    for (const [packet, gsoSize] of traffic(rig, random)) {
      rig.deliver(packet, capabilities.vnetHeader ? gsoSize : 0);
      checkBalance(rig.counters);
    }
    rig.device.isRefusing = random(40) === 0;
    operate(rig, random);
    world.captures.poll();
    checkBalance(rig.counters);
    rig.frames.length = 0;
  }
  await checkCapture(world, capture);
  rig.device.isRefusing = false;
  if (random(4) === 0) rig.stack.drain();
  for (const flow of rig.owner.flows) {
    if (!flow.isGone) rig.stack.abort(flow.row, CloseReason.KILLED, 3, rig.now);
  }
  rig.wait(700_000);
  checkBalance(rig.counters);
  const waiting = rig.counters.get(Counter.IN_PARKED_NOW);
  if (waiting !== 0) throw new Error(`${waiting} packets wait for the verdict of no flow`);
  const frames = rig.counters.get(Counter.DEVICE_FRAMES_IN);
  return { frames, where: whereFramesAre(rig.counters) };
}

/** Each frame is in the file once, the way that it went, with the reason why it was dropped. */
async function checkCapture(world: CaptureRig, capture: Capture): Promise<void> {
  const packets = await world.packetsOf(capture);
  const { counters } = world.rig;
  const found = (way: string) => packets.filter((packet) => packet.way === way).length;
  const written = counters.get(Counter.DEVICE_FRAMES_OUT);
  const out = written + counters.dropped(DropReason.DEVICE_WRITE_FAILED);
  if (found('in') !== counters.get(Counter.DEVICE_FRAMES_IN) || found('out') !== out) {
    throw new Error(`${found('in')} and ${found('out')} frames were captured, not ${out} out`);
  }
  const refused = packets.filter(({ comment }) => comment.startsWith('refused')).length;
  if (refused !== out - written) throw new Error(`${refused} frames were refused`);
}

/** What operators, scripts and upstreams do between two packets. */
export function operate(rig: TcpRig, random: Random): void {
  if (random(6) === 0) rig.wait(random(300));
  if (random(60) === 0) rig.wait(random(40_000));
  if (random(50) === 0) rig.stack.forgetRefusals();
  for (const { row, isGone } of rig.owner.flows) {
    if (isGone || random(8) !== 0) continue;
    const { phase, state } = rig.stack.tcb(row);
    if (phase === FlowPhase.DECIDING) decide(rig, random, row, rig.now);
    else if (random(10) === 0) rig.stack.abort(row, CloseReason.KILLED, 3, rig.now);
    else if (state === TcpState.ESTABLISHED) rig.owner.send(row, random(20_000), rig.now);
  }
}

export function decideRandomly(rig: TcpRig, random: Random): void {
  rig.owner.reactions.syn = (row, now) => {
    rig.owner.flow(row).isStranger = true;
    if (random(2) === 0) decide(rig, random, row, now);
    else rig.stack.setDeadline(row, rig.clock.in(1 + random(5000)));
  };
  rig.owner.reactions.deadline = (row, now) => {
    rig.stack.reject(row, 'rst', 0, CloseReason.REJECTED, 3, now);
  };
  rig.owner.reactions.data = (row, now) => {
    if (random(20) === 0) rig.owner.close(row, now);
  };
  rig.owner.reactions.fin = (row, now) => {
    if (random(2) === 0) rig.owner.close(row, now);
  };
}

/** The verdict about a flow that waits. */
function decide(rig: TcpRig, random: Random, row: number, now: Instant): void {
  const { view } = rig.stack.arena;
  const isTcp = view.getUint8(rig.stack.rowAt(row) + FlowField.PROTOCOL) === Protocol.TCP;
  const choice = random(6);
  if (choice < 3) {
    const how = (['rst', 'icmp', 'drop'] as const)[choice]!;
    rig.stack.reject(row, how, random(3) as 0 | 1 | 2, CloseReason.REJECTED, 3, now);
  } else if (choice === 3) {
    const reason = rig.stack.nat(row, random(3) !== 0, now);
    if (reason !== CloseReason.NONE) rig.stack.reject(row, 'rst', 0, reason, 3, now);
  } else if (isTcp) rig.stack.accept(row, now);
  else rig.stack.admit(row, now);
}

/** One or some packets, each with the payload bytes after which the device would cut it. */
export function traffic(rig: TcpRig, random: Random): [Uint8Array, number][] {
  const isIpv4 = random(2) === 0;
  const source = isIpv4 ? `198.18.7.${1 + random(3)}` : `fd00::7:${1 + random(3)}`;
  const destination = isIpv4 ? '203.0.113.80' : '2001:db8::80';
  const ends = { source, destination, sourcePort: 1 + random(4), destinationPort: 443 };
  const payload = pattern(random(4) === 0 ? random(4000) : random(200), 1 + random(99));
  const hop = random(20) === 0 ? 1 : 64;
  switch (random(12)) {
    case 0:
    case 1:
      return [[tcpPacket({ ...ends, ttl: hop, flags: SYN, seq: random(1e9) }), 0]];
    case 2:
    case 3:
    case 4:
      return [segmentOfLive(rig, random) ?? [tcpPacket({ ...ends, flags: ACK, payload }), 0]];
    case 5:
    case 6:
      // More than wait for one verdict, at times.
      return Array.from({ length: random(8) === 0 ? 12 : 1 }, () => [
        udpPacket({ ...ends, ttl: hop, payload }),
        random(2) * random(1200),
      ]);
    case 7: {
      const local = random(2) === 0;
      const to = local ? GATEWAY[isIpv4 ? 0 : 1]! : destination;
      const type = isIpv4 ? 8 : 128;
      return [[icmpPacket({ source, destination: to, type, rest: random(4) << 16, payload }), 0]];
    }
    case 8:
    case 9:
      return fragments(udpPacket({ ...ends, fragmentWord: 0, payload: pattern(2500) }), random);
    case 10:
      return [[errorAbout(rig, random) ?? noise(random), 0]];
    default:
      return [[noise(random), 0]];
  }
}

/** Fragments of a packet: all of them, or with one missing, twice there or overlapping another. */
function fragments(packet: Uint8Array, random: Random): [Uint8Array, number][] {
  const identification = random(65_536);
  const pieces = piecesOf(packet, 504);
  const damage = random(6);
  if (damage === 0) pieces.splice(random(pieces.length), 1);
  if (damage === 1) pieces.push(pieces[random(pieces.length)]!);
  if (damage === 2) pieces.splice(1, 0, { ...pieces[2]!, at: pieces[2]!.at + 8 });
  if (damage === 3) pieces.reverse();
  return pieces.map((piece) => [fragmentOf(packet, piece, identification), 0]);
}

/** A segment of a live flow, in order as a rule: data, a bare ACK, FIN or RST; or an answer. */
function segmentOfLive(rig: TcpRig, random: Random): [Uint8Array, number] | undefined {
  const live = rig.owner.flows.filter(({ isGone }) => !isGone);
  const flow = live[random(live.length)];
  const at = flow === undefined ? 0 : rig.stack.rowAt(flow.row);
  const snapshot = flow && readFlowRow(rig.stack.arena.view, at);
  if (flow === undefined || snapshot?.protocol !== 'tcp') return undefined;
  const { source, destination, natSource, upstream } = snapshot;
  const tcb = rig.stack.tcb(flow.row);
  const isReply = natSource !== undefined && random(2) === 0;
  const from = isReply ? (upstream ?? destination) : source;
  const to = isReply ? natSource : destination;
  const payload = pattern(random(3) === 0 ? 0 : 1 + random(5000));
  const packet = tcpPacket({
    source: from.ip,
    destination: to.ip,
    sourcePort: from.port,
    destinationPort: to.port,
    flags: ACK | (random(12) === 0 ? FIN : 0) | (random(30) === 0 ? RST : 0),
    seq: random(8) === 0 ? random(1e9) : tcb.rcvNxt,
    ack: random(8) === 0 ? tcb.sndUna : tcb.sndNxt,
    window: 512,
    payload,
  });
  return [packet, payload.length > 1400 ? 1400 : 0];
}

/** An ICMP error about what a flow sent. */
function errorAbout(rig: TcpRig, random: Random): Uint8Array | undefined {
  const live = rig.owner.flows.filter(({ isGone }) => !isGone);
  const flow = live[random(live.length)];
  const snapshot = flow && readFlowRow(rig.stack.arena.view, rig.stack.rowAt(flow.row));
  if (snapshot === undefined) return undefined;
  const { source, destination, protocol } = snapshot;
  const ends = { source: destination.ip, destination: source.ip };
  const ports = { sourcePort: destination.port, destinationPort: source.port };
  const quoted =
    protocol === 'tcp'
      ? tcpPacket({ ...ends, ...ports, seq: rig.stack.tcb(flow!.row).sndUna })
      : udpPacket({ ...ends, ...ports });
  const isIpv4 = source.family === 4;
  const router = isIpv4 ? '198.18.9.9' : 'fd00::9';
  const [type, code] = isIpv4 ? [3, 3 + random(2)] : [1 + random(2), 0];
  return icmpPacket({
    source: router,
    destination: destination.ip,
    type: type!,
    code: code!,
    rest: 1400,
    payload: quoted,
  });
}

const noise = (random: Random): Uint8Array =>
  Uint8Array.from({ length: 1 + random(80) }, () => random(256));
