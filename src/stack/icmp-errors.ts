/**
 * ICMP and ICMPv6 errors about what we sent: who is believed, and what follows.
 *
 * Anybody can send an error. It is believed when the packet it quotes is one that is in flight: the
 * flow's ends, and a sequence number between SND.UNA and SND.NXT (RFC 5927 §4.1), which somebody
 * off the path has to guess. What follows is mild all the same:
 *
 *   too big       the flow's segments become shorter, and what is in flight is sent again
 *                 (RFC 1191, RFC 8201); never shorter than every path must carry, nor longer.
 *                 An MTU that no path of IPv6 has is no news (RFC 8201 §4)
 *   unreachable   ends a handshake; afterwards it is a rumour, and the retransmission timer decides
 *                 (RFC 5461 §4, RFC 1122 §4.2.3.9)
 *   about a dial  port and protocol end it, the others are remembered: see #onDialError
 *   the others    are counted
 */
import { CloseReason } from './close-reason.ts';
import { Counter } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { ClosedBy } from './flow-row.ts';
import { NO_FLOW } from './flow-table.ts';
import { endFlow } from './tcp/close.ts';
import type { TcpContext } from './tcp/context.ts';
import { isDialing } from './tcp/dialing.ts';
import { lowerPathMtu } from './tcp/path-mtu.ts';
import { TcpState } from './tcp/states.ts';
import type { Instant } from './time.ts';
import { ICMP_HEADER_BYTES, IcmpField } from './wire/icmp.ts';
import { Icmpv4Type, Icmpv4Unreachable } from './wire/icmpv4.ts';
import { Icmpv6Type, Icmpv6Unreachable } from './wire/icmpv6.ts';
import * as ipv4 from './wire/ipv4.ts';
import * as ipv6 from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { seqDiff } from './wire/seq.ts';
import * as tcpHeader from './wire/tcp.ts';

/** Of a TCP header, what every error quotes: ports and sequence number. RFC 792. */
const QUOTED_TCP_BYTES = 8;
const MTU_MASK_V4 = 0xffff;
/** Besides "unreachable", RFC 1122 §4.2.3.9. A source quench is ignored, RFC 6633 §3. */
const SOFT_TYPES_V4: readonly number[] = [Icmpv4Type.TIME_EXCEEDED, Icmpv4Type.PARAMETER_PROBLEM];
const SOFT_TYPES_V6: readonly number[] = [Icmpv6Type.TIME_EXCEEDED, Icmpv6Type.PARAMETER_PROBLEM];

/** What an error says. */
const Kind = { OTHER: 0, UNREACHABLE: 1, TOO_BIG: 2 } as const;
type Kind = (typeof Kind)[keyof typeof Kind];

export class IcmpErrors {
  readonly #tcp: TcpContext;
  /** The quoted packet under the reader's eye. */
  #quotedTcpAt = 0;
  #quotedSourceAt = 0;
  #quotedDestinationAt = 0;
  #quotedLength = 0;

  constructor(tcp: TcpContext) {
    this.#tcp = tcp;
  }

  /** An error [at, end) arrived, addressed to `destinationAt`; its checksum is right. */
  onError(
    destinationAt: number,
    addressLength: number,
    at: number,
    end: number,
    now: Instant,
  ): DropReason {
    const isIpv4 = addressLength === 4;
    const isQuoted = isIpv4
      ? this.#readV4(at + ICMP_HEADER_BYTES, end)
      : this.#readV6(at + ICMP_HEADER_BYTES, end);
    if (!isQuoted) return DropReason.BAD_ICMP_QUOTE;
    // An error goes to the sender of what it quotes.
    if (!this.#isSameAddress(destinationAt, this.#quotedSourceAt, addressLength)) {
      return DropReason.BAD_ICMP_QUOTE;
    }
    const row = this.#find(addressLength);
    if (row === NO_FLOW || !this.#isInFlight(row)) return DropReason.ICMP_UNMATCHED;
    this.#tcp.counters.add(Counter.ICMP_ERRORS_MATCHED);
    if (isDialing(this.#tcp.tcb)) {
      this.#onDialError(isIpv4, at, now);
      return DropReason.NONE;
    }
    const kind = isIpv4 ? this.#kindV4(at) : this.#kindV6(at);
    if (kind === Kind.TOO_BIG) return this.#onTooBig(isIpv4, at, now);
    if (kind === Kind.UNREACHABLE) this.#onUnreachable(now);
    return DropReason.NONE;
  }

  /** @returns false when nothing useful is quoted. Its checksum is that of a packet under way. */
  #readV4(at: number, end: number): boolean {
    const view = this.#tcp.arena.view;
    if (end - at < ipv4.IPV4_HEADER_BYTES || ipv4.version(view, at) !== 4) return false;
    const header = ipv4.headerLength(view, at);
    if (header < ipv4.IPV4_HEADER_BYTES || end - at < header + QUOTED_TCP_BYTES) return false;
    if (ipv4.protocol(view, at) !== Protocol.TCP || ipv4.fragmentOffset(view, at) !== 0) {
      return false;
    }
    this.#quotedTcpAt = at + header;
    this.#quotedSourceAt = at + ipv4.Ipv4Field.SOURCE;
    this.#quotedDestinationAt = at + ipv4.Ipv4Field.DESTINATION;
    this.#quotedLength = ipv4.totalLength(view, at);
    return true;
  }

  /** We send no extension headers. */
  #readV6(at: number, end: number): boolean {
    const view = this.#tcp.arena.view;
    if (end - at < ipv6.IPV6_HEADER_BYTES + QUOTED_TCP_BYTES) return false;
    if (ipv4.version(view, at) !== 6 || ipv6.nextHeader(view, at) !== Protocol.TCP) return false;
    this.#quotedTcpAt = at + ipv6.IPV6_HEADER_BYTES;
    this.#quotedSourceAt = at + ipv6.Ipv6Field.SOURCE;
    this.#quotedDestinationAt = at + ipv6.Ipv6Field.DESTINATION;
    this.#quotedLength = ipv6.IPV6_HEADER_BYTES + ipv6.payloadLength(view, at);
    return true;
  }

  #isSameAddress(aAt: number, bAt: number, length: number): boolean {
    const view = this.#tcp.arena.view;
    for (let i = 0; i < length; i += 4) {
      if (view.getInt32(aAt + i) !== view.getInt32(bAt + i)) return false;
    }
    return true;
  }

  /** The flow whose client the quoted packet was for. */
  #find(addressLength: number): number {
    const { arena, flows } = this.#tcp;
    const clientPort = tcpHeader.destinationPort(arena.view, this.#quotedTcpAt);
    const serverPort = tcpHeader.sourcePort(arena.view, this.#quotedTcpAt);
    return flows.findTuple(
      this.#quotedDestinationAt,
      this.#quotedSourceAt,
      addressLength,
      clientPort,
      serverPort,
      Protocol.TCP,
    );
  }

  #isInFlight(row: number): boolean {
    const { tcb, arena } = this.#tcp;
    tcb.moveTo(row);
    if (tcb.state === TcpState.LISTEN) return false;
    const offset = seqDiff(tcpHeader.sequence(arena.view, this.#quotedTcpAt), tcb.sndUna);
    return offset >= 0 && offset < tcb.flightSize;
  }

  #kindV4(at: number): Kind {
    const view = this.#tcp.arena.view;
    if (view.getUint8(at + IcmpField.TYPE) !== Icmpv4Type.UNREACHABLE) return Kind.OTHER;
    const code = view.getUint8(at + IcmpField.CODE);
    return code === Icmpv4Unreachable.FRAGMENTATION_NEEDED ? Kind.TOO_BIG : Kind.UNREACHABLE;
  }

  #kindV6(at: number): Kind {
    const type = this.#tcp.arena.view.getUint8(at + IcmpField.TYPE);
    if (type === Icmpv6Type.PACKET_TOO_BIG) return Kind.TOO_BIG;
    return type === Icmpv6Type.UNREACHABLE ? Kind.UNREACHABLE : Kind.OTHER;
  }

  /**
   * About our SYN. RFC 9293 §3.9.2.2: port and protocol unreachable are hard errors and end the
   * dial; the others are soft, and only tell why, should nobody answer. What the RFC does not name,
   * as "administratively prohibited", is soft too.
   */
  #onDialError(isIpv4: boolean, at: number, now: Instant): void {
    const { view } = this.#tcp.arena;
    const type = view.getUint8(at + IcmpField.TYPE);
    const code = view.getUint8(at + IcmpField.CODE);
    if (type === (isIpv4 ? Icmpv4Type.UNREACHABLE : Icmpv6Type.UNREACHABLE)) {
      if (code === (isIpv4 ? Icmpv4Unreachable.PORT : Icmpv6Unreachable.PORT)) {
        endFlow(this.#tcp, CloseReason.DIAL_REFUSED, ClosedBy.UPSTREAM, now);
        return;
      }
      if (isIpv4 && code === Icmpv4Unreachable.PROTOCOL) {
        endFlow(this.#tcp, CloseReason.DIAL_UNREACHABLE, ClosedBy.UPSTREAM, now);
        return;
      }
      // No path is too narrow for a SYN.
      if (isIpv4 && code === Icmpv4Unreachable.FRAGMENTATION_NEEDED) return;
    } else if (!(isIpv4 ? SOFT_TYPES_V4 : SOFT_TYPES_V6).includes(type)) {
      return;
    }
    this.#tcp.tcb.dialError = CloseReason.DIAL_UNREACHABLE;
  }

  #onUnreachable(now: Instant): void {
    if (this.#tcp.tcb.state !== TcpState.SYN_RECEIVED) return;
    endFlow(this.#tcp, CloseReason.CLIENT_UNREACHABLE, ClosedBy.CLIENT, now);
  }

  #onTooBig(isIpv4: boolean, at: number, now: Instant): DropReason {
    const parameter = this.#tcp.arena.view.getUint32(at + IcmpField.PARAMETER);
    // RFC 8201 §4: "it must discard it". An old router of IPv4 says 0 (RFC 1191 §5).
    if (!isIpv4 && parameter < ipv6.IPV6_MIN_MTU) return DropReason.BAD_ICMP_HEADER;
    const mtu = isIpv4 ? parameter & MTU_MASK_V4 : parameter;
    // A packet that fits was not too big: the error is a forgery, or of another time.
    if (mtu < this.#quotedLength) lowerPathMtu(this.#tcp, mtu, now);
    return DropReason.NONE;
  }
}
