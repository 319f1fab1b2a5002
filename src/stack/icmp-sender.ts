/**
 * ICMP and ICMPv6 errors that the gateway sends: about packets that it refuses or cannot carry on,
 * and those that it passes on from an upstream. All share one limit in rate (RFC 4443 §2.4 (f)), of
 * which no source gets more than a part.
 */
import { Counter, type Counters } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import type { Egress } from './egress.ts';
import { FlowField } from './flow-row.ts';
import { ICMPV4_ERRORS, ICMPV6_ERRORS, type IcmpErrorKind } from './icmp-error-kind.ts';
import { RateLimit } from './rate-limit.ts';
import type { HalfSipHash } from './sip-hash.ts';
import type { Instant } from './time.ts';
import { emitErrorV4 } from './wire/icmpv4.ts';
import { emitErrorV6 } from './wire/icmpv6.ts';
import { parseAddress } from './wire/ip-address.ts';
import { emitIpv4Header, IPV4_HEADER_BYTES, Ipv4Field, version } from './wire/ipv4.ts';
import { emitIpv6Header, IPV6_HEADER_BYTES, Ipv6Field } from './wire/ipv6.ts';
import { Protocol } from './wire/protocol.ts';
import { asSeq, type Seq } from './wire/seq.ts';
import { emitTcpHeader, TcpFlag } from './wire/tcp.ts';

/** As Linux: net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst. */
const ERRORS_PER_SECOND = 1000;
const BURST = 50;
/** To one IPv4 address or IPv6 /64; two that share a bucket of the keyed hash share it. */
const ERRORS_PER_SOURCE = 250;
const BUCKETS = 1024;
/** A packet that is made up to be quoted is built this far behind the place of the message. */
const QUOTE_OFFSET = 2048;
/** And the gateway's own address is written in front of it. */
const OWN_OFFSET = QUOTE_OFFSET - 16;
const HOP_LIMIT = 64;
/** RFC 7600: the source of a gateway that has no address of its own. */
const DUMMY_V4 = [192, 0, 0, 8];

/** In place of a source: an address of the gateway. */
export const OWN_ADDRESS = -1;

export class IcmpSender {
  readonly #view: DataView;
  readonly #egress: Egress;
  readonly #counters: Counters;
  readonly #limit = new RateLimit(ERRORS_PER_SECOND, BURST);
  readonly #hash: HalfSipHash;
  readonly #ofSource: readonly RateLimit[];
  #local: readonly Uint8Array[] = [];
  #now = 0 as Instant;

  constructor(view: DataView, egress: Egress, counters: Counters, hash: HalfSipHash) {
    this.#view = view;
    this.#hash = hash;
    this.#ofSource = Array.from({ length: BUCKETS }, () => new RateLimit(ERRORS_PER_SOURCE, BURST));
    this.#egress = egress;
    this.#counters = counters;
  }

  /** The gateway's own addresses. */
  setLocalAddresses(addresses: readonly string[]): void {
    this.#local = addresses.flatMap((address) => parseAddress(address) ?? []);
  }

  /** Errors between here and the next call are counted against this time. */
  setNow(now: Instant): void {
    this.#now = now;
  }

  isLocal(at: number, length: number): boolean {
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

  /**
   * Tells the sender of the packet [ipAt, end) what is wrong with it.
   *
   * @param parameter  the MTU of TOO_BIG, the position of an unknown header in IPv6, else 0
   * @param sourceAt   position of the error's source address, or OWN_ADDRESS
   */
  about(ipAt: number, end: number, kind: IcmpErrorKind, parameter: number, sourceAt: number): void {
    const view = this.#view;
    const isIpv4 = version(view, ipAt) === 4;
    const addressLength = isIpv4 ? 4 : 16;
    const at = this.#egress.scratchAt;
    const fromAt = sourceAt === OWN_ADDRESS ? this.#own(addressLength, at + OWN_OFFSET) : sourceAt;
    if (fromAt === OWN_ADDRESS) return;
    const toAt = ipAt + (isIpv4 ? Ipv4Field.SOURCE : Ipv6Field.SOURCE);
    if (!this.#mayTell(toAt, addressLength)) {
      this.#counters.drop(DropReason.ICMP_RATE_LIMIT);
      return;
    }
    const [type, code] = (isIpv4 ? ICMPV4_ERRORS : ICMPV6_ERRORS)[kind]!;
    const length = isIpv4
      ? emitErrorV4(view, at, type, code, parameter, ipAt, end - ipAt)
      : emitErrorV6(view, fromAt, toAt, at, type, code, parameter, ipAt, end - ipAt);
    this.#egress.icmp(fromAt, toAt, addressLength, at, length);
    this.#counters.add(Counter.ICMP_SENT);
  }

  /** Refuses the SYN of a flow, built again from its row; the error comes from the destination. */
  aboutSyn(flowAt: number, irs: Seq, tcpLength: number, kind: IcmpErrorKind): void {
    const view = this.#view;
    const ipAt = this.beginQuote(flowAt, Protocol.TCP, tcpLength);
    const tcpAt = ipAt + (version(view, ipAt) === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
    emitTcpHeader(
      view,
      tcpAt,
      view.getUint16(flowAt + FlowField.SOURCE_PORT, true),
      view.getUint16(flowAt + FlowField.DESTINATION_PORT, true),
      irs,
      asSeq(0),
      tcpLength,
      TcpFlag.SYN,
      0xffff,
    );
    this.about(ipAt, tcpAt + tcpLength, kind, 0, flowAt + FlowField.DESTINATION);
  }

  /**
   * Writes the IP header of a packet that the client of a flow has sent, to be quoted. What stands
   * behind it is the caller's, at most 1,280 bytes.
   *
   * @returns position of the header, valid until the next packet is sent
   */
  beginQuote(flowAt: number, protocol: number, length: number): number {
    const view = this.#view;
    const at = this.#egress.scratchAt + QUOTE_OFFSET;
    const sourceAt = flowAt + FlowField.SOURCE;
    const destinationAt = flowAt + FlowField.DESTINATION;
    if (view.getUint8(flowAt + FlowField.FAMILY) === 4) {
      const total = IPV4_HEADER_BYTES + length;
      emitIpv4Header(view, at, total, protocol, HOP_LIMIT, 0, sourceAt, destinationAt);
    } else {
      emitIpv6Header(view, at, length, protocol, HOP_LIMIT, 0, sourceAt, destinationAt);
    }
    return at;
  }

  /** What one source may not have any more costs the others nothing. */
  #mayTell(toAt: number, addressLength: number): boolean {
    const hash = this.#hash;
    hash.start();
    hash.word(this.#view.getInt32(toAt));
    if (addressLength === 16) hash.word(this.#view.getInt32(toAt + 4));
    const ofSource = this.#ofSource[hash.finish() % BUCKETS]!;
    return ofSource.take(this.#now) && this.#limit.take(this.#now);
  }

  /** Writes an address of the gateway to `at`. @returns `at`, or OWN_ADDRESS when it has none */
  #own(length: number, at: number): number {
    let own: ArrayLike<number> | undefined = length === 4 ? DUMMY_V4 : undefined;
    for (const address of this.#local) {
      if (address.length !== length) continue;
      own = address;
      break;
    }
    if (own === undefined) return OWN_ADDRESS;
    for (let i = 0; i < length; i++) this.#view.setUint8(at + i, own[i]!);
    return at;
  }
}
