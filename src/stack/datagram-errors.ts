/**
 * ICMP and ICMPv6 errors about what a session has sent to its client: answers of an upstream that
 * came over a socket. An answer has no sequence number to check, so an error is believed when it
 * quotes a flow that was answered, and what follows is mild:
 *
 *   port, protocol   of the client itself, of UDP: nobody listens any more, and the session ends.
 *                    Its socket is closed, so the upstream is told the same by the host's kernel
 *                    when it sends again; if the client goes on, that is a new flow
 *   too big          answers to this client leave in shorter fragments from now on
 *   the others       are counted: such things pass
 */
import { CloseReason } from './close-reason.ts';
import { Counter } from './counters.ts';
import type { Datagrams } from './datagrams.ts';
import { DropReason } from './drop-reason.ts';
import { Carrier, ClosedBy, FlowField, TrackBit } from './flow-row.ts';
import { NO_FLOW } from './flow-table.ts';
import { readQuote } from './nat/translate-error.ts';
import { emptyPacket, type Packet } from './packet.ts';
import type { TcpContext } from './tcp/context.ts';
import { IPV4_MIN_MTU } from './tcp/packet-headers.ts';
import type { PathMtuCache } from './tcp/path-mtu-cache.ts';
import type { Instant } from './time.ts';
import { IcmpField, icmpCode, icmpType } from './wire/icmp.ts';
import * as v4 from './wire/icmpv4.ts';
import * as v6 from './wire/icmpv6.ts';
import { addressEquals } from './wire/ip-address.ts';
import { totalLength } from './wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_MIN_MTU, payloadLength } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';

const MTU_MASK_V4 = 0xffff;

export class DatagramErrors {
  readonly #shared: TcpContext;
  readonly #datagrams: Datagrams;
  readonly #paths: PathMtuCache;
  /** The packet that the error quotes; reused. */
  readonly #quote: Packet = emptyPacket();

  /** @param paths  of answers alone: those of TCP are harder to forge */
  constructor(shared: TcpContext, datagrams: Datagrams, paths: PathMtuCache) {
    this.#shared = shared;
    this.#datagrams = datagrams;
    this.#paths = paths;
  }

  /**
   * An error arrived whose checksum is right.
   *
   * @returns ICMP_UNMATCHED when it is about no answer of a session
   */
  onError(packet: Packet, now: Instant): DropReason {
    const { view } = this.#shared.arena;
    const quote = this.#quote;
    if (!readQuote(view, packet, quote)) return DropReason.ICMP_UNMATCHED;
    const row = this.#find();
    if (row === NO_FLOW) return DropReason.ICMP_UNMATCHED;
    // It is addressed to the sender of what it quotes.
    if (!addressEquals(view, packet.destinationAt, quote.sourceAt, packet.addressLength)) {
      return DropReason.BAD_ICMP_QUOTE;
    }
    this.#shared.counters.add(Counter.ICMP_ERRORS_MATCHED);
    if (this.#isNobodyThere(row, packet)) {
      this.#datagrams.end(row, CloseReason.CLIENT_UNREACHABLE, ClosedBy.CLIENT, now);
    } else {
      this.#noteMtu(row, packet, now);
    }
    return DropReason.NONE;
  }

  /** The session whose answer is quoted. */
  #find(): number {
    const { flows, arena } = this.#shared;
    const { view } = arena;
    const { sourceAt, destinationAt, addressLength, sourcePort, destinationPort } = this.#quote;
    const { protocol } = this.#quote;
    const row = flows.findTuple(
      destinationAt,
      sourceAt,
      addressLength,
      destinationPort,
      sourcePort,
      protocol,
    );
    if (row === NO_FLOW) return NO_FLOW;
    const at = flows.rowAt(row);
    const isAnswered = (view.getUint8(at + FlowField.TRACK_BITS) & TrackBit.SEEN_REPLY) !== 0;
    const isSession = view.getUint8(at + FlowField.CARRIER) === Carrier.SESSION;
    return isSession && isAnswered ? row : NO_FLOW;
  }

  /** The client says that nobody has its port any more; nobody else can know. */
  #isNobodyThere(row: number, packet: Packet): boolean {
    if (this.#quote.protocol !== Protocol.UDP) return false;
    const { flows, arena } = this.#shared;
    const { view } = arena;
    const { transportAt: at, sourceAt, addressLength } = packet;
    const clientAt = flows.rowAt(row) + FlowField.SOURCE;
    if (!addressEquals(view, sourceAt, clientAt, addressLength)) return false;
    const code = icmpCode(view, at);
    if (addressLength !== 4) {
      const isUnreachable = icmpType(view, at) === v6.Icmpv6Type.UNREACHABLE;
      return isUnreachable && code === v6.Icmpv6Unreachable.PORT;
    }
    if (icmpType(view, at) !== v4.Icmpv4Type.UNREACHABLE) return false;
    return code === v4.Icmpv4Unreachable.PORT || code === v4.Icmpv4Unreachable.PROTOCOL;
  }

  /** A packet that fits was not too big: the error is a forgery, or of another time. */
  #noteMtu(row: number, { transportAt: at, addressLength }: Packet, now: Instant): void {
    const { flows, arena } = this.#shared;
    const { view } = arena;
    const { ipAt } = this.#quote;
    const isIpv4 = addressLength === 4;
    const type = icmpType(view, at);
    if (isIpv4) {
      const code = icmpCode(view, at);
      if (type !== v4.Icmpv4Type.UNREACHABLE) return;
      if (code !== v4.Icmpv4Unreachable.FRAGMENTATION_NEEDED) return;
    } else if (type !== v6.Icmpv6Type.PACKET_TOO_BIG) return;
    const parameter = view.getUint32(at + IcmpField.PARAMETER);
    const mtu = isIpv4
      ? Math.max(parameter & MTU_MASK_V4, IPV4_MIN_MTU)
      : Math.max(parameter, IPV6_MIN_MTU);
    const length = isIpv4 ? totalLength(view, ipAt) : IPV6_HEADER_BYTES + payloadLength(view, ipAt);
    if (mtu < length) this.#paths.lower(flows.rowAt(row), mtu, now);
  }
}
