/**
 * The path of a packet into the stack, top to bottom:
 * frame → IP → tuple → flow table → TCP, NAT, a datagram's socket, or a reason to drop it.
 * Fragments wait in `reassembly` until their packet is whole, and arrive then; packets of a new
 * flow may wait for a verdict (parked-packets.ts), and arrive once more.
 */
import { Counter, type Counters } from './counters.ts';
import type { Datagrams } from './datagrams.ts';
import { DropReason } from './drop-reason.ts';
import { NO_FLOW } from './flow-table.ts';
import type { Forwarder } from './forwarder.ts';
import type { Icmp } from './icmp.ts';
import { NOT_TRANSLATED, type PrefixNat } from './nat/prefix-nat.ts';
import { emptyPacket, findFlow, superpacketCount } from './packet.ts';
import type { PacketTap } from './packet-tap.ts';
import type { Fragment } from './reassembly/fragment.ts';
import type { Reassembly } from './reassembly/reassembly.ts';
import type { TcpContext } from './tcp/context.ts';
import { Arrived, segmentArrives } from './tcp/segment-arrives.ts';
import { TcpState } from './tcp/states.ts';
import { synSentArrives } from './tcp/syn-sent.ts';
import type { Instant } from './time.ts';
import { ECN_MASK, type Ecn } from './wire/ecn.ts';
import { isMulticast } from './wire/ip-address.ts';
import * as ipv4 from './wire/ipv4.ts';
import * as ipv6 from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { checkTcp, TCP_HEADER_BYTES, tcpChecksumValid } from './wire/tcp.ts';
import {
  checkVnetHeader,
  gsoSize,
  VNET_HEADER_BYTES,
  VnetFlag,
  vnetFlags,
} from './wire/virtio-net.ts';

export interface IngressParts {
  readonly forwarder: Forwarder;
  readonly icmp: Icmp;
  readonly datagrams: Datagrams;
  readonly reassembly: Reassembly;
  readonly prefixes: PrefixNat;
  readonly tap: PacketTap;
}

export class Ingress {
  readonly #view: DataView;
  readonly #tcp: TcpContext;
  readonly #forwarder: Forwarder;
  readonly #icmp: Icmp;
  readonly #datagrams: Datagrams;
  readonly #reassembly: Reassembly;
  readonly #prefixes: PrefixNat;
  readonly #counters: Counters;
  readonly #tap: PacketTap;
  readonly #extensions = new ipv6.ExtensionWalk();
  /** The packet under the reader's eye; reused. */
  readonly #packet = emptyPacket();
  /** The transport checksum is right, or was never made because the packet is local. */
  #isSummed = false;
  #isReassembled = false;
  /** It was counted when it came first. */
  #isAgain = false;
  /** The fragment under the reader's eye; reused. */
  readonly #fragment: Fragment = {
    family: 4,
    headerAt: 0,
    countedHeaderBytes: 0,
    payloadAt: 0,
    payloadLength: 0,
    offset: 0,
    hasMore: false,
    identification: 0,
    protocol: 0,
    ecn: 0,
  };

  constructor(tcp: TcpContext, parts: IngressParts) {
    this.#view = tcp.arena.view;
    this.#tap = parts.tap;
    this.#tcp = tcp;
    this.#forwarder = parts.forwarder;
    this.#icmp = parts.icmp;
    this.#datagrams = parts.datagrams;
    this.#reassembly = parts.reassembly;
    this.#prefixes = parts.prefixes;
    this.#counters = tcp.counters;
  }

  /** Takes one frame [at, end) of the device. Any bytes are welcome; what is wrong is counted. */
  frame(at: number, end: number, now: Instant, hasVnetHeader: boolean): void {
    const counters = this.#counters;
    counters.add(Counter.DEVICE_FRAMES_IN);
    counters.add(Counter.DEVICE_BYTES_IN, end - at);
    if (hasVnetHeader && end - at >= VNET_HEADER_BYTES) {
      if (gsoSize(this.#view, at) !== 0) counters.add(Counter.DEVICE_SUPERFRAMES_IN);
    }
    counters.add(Counter.DEVICE_PACKETS_IN);
    if (this.#tap.isOn) this.#tap.arrives(at, end, hasVnetHeader ? VNET_HEADER_BYTES : 0);
    counters.arrivedReason = DropReason.NONE;
    counters.settleArrival(this.#frame(at, end, hasVnetHeader, now));
    if (this.#tap.isOn) this.#tap.arrived(counters.arrivedReason);
  }

  /** Takes a packet [at, end) once more that had to wait. @param headerBytes  of its vnet header */
  again(at: number, end: number, headerBytes: number, now: Instant): void {
    const isReassembled = this.#isReassembled;
    // What was reassembled lies there without a vnet header, and is no fragment any more.
    this.#setReassembled(false);
    this.#isAgain = true;
    this.#counters.settleArrival(this.#frame(at, end, headerBytes > 0, now));
    this.#isAgain = false;
    this.#setReassembled(isReassembled);
  }

  /**
   * Takes a frame [at, end) that the stack behind another queue has counted and handed over.
   *
   * @param headerBytes  of its vnet header
   */
  handedOver(at: number, end: number, headerBytes: number, now: Instant): void {
    const counters = this.#counters;
    const tap = this.#tap;
    const isReassembled = this.#tcp.peers?.takesMark(at) === true;
    if (tap.isOn && !isReassembled) tap.arrives(at, end, headerBytes);
    counters.arrivedReason = DropReason.NONE;
    this.again(at, end, headerBytes, now);
    if (!tap.isOn) return;
    const reason = counters.arrivedReason;
    if (!isReassembled) tap.arrived(reason);
    else if (reason !== DropReason.NONE) tap.drops(at, end, headerBytes, reason);
  }

  #frame(at: number, end: number, hasVnetHeader: boolean, now: Instant): DropReason {
    const packet = this.#packet;
    packet.frameAt = at;
    packet.isPartial = this.#isSummed = false;
    packet.gsoSize = 0;
    if (!hasVnetHeader) return this.#ip(at, end, now);
    const reason = checkVnetHeader(this.#view, at, end);
    if (reason !== DropReason.NONE) return reason;
    // NEEDS_CSUM: the sender is this kernel, and left the sum to the hardware there is not.
    const flags = vnetFlags(this.#view, at);
    packet.isPartial = (flags & VnetFlag.NEEDS_CSUM) !== 0;
    this.#isSummed = (flags & (VnetFlag.NEEDS_CSUM | VnetFlag.DATA_VALID)) !== 0;
    packet.gsoSize = gsoSize(this.#view, at);
    return this.#ip(at + VNET_HEADER_BYTES, end, now);
  }

  #ip(at: number, end: number, now: Instant): DropReason {
    if (end - at < ipv4.IPV4_HEADER_BYTES) return DropReason.FRAME_TOO_SHORT;
    switch (ipv4.version(this.#view, at)) {
      case 4:
        return this.#ipv4(at, end, now);
      case 6:
        return this.#ipv6(at, end, now);
      default:
        return DropReason.BAD_IP_VERSION;
    }
  }

  #ipv4(at: number, end: number, now: Instant): DropReason {
    const view = this.#view;
    const reason = ipv4.checkIpv4(view, at, end);
    if (reason !== DropReason.NONE) return reason;
    if (ipv4.isFragment(view, at)) return this.#fragmentV4(at, now);
    const packet = this.#packet;
    packet.ipAt = at;
    packet.end = ipv4.ipv4End(view, at);
    packet.transportAt = at + ipv4.headerLength(view, at);
    packet.protocol = ipv4.protocol(view, at);
    packet.sourceAt = at + ipv4.Ipv4Field.SOURCE;
    packet.destinationAt = at + ipv4.Ipv4Field.DESTINATION;
    packet.addressLength = 4;
    packet.hopLimit = ipv4.ttl(view, at);
    packet.trafficClass = ipv4.trafficClass(view, at);
    return this.#transport(now);
  }

  #ipv6(at: number, end: number, now: Instant): DropReason {
    const view = this.#view;
    const reason = ipv6.checkIpv6(view, at, end);
    if (reason !== DropReason.NONE) return reason;
    const packetEnd = ipv6.ipv6End(view, at);
    const walked = this.#extensions.walk(view, at, packetEnd);
    if (walked !== DropReason.NONE) return walked;
    if (this.#extensions.isFragment) return this.#fragmentV6(at, packetEnd, now);
    const packet = this.#packet;
    packet.ipAt = at;
    packet.end = packetEnd;
    packet.transportAt = this.#extensions.transportAt;
    packet.protocol = this.#extensions.protocol;
    packet.sourceAt = at + ipv6.Ipv6Field.SOURCE;
    packet.destinationAt = at + ipv6.Ipv6Field.DESTINATION;
    packet.addressLength = 16;
    packet.hopLimit = ipv6.hopLimit(view, at);
    packet.trafficClass = ipv6.trafficClass(view, at);
    return this.#transport(now);
  }

  #fragmentV4(at: number, now: Instant): DropReason {
    const view = this.#view;
    const fragment = this.#fragment;
    const header = ipv4.headerLength(view, at);
    fragment.family = 4;
    fragment.headerAt = at;
    fragment.countedHeaderBytes = header;
    fragment.payloadAt = at + header;
    fragment.payloadLength = ipv4.totalLength(view, at) - header;
    fragment.offset = ipv4.fragmentOffset(view, at);
    fragment.hasMore = ipv4.hasMoreFragments(view, at);
    fragment.identification = ipv4.identification(view, at);
    fragment.protocol = ipv4.protocol(view, at);
    fragment.ecn = ipv4.ecn(view, at);
    return this.#reassemble(now);
  }

  /** The walk has stopped behind the fragment header. */
  #fragmentV6(at: number, end: number, now: Instant): DropReason {
    const view = this.#view;
    const fragment = this.#fragment;
    const { transportAt, protocol } = this.#extensions;
    const headerAt = transportAt - ipv6.FRAGMENT_HEADER_BYTES;
    fragment.family = 6;
    fragment.headerAt = at;
    fragment.countedHeaderBytes = headerAt - at - ipv6.IPV6_HEADER_BYTES;
    fragment.payloadAt = transportAt;
    fragment.payloadLength = end - transportAt;
    fragment.offset = ipv6.fragmentOffset(view, headerAt);
    fragment.hasMore = ipv6.hasMoreFragments(view, headerAt);
    fragment.identification = ipv6.fragmentIdentification(view, headerAt);
    fragment.protocol = protocol;
    fragment.ecn = ipv6.ecn(view, at);
    if (fragment.offset === 0 && !this.#hasTransport(end)) return DropReason.BAD_FRAGMENT;
    return this.#reassemble(now);
  }

  /** Whether the first fragment of IPv6, at whose header the walk has stopped, has all headers. */
  #hasTransport(end: number): boolean {
    const walk = this.#extensions;
    if (walk.walkOn(this.#view, end) !== DropReason.NONE) return false;
    return walk.protocol !== Protocol.TCP || end - walk.transportAt >= TCP_HEADER_BYTES;
  }

  /** Keeps a fragment; when it was the last that was missing, the packet arrives. */
  #reassemble(now: Instant): DropReason {
    // A packet that was made of fragments is none itself: there is no end to such nests.
    if (this.#isReassembled) return DropReason.BAD_FRAGMENT;
    const reassembly = this.#reassembly;
    const reason = reassembly.add(this.#fragment, now);
    if (reason !== DropReason.NONE || !reassembly.isWhole) return reason;
    this.#setReassembled(true);
    // What the device says of a fragment's checksum says nothing of the packet's.
    const ended = this.#frame(reassembly.packetAt, reassembly.packetEnd, false, now);
    this.#setReassembled(false);
    return ended;
  }

  #setReassembled(is: boolean): void {
    this.#isReassembled = is;
    const { peers } = this.#tcp;
    if (peers !== undefined) peers.isReassembled = is;
  }

  #transport(now: Instant): DropReason {
    const packet = this.#packet;
    const { protocol, addressLength } = packet;
    if (isMulticast(this.#view, packet.destinationAt, addressLength)) {
      return DropReason.MULTICAST_DESTINATION;
    }
    if (packet.gsoSize !== 0 && !this.#isAgain) {
      this.#counters.add(Counter.DEVICE_PACKETS_IN, superpacketCount(this.#view, packet) - 1);
    }
    if (protocol === Protocol.TCP) return this.#tcpSegment(now);
    if (protocol === Protocol.UDP) return this.#datagrams.onUdp(packet, this.#isSummed, now);
    if (protocol === (addressLength === 4 ? Protocol.ICMP : Protocol.ICMPV6)) {
      return this.#icmp.onMessage(packet, now);
    }
    // The ICMP of the other family means nothing here.
    if (protocol === Protocol.ICMP || protocol === Protocol.ICMPV6) {
      return DropReason.UNKNOWN_PROTOCOL;
    }
    return this.#datagrams.onOther(packet, now);
  }

  #tcpSegment(now: Instant): DropReason {
    const view = this.#view;
    const tcp = this.#tcp;
    const packet = this.#packet;
    const { sourceAt, destinationAt, addressLength, transportAt: at, end } = packet;
    let reason = checkTcp(view, at, end);
    if (reason !== DropReason.NONE) return reason;
    if (
      !this.#isSummed &&
      !tcpChecksumValid(view, sourceAt, destinationAt, addressLength, at, end)
    ) {
      return DropReason.BAD_TCP_CHECKSUM;
    }
    reason = tcp.segment.read(view, at, end, (packet.trafficClass & ECN_MASK) as Ecn);
    if (reason !== DropReason.NONE) return reason;
    packet.sourcePort = tcp.segment.sourcePort;
    packet.destinationPort = tcp.segment.destinationPort;
    const { flows } = tcp;
    const row = findFlow(flows, packet);
    if (row === NO_FLOW) return this.#unknownTcp(now);
    const state = tcp.tcb.moveTo(row).state;
    if (state === TcpState.CLOSED) return this.#rewrittenTcp(row, flows.foundReply, now);
    if (state === TcpState.LISTEN) return this.#forwarder.onHeld(now);
    if (state === TcpState.SYN_SENT) return this.#synSent(now);
    if (segmentArrives(tcp, now) === Arrived.DONE) return DropReason.NONE;
    // What the freed row says is still there.
    return this.#forwarder.onReopen(packet, tcp.tcb.sndNxt, now);
  }

  #synSent(now: Instant): DropReason {
    const reason = synSentArrives(this.#tcp, now);
    if (reason === DropReason.NONE) this.#counters.add(Counter.IN_TCP);
    return reason;
  }

  /** A segment of a flow that is not terminated here; its time may be over. */
  #rewrittenTcp(row: number, isReply: boolean, now: Instant): DropReason {
    const datagrams = this.#datagrams;
    if (datagrams.endIfOver(row, this.#packet, now)) return this.#unknownTcp(now);
    return datagrams.onKnown(row, isReply, this.#packet, now);
  }

  /** What a static listener rewrites needs no verdict, nor a cookie in a flood. */
  #unknownTcp(now: Instant): DropReason {
    const packet = this.#packet;
    if (this.#tcp.peers?.takes(packet) === true) return DropReason.NONE;
    const carried = this.#prefixes.carry(packet);
    if (carried !== NOT_TRANSLATED) return carried;
    return this.#datagrams.takesTcp(packet)
      ? this.#datagrams.begin(packet, now)
      : this.#forwarder.onUnknown(packet, now);
  }
}
