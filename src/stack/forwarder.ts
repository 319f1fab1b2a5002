/**
 * SYNs that wait for a verdict: the contract of gVisor's `tcp.Forwarder`, with bounds per source.
 *
 * A SYN that matches no flow takes a row (phase DECIDING) and is handed to the owner once. Until
 * it is answered, a repeated SYN is absorbed, a reset of the client ends it, and a deadline bounds
 * it. The answer is one of `accept` (tcp/user-calls.ts) and `reject` here.
 */
import { CloseReason } from './close-reason.ts';
import { Counter } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { ClosedBy, FlowField, FlowPhase } from './flow-row.ts';
import { NO_FLOW } from './flow-table.ts';
import type { Icmp } from './icmp.ts';
import type { HalfSipHash } from './sip-hash.ts';
import { countFlows, endFlow, freeFlow } from './tcp/close.ts';
import type { TcpContext } from './tcp/context.ts';
import { sendRefusal } from './tcp/output.ts';
import { TcpState } from './tcp/states.ts';
import { TcbFlag } from './tcp/tcb.ts';
import type { Instant } from './time.ts';
import type { RejectWith } from './verdict.ts';
import { Icmpv4Unreachable } from './wire/icmpv4.ts';
import { Icmpv6Unreachable } from './wire/icmpv6.ts';
import { Protocol } from './wire/protocol.ts';
import { asSeq, seqAdd } from './wire/seq.ts';
import { TCP_HEADER_BYTES, TcpFlag } from './wire/tcp.ts';

/** RFC 9293 §3.7.1: what a SYN without the option means. */
const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
const MIN_MSS = 64;
/** Bytes of the timestamp option on every segment. */
const TIMESTAMPS_BYTES = 12;

/** Which ICMP error refuses a flow: codes of RFC 792, RFC 1812 §5.2.7.1 and RFC 4443 §3.1. */
export const Unreachable = { PORT: 0, HOST: 1, NETWORK: 2, PROHIBITED: 3 } as const;
export type Unreachable = (typeof Unreachable)[keyof typeof Unreachable];

const V4_CODES = [
  Icmpv4Unreachable.PORT,
  Icmpv4Unreachable.HOST,
  Icmpv4Unreachable.NETWORK,
  Icmpv4Unreachable.ADMINISTRATIVELY_PROHIBITED,
] as const;
const V6_CODES = [
  Icmpv6Unreachable.PORT,
  Icmpv6Unreachable.ADDRESS,
  Icmpv6Unreachable.NO_ROUTE,
  Icmpv6Unreachable.ADMINISTRATIVELY_PROHIBITED,
] as const;

/** What the packet of a SYN tells besides its segment. */
export interface SynPacket {
  sourceAt: number;
  destinationAt: number;
  addressLength: number;
  /** Hash of the tuple, from the look-up that found nothing. */
  hash: number;
  /** TTL or hop limit. */
  hopLimit: number;
}

export class Forwarder {
  readonly #tcp: TcpContext;
  readonly #icmp: Icmp;
  /** Keyed apart from the flow table: initial sequence numbers must not leak its hash. */
  readonly #isnHash: HalfSipHash;
  #isDraining = false;

  constructor(tcp: TcpContext, icmp: Icmp, isnHash: HalfSipHash) {
    this.#tcp = tcp;
    this.#icmp = icmp;
    this.#isnHash = isnHash;
  }

  /** No new flows from now on: they are refused with RST. */
  drain(): void {
    this.#isDraining = true;
  }

  /** A segment arrived that belongs to no flow; `tcp.segment` holds it. */
  onUnknown(packet: SynPacket, now: Instant): DropReason {
    const segment = this.#tcp.segment;
    // RFC 9293 §3.10.7.2: first RST, second ACK, third SYN.
    if (segment.has(TcpFlag.RST)) return DropReason.NO_FLOW;
    if (segment.has(TcpFlag.ACK) || !segment.has(TcpFlag.SYN)) {
      this.#resetUnknown(packet);
      return DropReason.NO_FLOW;
    }
    if (this.#isDraining) {
      this.#resetUnknown(packet);
      return DropReason.DRAINING;
    }
    return this.#hold(packet, now);
  }

  /** A segment arrived for a SYN that is held. */
  onHeld(now: Instant): DropReason {
    const { tcb, segment, counters } = this.#tcp;
    if (segment.has(TcpFlag.RST)) {
      // Only the client knows its sequence number, or that there is nothing yet to acknowledge.
      if (segment.seq !== seqAdd(tcb.irs, 1) && segment.seq !== tcb.irs) {
        return DropReason.OUT_OF_WINDOW;
      }
      counters.add(Counter.TCP_RESETS_RECEIVED);
      endFlow(this.#tcp, CloseReason.CLIENT_GONE, ClosedBy.CLIENT, now);
      return DropReason.NONE;
    }
    if (segment.has(TcpFlag.SYN) && !segment.has(TcpFlag.ACK)) {
      if (segment.seq !== tcb.irs) this.#readSyn();
      return DropReason.HELD_SYN_REPEATED;
    }
    return DropReason.NO_FLOW;
  }

  /**
   * Refuses the held SYN in `row`, visibly or silently, and frees it.
   *
   * @param code  what an ICMP error says
   */
  reject(
    row: number,
    how: RejectWith,
    code: Unreachable,
    reason: CloseReason,
    by: ClosedBy,
    now: Instant,
  ): void {
    const tcp = this.#tcp;
    tcp.tcb.moveTo(row);
    if (how === 'rst') sendRefusal(tcp);
    else if (how === 'icmp') this.#unreachable(code);
    else tcp.counters.drop(DropReason.VERDICT_DROP);
    endFlow(tcp, reason, by, now);
  }

  #hold(packet: SynPacket, now: Instant): DropReason {
    const tcp = this.#tcp;
    const { segment, tcb, heldSyns } = tcp;
    const bucket = heldSyns.bucketOf(packet.sourceAt, packet.addressLength);
    const limited = heldSyns.check(bucket);
    if (limited !== DropReason.NONE) return limited;
    const row = this.#insert(packet, now);
    if (row === NO_FLOW) return DropReason.FLOW_TABLE_FULL;
    tcb.moveTo(row);
    tcb.clear();
    tcb.phase = FlowPhase.DECIDING;
    tcb.transition(TcpState.LISTEN);
    heldSyns.take(tcb, bucket);
    const hash = this.#isnHash;
    hash.start();
    hash.word(packet.hash);
    hash.word(segment.sourcePort);
    hash.word(now % 0x100000000);
    tcb.tsOffset = hash.finish();
    tcb.iss = this.#initialSequence(packet, now);
    tcb.sndUna = tcb.sndNxt = tcb.recover = tcb.rtxNxt = tcb.iss;
    tcb.lastReceivedAt = now;
    tcb.count(FlowField.PACKETS_UP, 1);
    tcp.arena.view.setUint8(tcb.flowAt + FlowField.SYN_HOP_LIMIT, packet.hopLimit);
    this.#readSyn();
    tcp.counters.add(Counter.FLOWS_TOTAL);
    countFlows(tcp);
    tcp.owner.onSyn(row, now);
    return DropReason.NONE;
  }

  /** A row for the SYN; the oldest connection in TIME-WAIT gives way when the table is full. */
  #insert(packet: SynPacket, now: Instant): number {
    const tcp = this.#tcp;
    if (tcp.flows.used >= tcp.flows.capacity && tcp.timeWait.count > 0) {
      tcp.tcb.moveTo(tcp.timeWait.oldest);
      freeFlow(tcp);
    }
    return tcp.flows.insert(
      packet.hash,
      packet.sourceAt,
      packet.destinationAt,
      packet.addressLength,
      tcp.segment.sourcePort,
      tcp.segment.destinationPort,
      Protocol.TCP,
      now,
    );
  }

  /** Takes IRS and the options of the SYN. Data on a SYN is not kept: the client sends it again. */
  #readSyn(): void {
    const { tcb, segment, arena, egress } = this.#tcp;
    const { options } = segment;
    const family = arena.view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4 ? 4 : 6;
    tcb.irs = segment.seq;
    tcb.rcvNxt = seqAdd(segment.seq, 1);
    tcb.rcvEdge = tcb.rcvNxt;
    const peerMss = Math.max(MIN_MSS, options.mss === 0 ? DEFAULT_MSS[family] : options.mss);
    let mss = Math.min(peerMss, egress.mssFor(family));
    tcb.lower(TcbFlag.TIMESTAMPS | TcbFlag.SCALING | TcbFlag.SACK | TcbFlag.ECN_SETUP);
    if (options.hasTimestamps) {
      tcb.raise(TcbFlag.TIMESTAMPS);
      tcb.tsRecent = options.tsValue;
      tcb.tsRecentAt = tcb.lastReceivedAt;
      // RFC 6691 §3.1: the MSS counts no options, the segment does.
      mss -= TIMESTAMPS_BYTES;
    }
    if (options.windowScale >= 0) {
      tcb.raise(TcbFlag.SCALING);
      tcb.sndScale = options.windowScale;
    } else {
      tcb.sndScale = 0;
    }
    if (options.sackPermitted) tcb.raise(TcbFlag.SACK);
    if (segment.has(TcpFlag.ECE) && segment.has(TcpFlag.CWR)) tcb.raise(TcbFlag.ECN_SETUP);
    tcb.synMss = options.mss === 0 ? DEFAULT_MSS[family] : options.mss;
    tcb.mss = mss;
    tcb.rcvMss = DEFAULT_MSS[4];
    tcb.sndWnd = segment.window;
    tcb.maxSndWnd = segment.window;
  }

  /** RFC 6528 §3: a clock of 4 µs, and a hash of the tuple that only we can compute. */
  #initialSequence(packet: SynPacket, now: Instant) {
    const view = this.#tcp.arena.view;
    const hash = this.#isnHash;
    hash.start();
    for (let i = 0; i < packet.addressLength; i += 4) {
      hash.word(view.getInt32(packet.sourceAt + i));
      hash.word(view.getInt32(packet.destinationAt + i));
    }
    hash.word((this.#tcp.segment.sourcePort << 16) | this.#tcp.segment.destinationPort);
    return asSeq(hash.finish() + Math.floor(now / 4));
  }

  /** RFC 9293 §3.10.7.1: a reset that the sender of the segment accepts. */
  #resetUnknown(packet: SynPacket): void {
    const { segment, egress, counters } = this.#tcp;
    const hasAck = segment.has(TcpFlag.ACK);
    counters.add(Counter.TCP_RESETS_SENT);
    egress.bareTcp(
      packet.destinationAt,
      packet.sourceAt,
      packet.addressLength,
      segment.destinationPort,
      segment.sourcePort,
      hasAck ? segment.ack : asSeq(0),
      hasAck ? asSeq(0) : segment.end,
      hasAck ? TcpFlag.RST : TcpFlag.RST | TcpFlag.ACK,
    );
  }

  /** Quotes the SYN, built again from the row: addresses, ports and sequence number suffice. */
  #unreachable(code: Unreachable): void {
    const { tcb, arena } = this.#tcp;
    const isIpv4 = arena.view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4;
    this.#icmp.unreachableSyn(
      tcb.flowAt,
      tcb.irs,
      TCP_HEADER_BYTES,
      isIpv4 ? V4_CODES[code]! : V6_CODES[code]!,
    );
  }
}
