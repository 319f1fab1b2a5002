/**
 * Packets of flows that our TCP does not terminate: UDP, ICMP echo, the rest, and TCP that a static
 * listener rewrites. The path is that of a SYN, without a handshake: a packet that matches no flow
 * takes a row and waits, with those that follow it, for a verdict. Then the flow is carried by NAT
 * (conntrack), or its datagrams go to the owner, who has a socket for them; what comes back leaves
 * by datagram-egress.ts.
 */
import { CloseReason } from './close-reason.ts';
import type { Conntrack } from './conntrack/conntrack.ts';
import { TcpEvent, tcpEvent } from './conntrack/tcp-states.ts';
import { Counter } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { FlowCount } from './flow-counts.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase } from './flow-row.ts';
import { NO_FLOW } from './flow-table.ts';
import { IcmpErrorKind } from './icmp-error-kind.ts';
import { type IcmpSender, OWN_ADDRESS } from './icmp-sender.ts';
import { NOT_TRANSLATED, type PrefixNat } from './nat/prefix-nat.ts';
import { findFlow, insertFlow, type Packet } from './packet.ts';
import type { ParkedPackets } from './parked-packets.ts';
import { NOT_REFUSED, type Refusals, SILENT } from './refusals.ts';
import { countFlows, makeRoom } from './tcp/close.ts';
import type { TcpContext } from './tcp/context.ts';
import type { Instant } from './time.ts';
import type { EndingReject } from './verdict.ts';
import { isBroadcast } from './wire/ip-address.ts';
import { ipv4End, isAtomic, version } from './wire/ipv4.ts';
import { Ipv6Field, ipv6End } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import * as udp from './wire/udp.ts';

export class Datagrams {
  readonly #shared: TcpContext;
  readonly #conntrack: Conntrack;
  readonly #icmp: IcmpSender;
  readonly #parked: ParkedPackets;
  readonly #refusals: Refusals;
  readonly #prefixes: PrefixNat;
  #isDraining = false;

  constructor(
    shared: TcpContext,
    conntrack: Conntrack,
    icmp: IcmpSender,
    refusals: Refusals,
    prefixes: PrefixNat,
  ) {
    this.#shared = shared;
    this.#conntrack = conntrack;
    this.#icmp = icmp;
    this.#parked = shared.parked;
    this.#refusals = refusals;
    this.#prefixes = prefixes;
  }

  /** No new flows from now on. */
  drain(): void {
    this.#isDraining = true;
  }

  /** @param isSummed  the checksum is right, or was never made because the packet is local */
  onUdp(packet: Packet, isSummed: boolean, now: Instant): DropReason {
    const { view } = this.#shared.arena;
    const { sourceAt, destinationAt, addressLength, transportAt: at, end } = packet;
    const reason = udp.checkUdp(view, at, end);
    if (reason !== DropReason.NONE) return reason;
    packet.sourcePort = udp.sourcePort(view, at);
    packet.destinationPort = udp.destinationPort(view, at);
    if (!isSummed && !udp.udpChecksumValid(view, sourceAt, destinationAt, addressLength, at)) {
      // RFC 6936 §5: over IPv6 it is wrong for who receives it, not for who hands it on.
      if (udp.checksumField(view, at) !== 0) return DropReason.BAD_UDP_CHECKSUM;
      if (!this.#isRewritten(packet, now)) {
        const isPeers = this.#shared.peers?.takes(packet) === true;
        return isPeers ? DropReason.NONE : DropReason.BAD_UDP_CHECKSUM;
      }
    }
    return this.onPacket(packet, now);
  }

  /** The packet is of a rewritten flow, or begins one by a static rule. */
  #isRewritten(packet: Packet, now: Instant): boolean {
    const { flows, arena, owner } = this.#shared;
    const { protocol, destinationAt, addressLength, destinationPort } = packet;
    const row = this.#find(packet, now);
    return row === NO_FLOW
      ? owner.isNat(protocol, destinationAt, addressLength, destinationPort) ||
          this.#prefixes.has(packet)
      : arena.view.getUint8(flows.rowAt(row) + FlowField.CARRIER) === Carrier.NAT;
  }

  /** A protocol that only a static NAT listener may want. */
  onOther(packet: Packet, now: Instant): DropReason {
    packet.sourcePort = packet.destinationPort = 0;
    const row = this.#find(packet, now);
    if (row !== NO_FLOW) return this.onKnown(row, this.#shared.flows.foundReply, packet, now);
    if (this.#shared.peers?.takes(packet) === true) return DropReason.NONE;
    const carried = this.#prefixes.carry(packet);
    if (carried !== NOT_TRANSLATED) return carried;
    const { protocol, destinationAt, addressLength } = packet;
    if (this.#shared.owner.isNat(protocol, destinationAt, addressLength, 0)) {
      return this.begin(packet, now);
    }
    this.#refuse(packet, IcmpErrorKind.PROTOCOL);
    return DropReason.UNKNOWN_PROTOCOL;
  }

  /** A packet whose ports are known; its checksum is right. */
  onPacket(packet: Packet, now: Instant): DropReason {
    const row = this.#find(packet, now);
    if (row !== NO_FLOW) return this.onKnown(row, this.#shared.flows.foundReply, packet, now);
    if (this.#shared.peers?.takes(packet) === true) return DropReason.NONE;
    const carried = this.#prefixes.carry(packet);
    return carried === NOT_TRANSLATED ? this.begin(packet, now) : carried;
  }

  /** A packet that only answers: it begins no flow. */
  onReply(packet: Packet, now: Instant): DropReason {
    const row = this.#find(packet, now);
    if (row !== NO_FLOW) return this.onKnown(row, this.#shared.flows.foundReply, packet, now);
    if (this.#shared.peers?.takes(packet) === true) return DropReason.NONE;
    const carried = this.#prefixes.carry(packet);
    return carried === NOT_TRANSLATED ? DropReason.ICMP_NOT_FOR_US : carried;
  }

  /** Whether a segment without a flow begins one that a static listener rewrites. */
  takesTcp({ destinationAt, addressLength, destinationPort }: Packet): boolean {
    const { owner, segment } = this.#shared;
    if (!owner.isNat(Protocol.TCP, destinationAt, addressLength, destinationPort)) return false;
    // With all others no connection goes on: their sender learns that there is none.
    const event = tcpEvent(segment.flags);
    return event === TcpEvent.SYN || (event === TcpEvent.ACK && this.#conntrack.picksUp);
  }

  /** Who decides has changed: what was refused before may be wanted now. */
  forgetRefusals(): void {
    this.#refusals.clear();
  }

  /** The verdict is a refusal: tells the client, or does not, frees the row, and remembers it. */
  reject(
    row: number,
    how: EndingReject,
    kind: IcmpErrorKind,
    reason: CloseReason,
    by: ClosedBy,
    now: Instant,
  ): void {
    const { arena, flows } = this.#shared;
    const { view } = arena;
    const rowAt = flows.rowAt(row);
    const isShortage = reason === CloseReason.DIAL_SHORTAGE;
    const told = how === 'drop' ? SILENT : this.#kindFor(row, how, kind);
    const ipAt = this.#parked.firstAt(row);
    if (told === SILENT || ipAt === 0) {
      const dropped = isShortage ? DropReason.DIAL_SHORTAGE : DropReason.VERDICT_DROP;
      this.#parked.drop(row, dropped);
    } else {
      const isIpv4 = version(view, ipAt) === 4;
      const end = isIpv4 ? ipv4End(view, ipAt) : ipv6End(view, ipAt);
      this.#icmp.about(ipAt, end, told, 0, rowAt + FlowField.DESTINATION);
      this.#parked.settle(row, Counter.IN_ANSWERED);
    }
    // A client of TCP gives up, or waits for longer than this would be remembered. Of what the host
    // lacks, there may be more when the next datagram comes.
    if (view.getUint8(rowAt + FlowField.PROTOCOL) !== Protocol.TCP && !isShortage) {
      this.#refusals.add(rowAt, told, now);
    }
    // It lasted until it was decided about.
    view.setFloat64(rowAt + FlowField.LAST_USED_AT, now, true);
    this.end(row, reason, by, now);
  }

  /** Ends a flow that is not one of our TCP, at whatever stage. */
  end(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    this.release(row);
    this.#conntrack.end(row, reason, by, now);
    countFlows(this.#shared);
  }

  /** As `end`, and tells the two ends of a TCP connection. */
  kill(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    this.release(row);
    this.#conntrack.kill(row, reason, by, now);
    countFlows(this.#shared);
  }

  /** The flow in `row` waits no longer. */
  release(row: number): void {
    const { tcb, heldSyns, wheel } = this.#shared;
    this.#parked.drop(row, DropReason.FLOW_ENDED);
    heldSyns.release(tcb.moveTo(row));
    wheel.cancel(row);
  }

  /** For a datagram there is no reset: a port that is closed says so by ICMP. */
  #kindFor(row: number, how: EndingReject, kind: IcmpErrorKind): IcmpErrorKind {
    const at = this.#shared.flows.rowAt(row);
    const isUdp = this.#shared.arena.view.getUint8(at + FlowField.PROTOCOL) === Protocol.UDP;
    if (isUdp) return how === 'rst' ? IcmpErrorKind.PORT : kind;
    return kind === IcmpErrorKind.PORT ? IcmpErrorKind.HOST : kind;
  }

  /** The flow of a packet; one whose time is over ends here. */
  #find(packet: Packet, now: Instant): number {
    const row = findFlow(this.#shared.flows, packet);
    return row === NO_FLOW || this.endIfOver(row, packet, now) ? NO_FLOW : row;
  }

  /** Ends a flow that was found, when the packet is none of it any more. @returns whether it was */
  endIfOver(row: number, packet: Packet, now: Instant): boolean {
    const { foundReply } = this.#shared.flows;
    if (!this.#conntrack.isOver(row, foundReply, packet, now)) return false;
    this.end(row, CloseReason.IDLE, ClosedBy.GATEWAY, now);
    return true;
  }

  /** A packet of the flow in `row`. */
  onKnown(row: number, isReply: boolean, packet: Packet, now: Instant): DropReason {
    const { flows, arena } = this.#shared;
    switch (arena.view.getUint8(flows.rowAt(row) + FlowField.CARRIER)) {
      case Carrier.NAT:
        if (!this.#mayPass(packet)) return DropReason.HOP_LIMIT_EXCEEDED;
        return this.#conntrack.carry(row, isReply, packet, now);
      case Carrier.SESSION:
        return this.#deliver(row, packet, now);
      default:
        return this.#park(row, packet);
    }
  }

  /** One more packet of a flow that waits. */
  #park(row: number, packet: Packet): DropReason {
    const reason = this.#parked.add(row, packet);
    if (reason === DropReason.NONE) this.#shared.owner.onParked(row);
    return reason;
  }

  /** A datagram of a flow that has a socket. */
  #deliver(row: number, packet: Packet, now: Instant): DropReason {
    if (!this.#mayPass(packet)) return DropReason.HOP_LIMIT_EXCEEDED;
    const { flows, arena, owner, counters } = this.#shared;
    const { view } = arena;
    const { transportAt, end, gsoSize, hopLimit, trafficClass } = packet;
    const isUdp = packet.protocol === Protocol.UDP;
    const dataAt = isUdp ? transportAt + udp.UDP_HEADER_BYTES : transportAt;
    const dataEnd = isUdp ? transportAt + udp.datagramLength(view, transportAt) : end;
    const length = dataEnd - dataAt;
    const count = gsoSize === 0 ? 1 : Math.ceil(length / gsoSize);
    const at = flows.rowAt(row);
    addTo(view, at + FlowField.PACKETS_UP, count);
    addTo(view, at + FlowField.BYTES_UP, length);
    counters.add(Counter.IN_SESSION);
    counters.add(Counter.DATAGRAMS_UP, count);
    counters.countFlow(FlowCount.BYTES_UP, view, at, length);
    this.#conntrack.touch(row, false, now);
    // A whole packet that is longer than the device carries came in fragments, of IPv6 too.
    const cameCut = gsoSize === 0 && end - packet.ipAt > this.#shared.egress.capabilities.mtu;
    const mayCut = cameCut || (packet.addressLength === 4 && !isAtomic(view, packet.ipAt));
    owner.onDatagram(row, dataAt, length, gsoSize, hopLimit, trafficClass, mayCut, now);
    return DropReason.NONE;
  }

  /** A packet that matches no flow. */
  begin(packet: Packet, now: Instant): DropReason {
    const { protocol, destinationAt, addressLength, destinationPort } = packet;
    const { owner, heldSyns, arena, counters } = this.#shared;
    if (isBroadcast(arena.view, destinationAt, addressLength)) {
      return DropReason.MULTICAST_DESTINATION;
    }
    if (this.#isDraining) {
      this.#refuse(packet, IcmpErrorKind.PROHIBITED);
      return DropReason.DRAINING;
    }
    // A static rule answers at once: there is nobody to be kept from asking too much.
    const isAsked = !owner.isNat(protocol, destinationAt, addressLength, destinationPort);
    const refused = isAsked ? this.#refusals.find(packet, now) : NOT_REFUSED;
    if (refused !== NOT_REFUSED) return this.#refuseAgain(packet, refused);
    const bucket = heldSyns.bucketOf(packet.sourceAt, addressLength);
    const limited = isAsked
      ? heldSyns.check(bucket)
      : this.#conntrack.checkSource(packet.sourceAt, addressLength);
    if (limited !== DropReason.NONE) return limited;
    const row = this.#insert(packet, now);
    if (row === NO_FLOW) return DropReason.FLOW_TABLE_FULL;
    const parked = this.#parked.add(row, packet);
    if (parked !== DropReason.NONE) {
      this.#shared.flows.remove(row);
      return parked;
    }
    const tcb = this.#shared.tcb.moveTo(row);
    tcb.clear();
    tcb.phase = FlowPhase.DECIDING;
    arena.view.setUint8(tcb.flowAt + FlowField.SYN_HOP_LIMIT, packet.hopLimit);
    if (isAsked) heldSyns.take(tcb, bucket);
    counters.add(Counter.FLOWS_TOTAL);
    countFlows(this.#shared);
    owner.onFlow(row, now);
    return DropReason.NONE;
  }

  /** A row for the packet; what has least to lose gives way when the table is full. */
  #insert(packet: Packet, now: Instant): number {
    makeRoom(this.#shared, this.#conntrack, now);
    return insertFlow(this.#shared.flows, packet, now);
  }

  /** RFC 1812 §5.3.1, RFC 8200 §3: tells the sender of what cannot go one hop farther. */
  #mayPass(packet: Packet): boolean {
    if (packet.hopLimit > 1) return true;
    this.#icmp.about(packet.ipAt, packet.end, IcmpErrorKind.HOP_LIMIT, 0, OWN_ADDRESS);
    return false;
  }

  /** @param kind  a value of IcmpErrorKind, or SILENT */
  #refuseAgain(packet: Packet, kind: number): DropReason {
    if (kind === SILENT) return DropReason.VERDICT_DROP;
    this.#refuse(packet, kind as IcmpErrorKind);
    return DropReason.REFUSED_AGAIN;
  }

  #refuse(packet: Packet, kind: IcmpErrorKind): void {
    const { ipAt, end, destinationAt, addressLength } = packet;
    // RFC 4443 §3.4: where the unknown number stands; we look at no header before the first.
    const parameter =
      kind === IcmpErrorKind.PROTOCOL && addressLength === 16 ? Ipv6Field.NEXT_HEADER : 0;
    this.#icmp.about(ipAt, end, kind, parameter, destinationAt);
  }
}

const addTo = (view: DataView, at: number, by: number): void =>
  view.setFloat64(at, view.getFloat64(at, true) + by, true);
