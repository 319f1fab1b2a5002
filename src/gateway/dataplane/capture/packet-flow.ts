/**
 * Whose packet this is: reads its ends, and finds the row of its flow, in whichever direction. For
 * captures, so that it may be any packet, and is read apart from the path that all packets take.
 */
import { DropReason } from '../../../stack/drop-reason.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../stack/flow-row.ts';
import { NO_FLOW } from '../../../stack/flow-table.ts';
import { readQuote } from '../../../stack/nat/translate-error.ts';
import { emptyPacket, type Packet } from '../../../stack/packet.ts';
import type { Stack } from '../../../stack/stack.ts';
import { echoIdentifier, ICMP_HEADER_BYTES, icmpType } from '../../../stack/wire/icmp.ts';
import * as icmpv4 from '../../../stack/wire/icmpv4.ts';
import * as icmpv6 from '../../../stack/wire/icmpv6.ts';
import * as ipv4 from '../../../stack/wire/ipv4.ts';
import * as ipv6 from '../../../stack/wire/ipv6.ts';
import { Protocol } from '../../../stack/wire/protocol.ts';

/** Of TCP and UDP: both ports. */
const PORTS_BYTES = 4;

export class PacketFlow {
  readonly #stack: Stack;
  readonly #packet: Packet = emptyPacket();
  readonly #quote: Packet = emptyPacket();
  readonly #walk = new ipv6.ExtensionWalk();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /**
   * Writes to `into` the row of the flow of which the packet [ipAt, end) of the arena is, or one
   * that has no more than its ends: the client's side as source, and serial number 0.
   *
   * @param isOut  it goes to the client, or to the upstream by NAT
   * @returns whether the flow is known
   */
  write(into: DataView, rowAt: number, ipAt: number, end: number, isOut: boolean): boolean {
    const isKnown = this.#read(ipAt, end);
    const row = isKnown ? this.#find(isOut) : NO_FLOW;
    if (row !== NO_FLOW) {
      this.#copyRow(into, rowAt, row);
      return true;
    }
    for (let i = 0; i < FLOW_ROW_BYTES; i += 4) into.setInt32(rowAt + i, 0);
    if (isKnown) this.#writeEnds(into, rowAt, isOut);
    return false;
  }

  /** Brings a row up to date: its flow may have begun since. What was known of one stays. */
  refresh(into: DataView, rowAt: number): void {
    const { flows, arena } = this.#stack;
    // Nothing lies there for longer than a call: see FlowTable.scratchRow.
    const at = flows.rowAt(flows.scratchRow);
    copyWords(into, rowAt, arena.view, at);
    const family = arena.view.getUint8(at + FlowField.FAMILY);
    if (family === 0) return;
    const packet = this.#packet;
    packet.sourceAt = at + FlowField.SOURCE;
    packet.destinationAt = at + FlowField.DESTINATION;
    packet.addressLength = family === 4 ? 4 : 16;
    packet.sourcePort = arena.view.getUint16(at + FlowField.SOURCE_PORT, true);
    packet.destinationPort = arena.view.getUint16(at + FlowField.DESTINATION_PORT, true);
    packet.protocol = arena.view.getUint8(at + FlowField.PROTOCOL);
    const row = this.#lookUp(packet, false);
    const serial = into.getFloat64(rowAt + FlowField.SERIAL, true);
    if (row === NO_FLOW || (serial !== 0 && this.#serialOf(row) !== serial)) return;
    this.#copyRow(into, rowAt, row);
  }

  #serialOf(row: number): number {
    const { arena } = this.#stack;
    return arena.view.getFloat64(this.#stack.rowAt(row) + FlowField.SERIAL, true);
  }

  #copyRow(into: DataView, rowAt: number, row: number): void {
    const { view } = this.#stack.arena;
    copyWords(view, this.#stack.rowAt(row), into, rowAt);
  }

  #read(ipAt: number, end: number): boolean {
    const { view } = this.#stack.arena;
    if (end - ipAt < ipv4.IPV4_HEADER_BYTES) return false;
    const packet = this.#packet;
    packet.ipAt = ipAt;
    packet.sourcePort = packet.destinationPort = 0;
    let isFragment = false;
    if (ipv4.version(view, ipAt) === 4) {
      if (ipv4.checkIpv4(view, ipAt, end) !== DropReason.NONE) return false;
      packet.end = ipv4.ipv4End(view, ipAt);
      packet.addressLength = 4;
      packet.protocol = ipv4.protocol(view, ipAt);
      packet.transportAt = ipAt + ipv4.headerLength(view, ipAt);
      packet.sourceAt = ipAt + ipv4.Ipv4Field.SOURCE;
      packet.destinationAt = ipAt + ipv4.Ipv4Field.DESTINATION;
      isFragment = ipv4.isFragment(view, ipAt);
    } else {
      if (ipv6.checkIpv6(view, ipAt, end) !== DropReason.NONE) return false;
      packet.end = ipv6.ipv6End(view, ipAt);
      if (this.#walk.walk(view, ipAt, packet.end) !== DropReason.NONE) return false;
      packet.addressLength = 16;
      packet.protocol = this.#walk.protocol;
      packet.transportAt = this.#walk.transportAt;
      packet.sourceAt = ipAt + ipv6.Ipv6Field.SOURCE;
      packet.destinationAt = ipAt + ipv6.Ipv6Field.DESTINATION;
      isFragment = this.#walk.isFragment;
    }
    if (!isFragment) this.#readPorts();
    return true;
  }

  #readPorts(): void {
    const { view } = this.#stack.arena;
    const { protocol, transportAt: at, end } = this.#packet;
    const hasPorts = protocol === Protocol.TCP || protocol === Protocol.UDP;
    if (hasPorts && end - at >= PORTS_BYTES) {
      this.#packet.sourcePort = view.getUint16(at);
      this.#packet.destinationPort = view.getUint16(at + 2);
    } else if (this.#isIcmp && end - at >= ICMP_HEADER_BYTES) {
      const type = icmpType(view, at);
      const identifier = echoIdentifier(view, at);
      if (type === icmpv4.Icmpv4Type.ECHO_REQUEST || type === icmpv6.Icmpv6Type.ECHO_REQUEST) {
        this.#packet.sourcePort = identifier;
      } else if (type === icmpv4.Icmpv4Type.ECHO_REPLY || type === icmpv6.Icmpv6Type.ECHO_REPLY) {
        this.#packet.destinationPort = identifier;
      }
    }
  }

  get #isIcmp(): boolean {
    const { protocol, addressLength } = this.#packet;
    return protocol === (addressLength === 4 ? Protocol.ICMP : Protocol.ICMPV6);
  }

  /** A flow is found by what comes in; of what goes out, by what would answer it. */
  #find(isOut: boolean): number {
    const row = this.#lookUp(this.#packet, isOut);
    if (row !== NO_FLOW || !this.#isIcmp) return row;
    const { view } = this.#stack.arena;
    const { transportAt: at, end, addressLength } = this.#packet;
    if (end - at < ICMP_HEADER_BYTES) return NO_FLOW;
    const isError =
      addressLength === 4 ? icmpv4.isIcmpError(view, at) : icmpv6.isIcmpError(view, at);
    if (!isError || !readQuote(view, this.#packet, this.#quote)) return NO_FLOW;
    // It goes the other way than what it quotes.
    return this.#lookUp(this.#quote, !isOut);
  }

  #lookUp(packet: Packet, isTurned: boolean): number {
    const { flows } = this.#stack;
    const { addressLength, protocol } = packet;
    const sourceAt = isTurned ? packet.destinationAt : packet.sourceAt;
    const destinationAt = isTurned ? packet.sourceAt : packet.destinationAt;
    const sourcePort = isTurned ? packet.destinationPort : packet.sourcePort;
    const destinationPort = isTurned ? packet.sourcePort : packet.destinationPort;
    // The stack may be between a search and its answer.
    const { foundReply } = flows;
    const row = flows.findTuple(
      sourceAt,
      destinationAt,
      addressLength,
      sourcePort,
      destinationPort,
      protocol,
    );
    flows.foundReply = foundReply;
    return row;
  }

  #writeEnds(into: DataView, rowAt: number, isOut: boolean): void {
    const { view } = this.#stack.arena;
    const { addressLength, protocol, sourceAt, destinationAt } = this.#packet;
    const { sourcePort, destinationPort } = this.#packet;
    const fromAt = isOut ? destinationAt : sourceAt;
    const toAt = isOut ? sourceAt : destinationAt;
    for (let i = 0; i < addressLength; i++) {
      into.setUint8(rowAt + FlowField.SOURCE + i, view.getUint8(fromAt + i));
      into.setUint8(rowAt + FlowField.DESTINATION + i, view.getUint8(toAt + i));
    }
    const port = isOut ? destinationPort : sourcePort;
    into.setUint16(rowAt + FlowField.SOURCE_PORT, port, true);
    const other = isOut ? sourcePort : destinationPort;
    into.setUint16(rowAt + FlowField.DESTINATION_PORT, other, true);
    into.setUint8(rowAt + FlowField.FAMILY, addressLength === 4 ? 4 : 6);
    into.setUint8(rowAt + FlowField.PROTOCOL, protocol);
  }
}

/** As integers: not every pattern of bits survives as a floating-point number. */
function copyWords(from: DataView, fromAt: number, to: DataView, toAt: number): void {
  for (let i = 0; i < FLOW_ROW_BYTES; i += 4) to.setInt32(toAt + i, from.getInt32(fromAt + i));
}
