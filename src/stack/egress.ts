/**
 * Builds outgoing frames. Headers are written in front of the payload where it lies: one write
 * sends a segment, however large, and no payload byte is summed or copied while the device cuts
 * and sums for us. What it cannot cut or sum is done here, in `offload/segment.ts`.
 *
 *   | virtio-net | IPv4 or IPv6 | TCP, UDP or ICMP | payload |
 *   frameAt      ipAt           transportAt
 */
import type { Arena } from './arena.ts';
import { Counter, type Counters } from './counters.ts';
import type { DeviceCapabilities, FrameSink } from './device.ts';
import { DropReason } from './drop-reason.ts';
import { FlowField } from './flow-row.ts';
import { completeChecksum, segment } from './offload/segment.ts';
import { fold, pseudoHeaderSum } from './wire/checksum.ts';
import { Ecn } from './wire/ecn.ts';
import { emitIpv4Header, IPV4_HEADER_BYTES } from './wire/ipv4.ts';
import { emitIpv6Header, IPV6_HEADER_BYTES } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import type { Seq } from './wire/seq.ts';
import { emitTcpHeader, TCP_HEADER_BYTES, TcpField, TcpFlag } from './wire/tcp.ts';
import {
  emitSack,
  emitSynOptions,
  emitTimestamps,
  sackBytes,
  TIMESTAMPS_BYTES,
} from './wire/tcp-options.ts';
import {
  clearVnetHeader,
  emitVnetHeader,
  GsoType,
  VNET_HEADER_BYTES,
  VnetFlag,
} from './wire/virtio-net.ts';

/** RFC 1700's default, and what Linux sends. */
const HOP_LIMIT = 64;
/** Largest frame that is built or cut here: headers and one MTU, or an ICMP error. */
const SCRATCH_BYTES = 16_384;
const SCRATCH_HEADROOM = 128;
/** Where one packet of a cut superpacket is built: as long as any MTU allows. */
const CUT_BYTES = 65_535 + 2 * SCRATCH_HEADROOM;

/** Options of a SYN or SYN-ACK; one object is reused. */
export interface SynOptions {
  mss: number;
  /** -1: not negotiated. */
  windowScale: number;
  sackPermitted: boolean;
}

/** Options of all other segments; one object is reused. */
export interface SegmentOptions {
  hasTimestamps: boolean;
  tsValue: number;
  tsEcho: number;
  /** SACK blocks: left and right edge of each. */
  sackCount: number;
  readonly sackEdges: Uint32Array;
}

/** Bytes that these options take of each packet. */
const optionBytes = (options: SegmentOptions): number =>
  (options.hasTimestamps ? TIMESTAMPS_BYTES : 0) + sackBytes(options.sackCount);

export class Egress {
  readonly capabilities: DeviceCapabilities;
  readonly #view: DataView;
  readonly #sink: FrameSink;
  readonly #counters: Counters;
  /** Frames without a slab are built here; it is free again when `transmit` returns. */
  readonly #scratchAt: number;
  /** Where superframes are cut when the device cannot. */
  readonly #cutAt: number;
  readonly #emitCut: (ipAt: number, end: number) => void;

  static readonly BYTES = SCRATCH_BYTES + CUT_BYTES + 2 * 64;

  constructor(arena: Arena, sink: FrameSink, capabilities: DeviceCapabilities, counters: Counters) {
    this.capabilities = capabilities;
    this.#view = arena.view;
    this.#sink = sink;
    this.#counters = counters;
    this.#scratchAt = arena.take(SCRATCH_BYTES) + SCRATCH_HEADROOM;
    this.#cutAt = arena.take(CUT_BYTES) + SCRATCH_HEADROOM;
    this.#emitCut = (ipAt, end) => this.#write(ipAt, end, 0, 0);
  }

  /** Where a transport header and payload of at most 16,000 bytes may be built. */
  get scratchAt(): number {
    return this.#scratchAt;
  }

  /** Largest payload of one TCP segment towards a client, options deducted by the caller. */
  mssFor(family: number): number {
    const header = family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    return this.capabilities.mtu - header - TCP_HEADER_BYTES;
  }

  /**
   * Sends a segment of a flow, from the gateway to the client.
   *
   * @param payloadAt  position of the payload behind at least 128 bytes of headroom; what lies
   *                   there is overwritten. 0 with `payloadLength` 0
   * @param mss        payload bytes after which a longer segment is cut
   * @param ecn        codepoint of its packets
   * @returns          false when the device refused the frame
   */
  tcp(
    flowAt: number,
    seq: Seq,
    ack: Seq,
    flags: number,
    window: number,
    options: SegmentOptions,
    payloadAt: number,
    payloadLength: number,
    mss: number,
    ecn: Ecn,
  ): boolean {
    const headerLength = TCP_HEADER_BYTES + optionBytes(options);
    const tcpAt = payloadLength === 0 ? this.#scratchAt : payloadAt - headerLength;
    this.#tcpHeader(flowAt, tcpAt, seq, ack, headerLength, flags, window);
    let optionAt = tcpAt + TCP_HEADER_BYTES;
    if (options.hasTimestamps) {
      optionAt += emitTimestamps(this.#view, optionAt, options.tsValue, options.tsEcho);
    }
    if (options.sackCount > 0) {
      emitSack(this.#view, optionAt, options.sackEdges, options.sackCount);
    }
    return this.#tcpPacket(
      flowAt + FlowField.DESTINATION,
      flowAt + FlowField.SOURCE,
      this.#view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16,
      tcpAt,
      headerLength,
      payloadLength,
      mss,
      ecn,
    );
  }

  /** Sends the SYN or SYN-ACK of a flow. */
  syn(
    flowAt: number,
    seq: Seq,
    ack: Seq,
    flags: number,
    window: number,
    options: SynOptions,
    hasTimestamps: boolean,
    tsValue: number,
    tsEcho: number,
  ): boolean {
    const tcpAt = this.#scratchAt;
    const headerLength =
      TCP_HEADER_BYTES +
      emitSynOptions(
        this.#view,
        tcpAt + TCP_HEADER_BYTES,
        options.mss,
        options.windowScale,
        options.sackPermitted,
        hasTimestamps,
        tsValue,
        tsEcho,
      );
    this.#tcpHeader(flowAt, tcpAt, seq, ack, headerLength, flags, window);
    return this.#tcpPacket(
      flowAt + FlowField.DESTINATION,
      flowAt + FlowField.SOURCE,
      this.#view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16,
      tcpAt,
      headerLength,
      0,
      0,
      Ecn.NOT_ECT,
    );
  }

  /** Sends a bare segment between two addresses in the arena: the reset of a flow that is not. */
  bareTcp(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
    seq: Seq,
    ack: Seq,
    flags: number,
  ): boolean {
    const at = this.#scratchAt;
    emitTcpHeader(
      this.#view,
      at,
      sourcePort,
      destinationPort,
      seq,
      ack,
      TCP_HEADER_BYTES,
      flags,
      0,
    );
    return this.#tcpPacket(
      sourceAt,
      destinationAt,
      addressLength,
      at,
      TCP_HEADER_BYTES,
      0,
      0,
      Ecn.NOT_ECT,
    );
  }

  /** Sends a bare segment of the flow whose row lies at `flowAt`, from the gateway's side. */
  bareTcpOf(flowAt: number, seq: Seq, ack: Seq, flags: number): boolean {
    const view = this.#view;
    return this.bareTcp(
      flowAt + FlowField.DESTINATION,
      flowAt + FlowField.SOURCE,
      view.getUint8(flowAt + FlowField.FAMILY) === 4 ? 4 : 16,
      view.getUint16(flowAt + FlowField.DESTINATION_PORT, true),
      view.getUint16(flowAt + FlowField.SOURCE_PORT, true),
      seq,
      ack,
      flags,
    );
  }

  /** Sends an ICMP message that lies, with its checksum, at `at`. */
  icmp(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): boolean {
    const protocol = addressLength === 4 ? Protocol.ICMP : Protocol.ICMPV6;
    const ipAt = this.#ipHeader(
      sourceAt,
      destinationAt,
      addressLength,
      protocol,
      at,
      length,
      Ecn.NOT_ECT,
    );
    return this.#write(ipAt, at + length, 0, 0);
  }

  #tcpHeader(
    flowAt: number,
    tcpAt: number,
    seq: Seq,
    ack: Seq,
    headerLength: number,
    flags: number,
    window: number,
  ): void {
    const view = this.#view;
    emitTcpHeader(
      view,
      tcpAt,
      view.getUint16(flowAt + FlowField.DESTINATION_PORT, true),
      view.getUint16(flowAt + FlowField.SOURCE_PORT, true),
      seq,
      ack,
      headerLength,
      flags,
      window,
    );
  }

  #tcpPacket(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    tcpAt: number,
    headerLength: number,
    payloadLength: number,
    mss: number,
    ecn: Ecn,
  ): boolean {
    const view = this.#view;
    const length = headerLength + payloadLength;
    const end = tcpAt + length;
    const ipAt = this.#ipHeader(
      sourceAt,
      destinationAt,
      addressLength,
      Protocol.TCP,
      tcpAt,
      length,
      ecn,
    );
    const pseudo = pseudoHeaderSum(
      view,
      sourceAt,
      destinationAt,
      addressLength,
      Protocol.TCP,
      length,
    );
    view.setUint16(tcpAt + TcpField.CHECKSUM, fold(pseudo));
    if (payloadLength <= mss || mss === 0) return this.#write(ipAt, end, tcpAt - ipAt, 0);
    if (this.#canCut(addressLength, tcpAt)) return this.#write(ipAt, end, tcpAt - ipAt, mss);
    segment(view, ipAt, end, mss, this.#cutAt, this.#emitCut);
    return true;
  }

  /** Whether the device cuts the superpacket whose TCP header lies at `tcpAt`. */
  #canCut(addressLength: number, tcpAt: number): boolean {
    const { tso4, tso6, tsoEcn } = this.capabilities;
    return (addressLength === 4 ? tso4 : tso6) && (tsoEcn || !hasCwr(this.#view, tcpAt));
  }

  /** Writes the IP header in front of the transport header. @returns its position */
  #ipHeader(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    protocol: number,
    transportAt: number,
    length: number,
    ecn: Ecn,
  ): number {
    if (addressLength === 4) {
      const ipAt = transportAt - IPV4_HEADER_BYTES;
      const total = IPV4_HEADER_BYTES + length;
      emitIpv4Header(this.#view, ipAt, total, protocol, HOP_LIMIT, ecn, sourceAt, destinationAt);
      return ipAt;
    }
    const ipAt = transportAt - IPV6_HEADER_BYTES;
    emitIpv6Header(this.#view, ipAt, length, protocol, HOP_LIMIT, ecn, sourceAt, destinationAt);
    return ipAt;
  }

  /**
   * Hands a packet to the device.
   *
   * @param checksumStart  offset of a TCP header whose checksum field holds the pseudo-header sum;
   *                       0 when the packet's checksums are complete
   * @param gsoSize        payload bytes after which the device cuts; 0 for a single packet
   */
  #write(ipAt: number, end: number, checksumStart: number, gsoSize: number): boolean {
    const view = this.#view;
    let frameAt = ipAt;
    if (checksumStart !== 0 && !this.capabilities.checksumOffload) {
      completeChecksum(view, ipAt, checksumStart, TcpField.CHECKSUM, end);
    }
    if (this.capabilities.vnetHeader) {
      frameAt -= VNET_HEADER_BYTES;
      if (checksumStart === 0 || !this.capabilities.checksumOffload) {
        clearVnetHeader(view, frameAt);
      } else {
        const headerLength = checksumStart + ((view.getUint8(ipAt + checksumStart + 12) >> 4) << 2);
        emitVnetHeader(
          view,
          frameAt,
          VnetFlag.NEEDS_CSUM,
          gsoSize === 0 ? GsoType.NONE : gsoTypeOf(view, ipAt, ipAt + checksumStart),
          headerLength,
          gsoSize,
          checksumStart,
          TcpField.CHECKSUM,
        );
      }
    }
    const length = end - frameAt;
    if (!this.#sink.transmit(frameAt, length)) {
      this.#counters.drop(DropReason.DEVICE_WRITE_FAILED);
      return false;
    }
    this.#counters.add(Counter.DEVICE_FRAMES_OUT);
    this.#counters.add(Counter.DEVICE_BYTES_OUT, end - ipAt);
    if (gsoSize !== 0) this.#counters.add(Counter.DEVICE_SUPERFRAMES_OUT);
    return true;
  }
}

const hasCwr = (view: DataView, tcpAt: number): boolean =>
  (view.getUint8(tcpAt + TcpField.FLAGS) & TcpFlag.CWR) !== 0;

/** What the device is told of a superpacket. */
function gsoTypeOf(view: DataView, ipAt: number, tcpAt: number): number {
  const type = view.getUint8(ipAt) >>> 4 === 4 ? GsoType.TCPV4 : GsoType.TCPV6;
  return hasCwr(view, tcpAt) ? type | GsoType.ECN : type;
}
