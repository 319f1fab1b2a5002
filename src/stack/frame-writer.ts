/**
 * The last step of every packet that leaves: the IP header, the vnet header, and one write. What
 * the device cannot cut or sum is done here, with `offload/segment.ts`.
 */
import type { Arena } from './arena.ts';
import { Counter, type Counters } from './counters.ts';
import type { DeviceCapabilities, FrameSink } from './device.ts';
import { DropReason } from './drop-reason.ts';
import { fragment } from './offload/fragment.ts';
import { completeChecksum, segment } from './offload/segment.ts';
import type { Packet } from './packet.ts';
import * as ipv4 from './wire/ipv4.ts';
import { emitIpv6Header, IPV6_HEADER_BYTES } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { headerLength } from './wire/tcp.ts';
import { UDP_HEADER_BYTES } from './wire/udp.ts';
import {
  checksumOffset,
  checksumStart,
  clearVnetHeader,
  emitVnetHeader,
  GsoType,
  setHeaderLength,
  VNET_HEADER_BYTES,
  VnetFlag,
} from './wire/virtio-net.ts';

/** RFC 1700's default, and what Linux sends. */
const HOP_LIMIT = 64;
const HEADROOM_BYTES = 128;
/** Where one packet of a cut superpacket is built: as long as any MTU allows. */
const CUT_BYTES = 65_535 + 2 * HEADROOM_BYTES;

export class FrameWriter {
  readonly capabilities: DeviceCapabilities;
  readonly #view: DataView;
  readonly #sink: FrameSink;
  readonly #counters: Counters;
  /** Where superframes are cut when the device cannot. */
  readonly #cutAt: number;
  readonly #emitCut: (ipAt: number, end: number) => void;
  /** Of the packet that was cut into fragments last. */
  #identification = 0;

  static readonly BYTES = CUT_BYTES + 64;

  constructor(arena: Arena, sink: FrameSink, capabilities: DeviceCapabilities, counters: Counters) {
    this.capabilities = capabilities;
    this.#view = arena.view;
    this.#sink = sink;
    this.#counters = counters;
    this.#cutAt = arena.take(CUT_BYTES) + HEADROOM_BYTES;
    this.#emitCut = (ipAt, end) => {
      this.plain(ipAt, end);
    };
  }

  /** Writes the IP header in front of the transport header. @returns its position */
  ipHeader(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    protocol: number,
    transportAt: number,
    length: number,
    trafficClass: number,
  ): number {
    const view = this.#view;
    if (addressLength === 4) {
      const ipAt = transportAt - ipv4.IPV4_HEADER_BYTES;
      const total = ipv4.IPV4_HEADER_BYTES + length;
      ipv4.emitIpv4Header(
        view,
        ipAt,
        total,
        protocol,
        HOP_LIMIT,
        trafficClass,
        sourceAt,
        destinationAt,
      );
      return ipAt;
    }
    const ipAt = transportAt - IPV6_HEADER_BYTES;
    emitIpv6Header(view, ipAt, length, protocol, HOP_LIMIT, trafficClass, sourceAt, destinationAt);
    return ipAt;
  }

  /** Hands a packet [ipAt, end) to the device whose checksums are complete. */
  plain(ipAt: number, end: number): boolean {
    if (!this.capabilities.vnetHeader) return this.#write(ipAt, ipAt, end, 0);
    const frameAt = ipAt - VNET_HEADER_BYTES;
    clearVnetHeader(this.#view, frameAt);
    return this.#write(frameAt, ipAt, end, 0);
  }

  /** As `plain`, in fragments when the packet is longer than the MTU, the device's or less. */
  whole(ipAt: number, end: number, mtu = this.capabilities.mtu): boolean {
    if (end - ipAt <= mtu) return this.plain(ipAt, end);
    const own = ipv4.version(this.#view, ipAt) === 4 ? ipv4.identification(this.#view, ipAt) : 0;
    this.#identification = (this.#identification + 1) >>> 0;
    const identification = own === 0 ? this.#identification : own;
    fragment(this.#view, ipAt, end, mtu, identification, this.#cutAt, this.#emitCut);
    return true;
  }

  /** As `partial` with no superpacket, in fragments when the packet is longer than the MTU. */
  wholePartial(
    ipAt: number,
    end: number,
    transportAt: number,
    checksumOffset: number,
    headerLength: number,
    mtu: number,
  ): boolean {
    if (end - ipAt <= mtu) {
      return this.partial(ipAt, end, transportAt, checksumOffset, headerLength, GsoType.NONE, 0);
    }
    completeChecksum(this.#view, ipAt, transportAt - ipAt, checksumOffset, end);
    return this.whole(ipAt, end, mtu);
  }

  /**
   * Hands a packet to the device whose transport checksum is the pseudo header's sum so far.
   *
   * @param checksumOffset  the field, counted from the transport header
   * @param headerLength    of the transport header
   * @param gsoSize         payload bytes after which the device cuts; 0 for a single packet
   */
  partial(
    ipAt: number,
    end: number,
    transportAt: number,
    checksumOffset: number,
    headerLength: number,
    gsoType: number,
    gsoSize: number,
  ): boolean {
    const start = transportAt - ipAt;
    const { checksumOffload, vnetHeader } = this.capabilities;
    if (!checksumOffload) completeChecksum(this.#view, ipAt, start, checksumOffset, end);
    if (!vnetHeader || !checksumOffload) return this.plain(ipAt, end);
    const frameAt = ipAt - VNET_HEADER_BYTES;
    emitVnetHeader(
      this.#view,
      frameAt,
      VnetFlag.NEEDS_CSUM,
      gsoType,
      start + headerLength,
      gsoSize,
      start,
      checksumOffset,
    );
    return this.#write(frameAt, ipAt, end, gsoSize);
  }

  /** Cuts the superpacket [ipAt, end) here, and hands over its packets. */
  cut(ipAt: number, end: number, gsoSize: number): void {
    segment(this.#view, ipAt, end, gsoSize, this.#cutAt, this.#emitCut);
  }

  /**
   * Hands a packet back to the device that came from it, and whose addresses were rewritten since:
   * what was left to do about its checksum, and about cutting it, still is, unless the device has
   * begun to refuse superpackets.
   */
  forward(packet: Packet): boolean {
    const { frameAt, ipAt, end, isPartial, gsoSize, protocol } = packet;
    const hasVnetHeader = frameAt !== ipAt;
    // What came in fragments goes on in fragments.
    if (!hasVnetHeader) return this.whole(ipAt, end);
    if (!isPartial && gsoSize === 0) return this.plain(ipAt, end);
    if (gsoSize !== 0 && !this.#canCut(protocol, packet.addressLength)) {
      this.cut(ipAt, end, gsoSize);
      return true;
    }
    const view = this.#view;
    if (gsoSize !== 0) setHeaderLength(view, frameAt, headersOf(view, packet));
    if (this.capabilities.checksumOffload) return this.#write(frameAt, ipAt, end, gsoSize);
    // It came from a device that was swapped for a lesser one since.
    completeChecksum(view, ipAt, checksumStart(view, frameAt), checksumOffset(view, frameAt), end);
    return this.plain(ipAt, end);
  }

  #canCut(protocol: number, addressLength: number): boolean {
    const { tso4, tso6, uso } = this.capabilities;
    if (protocol === Protocol.UDP) return uso;
    return addressLength === ipv4.IPV4_ADDRESS_BYTES ? tso4 : tso6;
  }

  #write(frameAt: number, ipAt: number, end: number, gsoSize: number): boolean {
    if (!this.#sink.transmit(frameAt, end - frameAt)) {
      this.#counters.drop(DropReason.DEVICE_WRITE_FAILED);
      return false;
    }
    this.#counters.add(Counter.DEVICE_FRAMES_OUT);
    this.#counters.add(Counter.DEVICE_BYTES_OUT, end - ipAt);
    if (gsoSize !== 0) this.#counters.add(Counter.DEVICE_SUPERFRAMES_OUT);
    return true;
  }
}

/** Bytes in front of the payload of a superpacket. */
function headersOf(view: DataView, { ipAt, transportAt, protocol }: Packet): number {
  const isUdp = protocol === Protocol.UDP;
  return transportAt - ipAt + (isUdp ? UDP_HEADER_BYTES : headerLength(view, transportAt));
}
