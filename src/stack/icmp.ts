/**
 * ICMP and ICMPv6 messages that arrive. An echo request to the gateway itself is answered, one to
 * somebody else is a flow as others are (datagrams.ts); an error goes to the flow that it is about:
 * one that is rewritten at L3 (conntrack), a session (datagram-errors.ts), or one of our TCP
 * (icmp-errors.ts).
 */
import type { Conntrack } from './conntrack/conntrack.ts';
import { Counter, type Counters } from './counters.ts';
import type { DatagramErrors } from './datagram-errors.ts';
import type { Datagrams } from './datagrams.ts';
import { DropReason } from './drop-reason.ts';
import type { Egress } from './egress.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import type { IcmpSender } from './icmp-sender.ts';
import { NOT_TRANSLATED, type PrefixNat } from './nat/prefix-nat.ts';
import type { Packet } from './packet.ts';
import type { Peers } from './peers.ts';
import { RateLimit } from './rate-limit.ts';
import type { TcpContext } from './tcp/context.ts';
import type { Instant } from './time.ts';
import { copyBytes } from './wire/bytes.ts';
import { echoIdentifier, emitEchoReply, icmpType } from './wire/icmp.ts';
import * as v4 from './wire/icmpv4.ts';
import * as v6 from './wire/icmpv6.ts';

/** As Linux: net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst, which bound echo replies too. */
const REPLIES_PER_SECOND = 1000;
const BURST = 50;

export interface IcmpParts {
  readonly sender: IcmpSender;
  readonly conntrack: Conntrack;
  readonly datagrams: Datagrams;
  /** Takes errors about what sessions sent. */
  readonly answerErrors: DatagramErrors;
  /** Takes errors about what our TCP sent. */
  readonly errors: IcmpErrors;
  readonly prefixes: PrefixNat;
}

export class Icmp {
  readonly #view: DataView;
  readonly #egress: Egress;
  readonly #counters: Counters;
  readonly #sender: IcmpSender;
  readonly #conntrack: Conntrack;
  readonly #datagrams: Datagrams;
  readonly #answerErrors: DatagramErrors;
  readonly #errors: IcmpErrors;
  readonly #peers: Peers | undefined;
  readonly #prefixes: PrefixNat;
  readonly #echoes = new RateLimit(REPLIES_PER_SECOND, BURST);

  constructor({ arena, egress, counters, peers }: TcpContext, parts: IcmpParts) {
    this.#view = arena.view;
    this.#egress = egress;
    this.#counters = counters;
    this.#sender = parts.sender;
    this.#conntrack = parts.conntrack;
    this.#datagrams = parts.datagrams;
    this.#answerErrors = parts.answerErrors;
    this.#errors = parts.errors;
    this.#peers = peers;
    this.#prefixes = parts.prefixes;
  }

  onMessage(packet: Packet, now: Instant): DropReason {
    const view = this.#view;
    const { sourceAt, destinationAt, addressLength, transportAt: at, end } = packet;
    const isIpv4 = addressLength === 4;
    const reason = isIpv4
      ? v4.checkIcmpv4(view, at, end)
      : v6.checkIcmpv6(view, sourceAt, destinationAt, at, end);
    if (reason !== DropReason.NONE) return reason;
    if (isIpv4 ? v4.isIcmpError(view, at) : v6.isIcmpError(view, at)) {
      return this.#onError(packet, now);
    }
    const type = icmpType(view, at);
    const identifier = echoIdentifier(view, at);
    if (type === (isIpv4 ? v4.Icmpv4Type.ECHO_REQUEST : v6.Icmpv6Type.ECHO_REQUEST)) {
      if (this.#sender.isLocal(destinationAt, addressLength)) return this.#answer(packet, now);
      packet.sourcePort = identifier;
      packet.destinationPort = 0;
      return this.#datagrams.onPacket(packet, now);
    }
    if (type === (isIpv4 ? v4.Icmpv4Type.ECHO_REPLY : v6.Icmpv6Type.ECHO_REPLY)) {
      packet.sourcePort = 0;
      packet.destinationPort = identifier;
      return this.#datagrams.onReply(packet, now);
    }
    packet.sourcePort = packet.destinationPort = 0;
    const carried = this.#prefixes.carry(packet);
    return carried === NOT_TRANSLATED ? DropReason.ICMP_NOT_FOR_US : carried;
  }

  #onError(packet: Packet, now: Instant): DropReason {
    const { destinationAt, addressLength, transportAt, end } = packet;
    const tracked = this.#conntrack.onError(packet, now);
    if (tracked !== DropReason.ICMP_UNMATCHED) return tracked;
    let reason = this.#answerErrors.onError(packet, now);
    if (reason === DropReason.ICMP_UNMATCHED) {
      reason = this.#errors.onError(destinationAt, addressLength, transportAt, end, now);
      const isLost = reason === DropReason.ICMP_UNMATCHED || reason === DropReason.BAD_ICMP_QUOTE;
      if (isLost && this.#peers?.takesError(packet) === true) return DropReason.NONE;
      const carried = isLost ? this.#prefixes.onError(packet) : NOT_TRANSLATED;
      if (carried !== NOT_TRANSLATED) return carried;
    }
    if (reason === DropReason.NONE) this.#counters.add(Counter.IN_ICMP_ERROR);
    return reason;
  }

  /** Makes the request its own reply, where it lies: one that came in fragments may be long. */
  #answer(packet: Packet, now: Instant): DropReason {
    if (!this.#echoes.take(now)) return DropReason.ECHO_RATE_LIMIT;
    const view = this.#view;
    const { sourceAt, destinationAt, addressLength, transportAt: at, end } = packet;
    // The new header is written over the addresses.
    const fromAt = this.#egress.scratchAt;
    const toAt = fromAt + addressLength;
    copyBytes(view, fromAt, destinationAt, addressLength);
    copyBytes(view, toAt, sourceAt, addressLength);
    const length = end - at;
    const reply = addressLength === 4 ? v4.Icmpv4Type.ECHO_REPLY : v6.Icmpv6Type.ECHO_REPLY;
    emitEchoReply(view, at, at, length, reply);
    this.#egress.icmp(fromAt, toAt, addressLength, at, length);
    this.#counters.add(Counter.ICMP_ECHO_REPLIES);
    this.#counters.add(Counter.IN_ANSWERED);
    return DropReason.NONE;
  }
}
