/**
 * Builds the segments of our TCP, and ICMP packets. Headers are written in front of the payload
 * where it lies: one write sends a segment, however large, and no payload byte is summed or copied
 * while the device cuts and sums for us.
 *
 *   | virtio-net | IPv4 or IPv6 | TCP or ICMP | payload |
 *   frameAt      ipAt           transportAt
 */
import type { Arena } from './arena.ts';
import { Counter } from './counters.ts';
import type { DeviceCapabilities } from './device.ts';
import { DropReason } from './drop-reason.ts';
import { FlowField } from './flow-row.ts';
import type { FrameWriter } from './frame-writer.ts';
import type { Packet } from './packet.ts';
import { fold, pseudoHeaderSum } from './wire/checksum.ts';
import { Ecn } from './wire/ecn.ts';
import { IPV4_HEADER_BYTES } from './wire/ipv4.ts';
import { IPV6_HEADER_BYTES } from './wire/ipv6.ts';
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
import { GsoType } from './wire/virtio-net.ts';

/** Largest frame that is built or cut here: headers and one MTU, or an ICMP error. */
const SCRATCH_BYTES = 16_384;
const SCRATCH_HEADROOM = 128;

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
  readonly #writer: FrameWriter;
  /** Frames without a slab are built here; it is free again when `transmit` returns. */
  readonly #scratchAt: number;

  static readonly BYTES = SCRATCH_BYTES + 64;

  constructor(arena: Arena, writer: FrameWriter) {
    this.capabilities = writer.capabilities;
    this.#view = arena.view;
    this.#writer = writer;
    this.#scratchAt = arena.take(SCRATCH_BYTES) + SCRATCH_HEADROOM;
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

  /** Hands a rewritten packet back to the device. @returns NONE: a refusal is counted already */
  forward(packet: Packet): DropReason {
    this.#writer.forward(packet);
    return DropReason.NONE;
  }

  /**
   * Sends an ICMP message that lies, with its checksum, at `at`, behind room for its headers; in
   * fragments when it is longer than the MTU.
   */
  icmp(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): boolean {
    const protocol = addressLength === 4 ? Protocol.ICMP : Protocol.ICMPV6;
    this.#writer.cause = Counter.OUT_ICMP;
    const ipAt = this.#writer.ipHeader(
      sourceAt,
      destinationAt,
      addressLength,
      protocol,
      at,
      length,
      Ecn.NOT_ECT,
    );
    return this.#writer.whole(ipAt, at + length);
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
    const ipAt = this.#writer.ipHeader(
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
    const writer = this.#writer;
    writer.cause = causeOf(view.getUint8(tcpAt + TcpField.FLAGS), payloadLength);
    if (payloadLength <= mss || mss === 0) {
      return writer.partial(ipAt, end, tcpAt, TcpField.CHECKSUM, headerLength, GsoType.NONE, 0);
    }
    if (this.#canCut(addressLength, tcpAt)) {
      const type = gsoTypeOf(view, ipAt, tcpAt);
      return writer.partial(ipAt, end, tcpAt, TcpField.CHECKSUM, headerLength, type, mss);
    }
    writer.cut(ipAt, end, mss);
    return true;
  }

  /** Whether the device cuts the superpacket whose TCP header lies at `tcpAt`. */
  #canCut(addressLength: number, tcpAt: number): boolean {
    const { tso4, tso6, tsoEcn } = this.capabilities;
    return (addressLength === 4 ? tso4 : tso6) && (tsoEcn || !hasCwr(this.#view, tcpAt));
  }
}

/** What a segment is sent for; a FIN without payload is an acknowledgment. */
function causeOf(flags: number, payloadLength: number): Counter {
  if (payloadLength > 0) return Counter.OUT_TCP_DATA;
  if ((flags & (TcpFlag.RST | TcpFlag.SYN)) === 0) return Counter.OUT_TCP_ACK;
  return (flags & TcpFlag.RST) === 0 ? Counter.OUT_TCP_SYN : Counter.OUT_TCP_RST;
}

const hasCwr = (view: DataView, tcpAt: number): boolean =>
  (view.getUint8(tcpAt + TcpField.FLAGS) & TcpFlag.CWR) !== 0;

/** What the device is told of a superpacket. */
function gsoTypeOf(view: DataView, ipAt: number, tcpAt: number): number {
  const type = view.getUint8(ipAt) >>> 4 === 4 ? GsoType.TCPV4 : GsoType.TCPV6;
  return hasCwr(view, tcpAt) ? type | GsoType.ECN : type;
}
