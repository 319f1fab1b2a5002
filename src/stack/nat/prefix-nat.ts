/**
 * Packets that pass by a prefix rule (prefix.ts): no flow, no port, no state. One that comes from
 * inside leaves with its outside address, one for an outside address goes to the inside, and one
 * from inside to outside is both: hosts inside reach each other by what the world sees of them.
 *
 * Checksums stay what they are, and so do those of the packets that ICMPv6 errors quote, whose
 * address is translated with that of the error: who gets it knows the packet as its own.
 */
import type { TrackEgress, TrackSettings } from '../conntrack/context.ts';
import { Counter, type Counters } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { IcmpErrorKind } from '../icmp-error-kind.ts';
import { type IcmpSender, OWN_ADDRESS } from '../icmp-sender.ts';
import { type Packet, superpacketCount } from '../packet.ts';
import type { FlowOwner } from '../tcp/owner.ts';
import { ICMP_HEADER_BYTES } from '../wire/icmp.ts';
import type { Cidr } from '../wire/ip-address.ts';
import { version } from '../wire/ipv4.ts';
import { IPV6_ADDRESS_BYTES, IPV6_HEADER_BYTES, Ipv6Field } from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';
import { PrefixTranslation } from './prefix.ts';
import { clampMss, decrementHopLimit } from './rewrite.ts';

/** No rule translates the packet: it goes the way of all others. */
export const NOT_TRANSLATED = -1;

export interface PrefixRule {
  readonly inside: Cidr;
  readonly outside: Cidr;
}

export class PrefixNat {
  readonly #view: DataView;
  readonly #egress: Pick<TrackEgress, 'forward' | 'mssFor'>;
  readonly #owner: Pick<FlowOwner, 'isTakenBefore'>;
  readonly #icmp: IcmpSender;
  readonly #counters: Counters;
  readonly #settings: Pick<TrackSettings, 'clampMss'>;
  #rules: readonly PrefixTranslation[] = [];

  constructor(
    view: DataView,
    egress: Pick<TrackEgress, 'forward' | 'mssFor'>,
    owner: Pick<FlowOwner, 'isTakenBefore'>,
    icmp: IcmpSender,
    counters: Counters,
    settings: Pick<TrackSettings, 'clampMss'>,
  ) {
    this.#view = view;
    this.#egress = egress;
    this.#owner = owner;
    this.#icmp = icmp;
    this.#counters = counters;
    this.#settings = settings;
  }

  /** @throws Error when a prefix is none of IPv6 with at most 64 bits */
  configure(rules: readonly PrefixRule[]): void {
    this.#rules = rules.map(({ inside, outside }) => new PrefixTranslation(inside, outside));
  }

  /** Whether a rule translates the packet, which belongs to no flow. */
  has(packet: Packet): boolean {
    return this.#find(packet) !== undefined;
  }

  /**
   * Translates a packet that belongs to no flow and is no ICMPv6 error, and hands it on.
   *
   * @returns NOT_TRANSLATED, or what became of it
   */
  carry(packet: Packet): DropReason | typeof NOT_TRANSLATED {
    const rule = this.#find(packet);
    if (rule === undefined) return NOT_TRANSLATED;
    if (packet.hopLimit <= 1) {
      this.#tell(packet, IcmpErrorKind.HOP_LIMIT);
      return DropReason.HOP_LIMIT_EXCEEDED;
    }
    const reason = this.#translate(rule, packet);
    if (reason !== DropReason.NONE) {
      this.#tell(packet, IcmpErrorKind.HOST);
      return reason;
    }
    const { clampMss: setting } = this.#settings;
    if (packet.protocol === Protocol.TCP && setting !== 'off') {
      clampMss(this.#view, packet, setting === 'auto' ? this.#egress.mssFor(6) : setting);
    }
    return this.#forward(packet);
  }

  /** The same of an ICMPv6 error, about which nobody else knows anything. */
  onError(packet: Packet): DropReason | typeof NOT_TRANSLATED {
    packet.sourcePort = packet.destinationPort = 0;
    const rule = this.#find(packet);
    if (rule === undefined) return NOT_TRANSLATED;
    if (packet.hopLimit <= 1) return DropReason.HOP_LIMIT_EXCEEDED;
    const reason = this.#translate(rule, packet);
    if (reason !== DropReason.NONE) return reason;
    this.#translateQuote(rule, packet);
    this.#counters.add(Counter.ICMP_ERRORS_RELAYED);
    return this.#forward(packet);
  }

  /** The first rule that is for the packet, unless a listener in front of it is. */
  #find(packet: Packet): PrefixTranslation | undefined {
    const { sourceAt, destinationAt, addressLength, protocol, destinationPort } = packet;
    const rules = this.#rules;
    if (addressLength !== IPV6_ADDRESS_BYTES) return undefined;
    const view = this.#view;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!;
      if (!rule.isInside(view, sourceAt) && !rule.isOutside(view, destinationAt)) continue;
      const isTaken = this.#owner.isTakenBefore(
        i,
        protocol,
        destinationAt,
        addressLength,
        destinationPort,
      );
      return isTaken ? undefined : rule;
    }
    return undefined;
  }

  /** Nothing is written where one of its addresses has no other side. */
  #translate(rule: PrefixTranslation, { sourceAt, destinationAt }: Packet): DropReason {
    const view = this.#view;
    const leaves = rule.isInside(view, sourceAt);
    const enters = rule.isOutside(view, destinationAt);
    if (enters && !rule.inward(view, destinationAt)) {
      return DropReason.BAD_DESTINATION_ADDRESS;
    }
    if (!leaves || rule.outward(view, sourceAt)) return DropReason.NONE;
    if (enters) rule.outward(view, destinationAt);
    return DropReason.BAD_SOURCE_ADDRESS;
  }

  /**
   * The error goes to who sent what it quotes: from there, that came with the other prefix. Only
   * its addresses matter, so any quote of a whole fixed header will do: a fragment, extension
   * headers, no transport header at all.
   */
  #translateQuote(rule: PrefixTranslation, packet: Packet): void {
    const view = this.#view;
    const at = packet.transportAt + ICMP_HEADER_BYTES;
    if (packet.end - at < IPV6_HEADER_BYTES || version(view, at) !== 6) return;
    const sourceAt = at + Ipv6Field.SOURCE;
    const destinationAt = at + Ipv6Field.DESTINATION;
    if (rule.isOutside(view, sourceAt)) rule.inward(view, sourceAt);
    if (rule.isInside(view, destinationAt)) rule.outward(view, destinationAt);
  }

  #tell(packet: Packet, kind: IcmpErrorKind): void {
    this.#icmp.about(packet.ipAt, packet.end, kind, 0, OWN_ADDRESS);
  }

  #forward(packet: Packet): DropReason {
    const counters = this.#counters;
    const count = packet.gsoSize === 0 ? 1 : superpacketCount(this.#view, packet);
    decrementHopLimit(this.#view, packet);
    counters.add(Counter.IN_NAT);
    counters.add(Counter.PREFIX_PACKETS, count);
    return this.#egress.forward(packet);
  }
}
