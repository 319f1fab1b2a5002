/**
 * ICMP and ICMPv6 of the gateway itself: echo to its own addresses is answered, errors are sent
 * where a verdict asks for one. Both are limited in rate. Errors that arrive go to icmp-errors.ts.
 *
 * "Time exceeded" is never sent: nothing is forwarded. The gateway stands in for every destination,
 * and a host takes a packet whatever its hop limit is (RFC 1122 §3.2.1.7); so `traceroute -T` ends
 * here, at the hop where the connection really ends.
 */
import { Counter, type Counters } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import type { Egress } from './egress.ts';
import { FlowField } from './flow-row.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import { RateLimit } from './rate-limit.ts';
import type { Instant } from './time.ts';
import {
  checkIcmpv4,
  emitEchoReplyV4,
  emitUnreachableV4,
  Icmpv4Type,
  icmpType as icmpv4Type,
  isIcmpError as isErrorV4,
} from './wire/icmpv4.ts';
import {
  checkIcmpv6,
  emitEchoReplyV6,
  emitUnreachableV6,
  Icmpv6Type,
  icmpType as icmpv6Type,
  isIcmpError as isErrorV6,
} from './wire/icmpv6.ts';
import { parseAddress } from './wire/ip-address.ts';
import { emitIpv4Header, IPV4_HEADER_BYTES } from './wire/ipv4.ts';
import { emitIpv6Header, IPV6_HEADER_BYTES } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { asSeq, type Seq } from './wire/seq.ts';
import { emitTcpHeader, TcpFlag } from './wire/tcp.ts';

/**
 * As Linux (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst), for errors and echo replies alike. Errors
 * must be limited: RFC 4443 §2.4 (f).
 */
const MESSAGES_PER_SECOND = 1000;
const BURST = 50;
/** Echo requests longer than the scratch area do not fit any MTU that we offer. */
const MAX_ECHO_BYTES = 9000;
/** The quoted packet is built this far behind the place of the message. */
const QUOTE_OFFSET = 2048;
const HOP_LIMIT = 64;

export class Icmp {
  readonly #view: DataView;
  readonly #egress: Egress;
  readonly #counters: Counters;
  /** Who takes errors about what we sent. */
  readonly #received: IcmpErrors;
  readonly #errors = new RateLimit(MESSAGES_PER_SECOND, BURST);
  readonly #echoes = new RateLimit(MESSAGES_PER_SECOND, BURST);
  #local: readonly Uint8Array[] = [];
  #now = 0 as Instant;

  constructor(view: DataView, egress: Egress, counters: Counters, received: IcmpErrors) {
    this.#view = view;
    this.#egress = egress;
    this.#counters = counters;
    this.#received = received;
  }

  /** The gateway's own addresses. */
  setLocalAddresses(addresses: readonly string[]): void {
    this.#local = addresses.flatMap((address) => parseAddress(address) ?? []);
  }

  /** Errors between here and the next call are counted against this time. */
  setNow(now: Instant): void {
    this.#now = now;
  }

  /** An ICMP message [at, end) arrived. */
  onMessage(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    at: number,
    end: number,
  ): DropReason {
    const view = this.#view;
    const isIpv4 = addressLength === 4;
    const reason = isIpv4
      ? checkIcmpv4(view, at, end)
      : checkIcmpv6(view, sourceAt, destinationAt, at, end);
    if (reason !== DropReason.NONE) return reason;
    const isError = isIpv4 ? isErrorV4(view, at) : isErrorV6(view, at);
    if (isError) return this.#received.onError(destinationAt, addressLength, at, end, this.#now);
    const isRequest = isIpv4
      ? icmpv4Type(view, at) === Icmpv4Type.ECHO_REQUEST
      : icmpv6Type(view, at) === Icmpv6Type.ECHO_REQUEST;
    if (!isRequest || !this.#isLocal(destinationAt, addressLength)) {
      return DropReason.ICMP_NOT_FOR_US;
    }
    const length = end - at;
    if (length > MAX_ECHO_BYTES || !this.#echoes.take(this.#now)) return DropReason.ICMP_RATE_LIMIT;
    const replyAt = this.#egress.scratchAt;
    if (isIpv4) emitEchoReplyV4(view, replyAt, at, length);
    else emitEchoReplyV6(view, replyAt, at, length);
    this.#egress.icmp(destinationAt, sourceAt, addressLength, replyAt, length);
    this.#counters.add(Counter.ICMP_ECHO_REPLIES);
    return DropReason.NONE;
  }

  /** Refuses the SYN of a flow with "destination unreachable"; it comes from the destination. */
  unreachableSyn(flowAt: number, irs: Seq, tcpLength: number, code: number): void {
    if (!this.#errors.take(this.#now)) {
      this.#counters.drop(DropReason.ICMP_RATE_LIMIT);
      return;
    }
    const view = this.#view;
    const isIpv4 = view.getUint8(flowAt + FlowField.FAMILY) === 4;
    const sourceAt = flowAt + FlowField.SOURCE;
    const destinationAt = flowAt + FlowField.DESTINATION;
    const at = this.#egress.scratchAt;
    const quotedAt = at + QUOTE_OFFSET;
    const ipLength = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    if (isIpv4) {
      const total = ipLength + tcpLength;
      emitIpv4Header(view, quotedAt, total, Protocol.TCP, HOP_LIMIT, 0, sourceAt, destinationAt);
    } else {
      emitIpv6Header(
        view,
        quotedAt,
        tcpLength,
        Protocol.TCP,
        HOP_LIMIT,
        0,
        sourceAt,
        destinationAt,
      );
    }
    emitTcpHeader(
      view,
      quotedAt + ipLength,
      view.getUint16(flowAt + FlowField.SOURCE_PORT, true),
      view.getUint16(flowAt + FlowField.DESTINATION_PORT, true),
      irs,
      asSeq(0),
      tcpLength,
      TcpFlag.SYN,
      0xffff,
    );
    const quoted = ipLength + tcpLength;
    const length = isIpv4
      ? emitUnreachableV4(view, at, code, quotedAt, quoted)
      : emitUnreachableV6(view, destinationAt, sourceAt, at, code, quotedAt, quoted);
    this.#egress.icmp(destinationAt, sourceAt, isIpv4 ? 4 : 16, at, length);
    this.#counters.add(Counter.ICMP_SENT);
  }

  #isLocal(at: number, length: number): boolean {
    for (const address of this.#local) {
      if (address.length !== length) continue;
      let same = true;
      for (let i = 0; i < length; i++) {
        if (address[i] !== this.#view.getUint8(at + i)) same = false;
      }
      if (same) return true;
    }
    return false;
  }
}
