/**
 * What goes back to the client of a flow whose datagrams went over a socket: datagrams, echo
 * replies, and the errors that the socket told.
 */
import type { Conntrack } from './conntrack/conntrack.ts';
import { Counter } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { FlowCount } from './flow-counts.ts';
import { FlowField } from './flow-row.ts';
import type { FrameWriter } from './frame-writer.ts';
import type { IcmpErrorKind } from './icmp-error-kind.ts';
import type { IcmpSender } from './icmp-sender.ts';
import type { TcpContext } from './tcp/context.ts';
import type { PathMtuCache } from './tcp/path-mtu-cache.ts';
import type { Instant } from './time.ts';
import { fold, pseudoHeaderSum, sum } from './wire/checksum.ts';
import { IcmpField } from './wire/icmp.ts';
import { Icmpv4Type } from './wire/icmpv4.ts';
import { Icmpv6Type } from './wire/icmpv6.ts';
import { IPV4_HEADER_BYTES, version } from './wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { emitUdpHeader, UDP_HEADER_BYTES, UdpField } from './wire/udp.ts';
import { GsoType } from './wire/virtio-net.ts';

/** As much of a client's datagram as an error quotes: what fits 1,280 bytes beside the headers. */
const MAX_QUOTED_BYTES = 1280 - 2 * IPV6_HEADER_BYTES - 2 * UDP_HEADER_BYTES;
/** Longest UDP datagram, header included, in a packet of either family. */
const MAX_PACKET_BYTES = 65_535;

export class DatagramEgress {
  readonly #shared: TcpContext;
  readonly #writer: FrameWriter;
  readonly #conntrack: Conntrack;
  readonly #icmp: IcmpSender;
  readonly #paths: PathMtuCache;

  /** @param paths  what errors about answers told of the paths to clients */
  constructor(
    shared: TcpContext,
    writer: FrameWriter,
    conntrack: Conntrack,
    icmp: IcmpSender,
    paths: PathMtuCache,
  ) {
    this.#shared = shared;
    this.#writer = writer;
    this.#conntrack = conntrack;
    this.#icmp = icmp;
    this.#paths = paths;
  }

  /**
   * Sends what an upstream sent to the client of the flow in `row`.
   *
   * @param at            payload, behind 128 bytes of headroom, all of which is overwritten
   * @param segmentBytes  payload bytes of each datagram but the last; 0 when there is but one
   * @param trafficClass  of the packets: DSCP and ECN as they arrived
   * @returns             false when the device refused
   */
  datagram(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    trafficClass: number,
    now: Instant,
  ): boolean {
    const isRun = segmentBytes > 0 && length > segmentBytes;
    this.#count(row, length, isRun ? Math.ceil(length / segmentBytes) : 1, now);
    const mtu = this.#mtu(row, now);
    if (!isRun) return this.#udp(row, at, length, 0, trafficClass, mtu);
    // The device cuts runs into datagrams, and no datagram into fragments.
    if (this.#writer.capabilities.uso && this.#headerBytes(row) + segmentBytes <= mtu) {
      return this.#udp(row, at, length, segmentBytes, trafficClass, mtu);
    }
    let isSent = true;
    // Headers are written over the end of the datagram before, which has left.
    for (let done = 0; done < length; done += segmentBytes) {
      const part = Math.min(segmentBytes, length - done);
      isSent = this.#udp(row, at + done, part, 0, trafficClass, mtu) && isSent;
    }
    return isSent;
  }

  /** Sends the echo reply [at, at + length) with the identifier that the client knows. */
  echoReply(row: number, at: number, length: number, trafficClass: number, now: Instant): boolean {
    const { arena, flows } = this.#shared;
    const { view } = arena;
    const flowAt = flows.rowAt(row);
    const addressLength = view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16;
    const isIpv4 = addressLength === 4;
    const sourceAt = flowAt + FlowField.DESTINATION;
    const destinationAt = flowAt + FlowField.SOURCE;
    const protocol = isIpv4 ? Protocol.ICMP : Protocol.ICMPV6;
    this.#count(row, length, 1, now);
    view.setUint16(at, (isIpv4 ? Icmpv4Type.ECHO_REPLY : Icmpv6Type.ECHO_REPLY) << 8);
    view.setUint16(at + IcmpField.CHECKSUM, 0);
    const identifier = view.getUint16(flowAt + FlowField.SOURCE_PORT, true);
    view.setUint16(at + IcmpField.IDENTIFIER, identifier);
    const pseudo = isIpv4
      ? 0
      : pseudoHeaderSum(view, sourceAt, destinationAt, addressLength, protocol, length);
    const checksum = ~fold(sum(view, at, length, pseudo)) & 0xffff;
    view.setUint16(at + IcmpField.CHECKSUM, checksum);
    const writer = this.#writer;
    writer.cause = Counter.OUT_ICMP;
    const ipAt = writer.ipHeader(
      sourceAt,
      destinationAt,
      addressLength,
      protocol,
      at,
      length,
      trafficClass,
    );
    return writer.whole(ipAt, at + length, this.#mtu(row, now));
  }

  /**
   * Tells the client of an error that one of its datagrams met on the way to the upstream. The
   * datagram is built again from the row, and from what the error quoted.
   *
   * @param parameter   the MTU of TOO_BIG, which the caller has made that of the client's path
   * @param offenderAt  address of who sent the error, of the flow's family, in the arena; 0 for the
   *                    destination itself
   * @param quotedAt    payload of the datagram, or the whole echo request, in the arena
   */
  error(
    row: number,
    kind: IcmpErrorKind,
    parameter: number,
    offenderAt: number,
    quotedAt: number,
    quotedLength: number,
  ): void {
    const { arena, flows, counters } = this.#shared;
    const { view, bytes } = arena;
    const flowAt = flows.rowAt(row);
    const protocol = view.getUint8(flowAt + FlowField.PROTOCOL);
    const isUdp = protocol === Protocol.UDP;
    const quoted = Math.min(quotedLength, MAX_QUOTED_BYTES);
    const headerBytes = isUdp ? UDP_HEADER_BYTES : 0;
    const ipAt = this.#icmp.beginQuote(flowAt, protocol, headerBytes + quotedLength);
    const isIpv4 = version(view, ipAt) === 4;
    const at = ipAt + (isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
    bytes.copyWithin(at + headerBytes, quotedAt, quotedAt + quoted);
    const sourcePort = view.getUint16(flowAt + FlowField.SOURCE_PORT, true);
    if (isUdp) {
      const destinationPort = view.getUint16(flowAt + FlowField.DESTINATION_PORT, true);
      emitUdpHeader(view, at, sourcePort, destinationPort, headerBytes + quotedLength);
    } else {
      view.setUint16(at + IcmpField.IDENTIFIER, sourcePort);
    }
    const fromAt = offenderAt === 0 ? flowAt + FlowField.DESTINATION : offenderAt;
    this.#icmp.about(ipAt, at + headerBytes + quoted, kind, parameter, fromAt);
    counters.add(Counter.ICMP_ERRORS_RELAYED);
  }

  #udp(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    trafficClass: number,
    mtu: number,
  ): boolean {
    const { arena, flows, counters } = this.#shared;
    const { view } = arena;
    const flowAt = flows.rowAt(row);
    const addressLength = view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16;
    const sourceAt = flowAt + FlowField.DESTINATION;
    const destinationAt = flowAt + FlowField.SOURCE;
    const udpAt = at - UDP_HEADER_BYTES;
    const total = UDP_HEADER_BYTES + length;
    if (total + (addressLength === 4 ? IPV4_HEADER_BYTES : 0) > MAX_PACKET_BYTES) {
      counters.drop(DropReason.UPSTREAM_TOO_LONG);
      return true;
    }
    emitUdpHeader(
      view,
      udpAt,
      view.getUint16(flowAt + FlowField.DESTINATION_PORT, true),
      view.getUint16(flowAt + FlowField.SOURCE_PORT, true),
      total,
    );
    const pseudo = pseudoHeaderSum(
      view,
      sourceAt,
      destinationAt,
      addressLength,
      Protocol.UDP,
      total,
    );
    view.setUint16(udpAt + UdpField.CHECKSUM, fold(pseudo));
    const writer = this.#writer;
    writer.cause = Counter.OUT_UDP;
    const ipAt = writer.ipHeader(
      sourceAt,
      destinationAt,
      addressLength,
      Protocol.UDP,
      udpAt,
      total,
      trafficClass,
    );
    const end = at + length;
    if (segmentBytes === 0) {
      return writer.wholePartial(ipAt, end, udpAt, UdpField.CHECKSUM, UDP_HEADER_BYTES, mtu);
    }
    return writer.partial(
      ipAt,
      end,
      udpAt,
      UdpField.CHECKSUM,
      UDP_HEADER_BYTES,
      GsoType.UDP_L4,
      segmentBytes,
    );
  }

  #headerBytes(row: number): number {
    const { arena, flows } = this.#shared;
    const isIpv4 = arena.view.getUint8(flows.rowAt(row) + FlowField.FAMILY) === 4;
    return (isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + UDP_HEADER_BYTES;
  }

  /** Longest packet that reaches the client. */
  #mtu(row: number, now: Instant): number {
    const { mtu } = this.#writer.capabilities;
    const known = this.#paths.find(this.#shared.flows.rowAt(row), now);
    return known === 0 ? mtu : Math.min(known, mtu);
  }

  #count(row: number, bytes: number, packets: number, now: Instant): void {
    const { arena, flows, counters } = this.#shared;
    const { view } = arena;
    const at = flows.rowAt(row);
    const bytesAt = at + FlowField.BYTES_DOWN;
    if (view.getFloat64(at + FlowField.PACKETS_DOWN, true) === 0) {
      const startedAt = view.getFloat64(at + FlowField.STARTED_AT, true);
      view.setUint32(at + FlowField.FIRST_BYTE_US, now - startedAt, true);
    }
    const packetsAt = at + FlowField.PACKETS_DOWN;
    view.setFloat64(bytesAt, view.getFloat64(bytesAt, true) + bytes, true);
    view.setFloat64(packetsAt, view.getFloat64(packetsAt, true) + packets, true);
    counters.add(Counter.DATAGRAMS_DOWN, packets);
    counters.countFlow(FlowCount.BYTES_DOWN, view, at, bytes);
    this.#conntrack.touch(row, true, now);
  }
}
