/** A network between a `TcpEndpoint` and a stack: it delays, loses, doubles and reorders. */

import type { Instant } from '../../src/stack/time.ts';
import { parsePacket, type ReceivedSegment } from './scripted-peer.ts';
import { type EndpointOptions, TcpEndpoint } from './tcp-endpoint.ts';
import { type RigOptions, TcpRig } from './tcp-rig.ts';

export interface LinkOptions {
  readonly seed: number;
  /** Of 1000 packets in each direction. */
  readonly lossPerMille: number;
  readonly doublePerMille: number;
  readonly delayUs: number;
  /** Added to the delay, at random: more than the time between packets reorders them. */
  readonly jitterUs: number;
  /** Superpackets of the stack arrive cut. */
  readonly cuts: boolean;
}

export interface Conversation {
  readonly link: LinkOptions;
  readonly rig: RigOptions;
  readonly endpoint: EndpointOptions;
  /** Bytes that the server sends before its FIN. */
  readonly serverLength: number;
  /** Bytes that the owner takes, and the client reads, each 5 ms. */
  readonly ownerPace: number;
  readonly clientPace: number;
}

const PACE_US = 5000;
/** More losses in a row may end a handshake: no SYN-ACK is sent for ever, and no SYN. */
const OPENING_LOSSES_MAX = 3;
/** Simulated time in which everything must have arrived. */
const LIMIT_US = 3_600_000_000;

interface Packet {
  readonly due: number;
  readonly order: number;
  readonly deliver: () => void;
}

/** xorshift32, Marsaglia 2003. */
export function randomNumbers(seed: number): (below: number) => number {
  let x = seed | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/**
 * Runs a conversation to its end and then until the stack is empty.
 *
 * @throws Error when a byte is wrong, a side was reset, or it does not end within an hour
 */
export function converse(conversation: Conversation): TcpRig {
  const { link } = conversation;
  const random = randomNumbers(link.seed);
  const rig = new TcpRig(conversation.rig);
  const packets: Packet[] = [];
  let order = 0;
  let openingLosses = 0;
  const mayLose = () => {
    if (rig.owner.flows.at(-1)?.calls.includes('established')) return true;
    openingLosses += 1;
    return openingLosses <= OPENING_LOSSES_MAX;
  };
  const carry = (deliver: () => void) => {
    if (random(1000) < link.lossPerMille && mayLose()) return;
    const copies = random(1000) < link.doublePerMille ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const due = rig.now + link.delayUs + random(link.jitterUs + 1);
      packets.push({ due, order: order++, deliver });
    }
  };
  const client = new TcpEndpoint(conversation.endpoint, (packet, gsoSize) =>
    carry(() => rig.deliver(packet, gsoSize)),
  );
  rig.owner.appetite = 0;
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.owner.reactions.established = (row, now) => {
    rig.owner.send(row, conversation.serverLength, now);
    rig.owner.close(row, now);
  };
  const collect = () => {
    for (const frame of rig.frames.splice(0)) {
      for (const segment of cut(parsePacket(frame), link.cuts)) {
        carry(() => client.arrive(segment, rig.now));
      }
    }
  };
  client.connect(rig.now);
  const end = rig.now + LIMIT_US;
  let pace = rig.now + PACE_US;
  const isOver = () => client.isDone && rig.flow.isGone;
  while (rig.owner.flows.length === 0 || !isOver()) {
    packets.sort((a, b) => a.due - b.due || a.order - b.order);
    const due = packets[0]?.due ?? Number.POSITIVE_INFINITY;
    const next = Math.min(due, pace, client.deadline, rig.stack.pollAt());
    if (next > end) throw new Error(`not finished: ${describe(rig, client)}`);
    rig.clock.moveTo(Math.max(rig.now, next) as Instant);
    if (next === due) packets.shift()?.deliver();
    if (rig.stack.pollAt() <= rig.now) rig.stack.expire(rig.now);
    client.tick(rig.now);
    if (pace <= rig.now) {
      pace = rig.now + PACE_US;
      client.read(conversation.clientPace, rig.now);
      takeMore(rig, conversation.ownerPace);
    }
    rig.stack.flush(rig.now);
    collect();
    if (client.wasReset) throw new Error(`the client was reset: ${describe(rig, client)}`);
  }
  rig.wait(61_000);
  rig.frames.length = 0;
  if (client.received !== conversation.serverLength) throw new Error('client missed bytes');
  if (rig.flow.received !== conversation.endpoint.length) throw new Error('owner missed bytes');
  return rig;
}

function takeMore(rig: TcpRig, bytes: number): void {
  const flow = rig.owner.flows.at(-1);
  if (flow === undefined || flow.isGone || !flow.calls.includes('established')) return;
  flow.appetite = Math.max(flow.appetite, 0);
  rig.owner.eat(flow.row, bytes, rig.now);
  if (!flow.isGone) rig.owner.pump(flow.row, rig.now);
}

/** Packets of a superpacket. */
export function cut(segment: ReceivedSegment, cuts: boolean): ReceivedSegment[] {
  const { payload, gsoSize } = segment;
  if (!cuts || gsoSize === 0) return [segment];
  const pieces: ReceivedSegment[] = [];
  for (let at = 0; at < payload.length; at += gsoSize) {
    const isLast = at + gsoSize >= payload.length;
    pieces.push({
      ...segment,
      seq: (segment.seq + at) >>> 0,
      flags: isLast ? segment.flags : segment.flags & ~0x09,
      payload: payload.slice(at, at + gsoSize),
    });
  }
  return pieces;
}

function describe(rig: TcpRig, client: TcpEndpoint): string {
  const flow = rig.owner.flows.at(-1);
  const calls = flow?.calls.filter((call) => !call.startsWith('data') && call !== 'room');
  return JSON.stringify({
    calls,
    ownerReceived: flow?.received,
    ownerSent: flow?.sent,
    clientReceived: client.received,
    drops: rig.drops,
  });
}
