/**
 * Connection tracking and NAT: flows that are not terminated here, but rewritten at L3 and handed
 * back to the kernel, with all that the device said of their packets' checksums and sizes.
 *
 *   begin     a verdict: where the flow goes and which source is seen there; its second tuple
 *   carry     a packet in either direction: state, windows, time, hop limit, addresses, out
 *   onError   an ICMP error about such a packet: RELATED, translated with what it quotes
 *   end       it is over: by time (reap), by a packet, by the operator, or to make room
 *
 * The rows of sessions, whose datagrams go over a socket, expire here too; `touch` says of them
 * what `carry` sees for itself.
 */
import { DNS_PORT } from '../answer-tap.ts';
import { CloseReason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { FlowCount } from '../flow-counts.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase, TrackBit, TrackState } from '../flow-row.ts';
import { NO_FLOW } from '../flow-table.ts';
import { countEnd } from '../flow-tally.ts';
import { clampMss, decrementHopLimit } from '../nat/rewrite.ts';
import { readQuote, translateError } from '../nat/translate-error.ts';
import { rewritePacket, Translation } from '../nat/translation.ts';
import { emptyPacket, type Packet } from '../packet.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { Segment } from '../tcp/segment.ts';
import { after, type Instant, millis } from '../time.ts';
import { icmpType } from '../wire/icmp.ts';
import { Icmpv4Type } from '../wire/icmpv4.ts';
import { addressEquals } from '../wire/ip-address.ts';
import { Protocol } from '../wire/protocol.ts';
import { TcpFlag, flags as tcpFlags } from '../wire/tcp.ts';
import { UDP_HEADER_BYTES } from '../wire/udp.ts';
import type { TrackContext, TrackSettings } from './context.ts';
import { Reaper } from './reaper.ts';
import { resetBoth } from './resets.ts';
import { reopens, Tracked, trackSegment } from './tcp-track.ts';
import { datagramTimeout, STREAM_AFTER_US } from './timeouts.ts';

const V4_BYTES = 4;

/**
 * A redirect names a router of another network (RFC 1812 §5.2.7.2), and would have the client send
 * around the translation; a source quench is to be dropped by everybody (RFC 6633 §5).
 */
const isForHostsOnly = (type: number): boolean =>
  type === Icmpv4Type.REDIRECT || type === Icmpv4Type.SOURCE_QUENCH;

export class Conntrack {
  readonly #context: TrackContext;
  readonly #settings: TrackSettings;
  readonly #view: DataView;
  readonly #translation: Translation;
  readonly #reaper: Reaper;
  readonly #segment = new Segment();
  /** The packet that an ICMP error quotes; reused. */
  readonly #quote: Packet = emptyPacket();
  /** Flows that can expire. */
  #watched = 0;

  static bytes(flows: number): number {
    return Translation.bytes(flows);
  }

  constructor(context: TrackContext, settings: TrackSettings, hash: HalfSipHash) {
    const { arena, flows, counters } = context;
    this.#context = context;
    this.#settings = settings;
    this.#view = arena.view;
    const expire = (row: number, now: Instant): void => this.#expire(row, now);
    this.#translation = new Translation(context, settings, hash, expire);
    this.#reaper = new Reaper(arena, flows, expire);
    counters.set(Counter.NAT_FLOWS_NOW, 0);
    counters.set(Counter.SESSIONS_NOW, 0);
  }

  /** The addresses that sources are translated to; flows keep what they have. See pool.ts. */
  setPool(addresses: readonly Uint8Array[]): void {
    this.#translation.setPool(addresses);
  }

  /** A TCP flow may begin with a segment that is no SYN. */
  get picksUp(): boolean {
    return this.#settings.tcpLoose;
  }

  /** Whether a source may have one more rewritten flow. */
  checkSource(sourceAt: number, addressLength: number): DropReason {
    const isFull = this.#translation.isFull(sourceAt, addressLength);
    return isFull ? DropReason.CONNTRACK_SOURCE_LIMIT : DropReason.NONE;
  }

  /**
   * Has the flow in `row`, which waits for a verdict, rewritten from now on. UPSTREAM says where it
   * goes: with family 0 to its original destination, with port 0 to the original port.
   *
   * @returns NONE, or why it cannot be; nothing has changed then
   */
  begin(row: number, masquerade: boolean, now: Instant): CloseReason {
    const view = this.#view;
    const at = this.#context.flows.rowAt(row);
    const reason = this.#translation.make(row, masquerade, now);
    if (reason !== CloseReason.NONE) return reason;
    const isTcp = view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP;
    view.setUint8(at + FlowField.TRACK_STATE, isTcp ? TrackState.NONE : TrackState.UNREPLIED);
    view.setUint8(at + FlowField.PHASE, FlowPhase.OPEN);
    // Until its first packet comes, which `carry` is called with at once.
    view.setFloat64(at + FlowField.EXPIRES_AT, now + this.#settings.timeouts.tcpClose, true);
    view.setUint8(at + FlowField.CARRIER, Carrier.NAT);
    this.#context.counters.add(Counter.NAT_FLOWS_NOW);
    this.#watch(now);
    return CloseReason.NONE;
  }

  /**
   * Takes over a rewritten flow that an earlier data plane left in `row`.
   *
   * @returns false when it cannot be found again, and is lost
   */
  adopt(row: number, now: Instant): boolean {
    const at = this.#context.flows.rowAt(row);
    const expiresAt = this.#view.getFloat64(at + FlowField.EXPIRES_AT, true);
    if (expiresAt <= now || !this.#translation.adopt(row)) return false;
    this.#context.counters.add(Counter.NAT_FLOWS_NOW);
    this.#watch(now);
    return true;
  }

  /**
   * Whether the packet that was found to be of the flow in `row` is none of it any more: its time
   * is over, or a SYN begins a new connection between the same ends. The flow has to end then, and
   * the packet begins another.
   */
  isOver(row: number, isReply: boolean, packet: Packet, now: Instant): boolean {
    const view = this.#view;
    const at = this.#context.flows.rowAt(row);
    const expiresAt = view.getFloat64(at + FlowField.EXPIRES_AT, true);
    if (expiresAt !== 0 && expiresAt <= now) return true;
    if (packet.protocol !== Protocol.TCP) return false;
    return reopens(view, at, isReply, tcpFlags(view, packet.transportAt));
  }

  /**
   * A packet of a rewritten flow, whose checksums are right. It is untouched when it must not go on
   * for its hop limit.
   */
  carry(row: number, isReply: boolean, packet: Packet, now: Instant): DropReason {
    const view = this.#view;
    const at = this.#context.flows.rowAt(row);
    if (packet.hopLimit <= 1) return DropReason.HOP_LIMIT_EXCEEDED;
    const { transportAt, end } = packet;
    let payload = end - transportAt;
    let tracked: Tracked = Tracked.PASS;
    if (packet.protocol === Protocol.TCP) {
      const segment = this.#segment;
      // Options that make no sense are for the receiver to judge.
      segment.read(view, transportAt, end);
      tracked = trackSegment(view, at, isReply, segment, this.#settings, now);
      if (tracked === Tracked.INVALID) return DropReason.CONNTRACK_INVALID;
      payload = segment.payloadLength;
      if (segment.has(TcpFlag.SYN)) this.#clamp(packet);
    } else {
      this.#trackDatagram(at, isReply, now);
      if (packet.protocol === Protocol.UDP) {
        payload -= UDP_HEADER_BYTES;
        if (isReply && this.#context.answers.isOn) this.#showAnswer(row, packet);
      }
    }
    decrementHopLimit(view, packet);
    rewritePacket(view, at, isReply, packet);
    this.#count(at, isReply, payload, packet.gsoSize, now);
    const reason = this.#context.egress.forward(packet);
    // What it says of its end is in the row already.
    if (tracked === Tracked.LAST) this.end(row, CloseReason.IDLE, ClosedBy.GATEWAY, now);
    return reason;
  }

  /**
   * An ICMP or ICMPv6 error, whose checksum is right.
   *
   * @returns ICMP_UNMATCHED when it is about no rewritten flow
   */
  onError(packet: Packet, now: Instant): DropReason {
    const view = this.#view;
    const { flows, counters, egress } = this.#context;
    const quote = this.#quote;
    if (!readQuote(view, packet, quote)) return DropReason.ICMP_UNMATCHED;
    const length = quote.addressLength;
    // An error goes the way back: the quoted packet is found by the tuple of its answer.
    const row = flows.findTuple(
      quote.destinationAt,
      quote.sourceAt,
      length,
      quote.destinationPort,
      quote.sourcePort,
      quote.protocol,
    );
    if (row === NO_FLOW) return DropReason.ICMP_UNMATCHED;
    const at = flows.rowAt(row);
    if (view.getUint8(at + FlowField.CARRIER) !== Carrier.NAT) return DropReason.ICMP_UNMATCHED;
    if (view.getFloat64(at + FlowField.EXPIRES_AT, true) <= now) return DropReason.ICMP_UNMATCHED;
    if (packet.addressLength === V4_BYTES && isForHostsOnly(icmpType(view, packet.transportAt))) {
      return DropReason.ICMP_NOT_FOR_US;
    }
    // It is addressed to the sender of what it quotes.
    if (!addressEquals(view, packet.destinationAt, quote.sourceAt, length)) {
      return DropReason.BAD_ICMP_QUOTE;
    }
    if (!decrementHopLimit(view, packet)) return DropReason.HOP_LIMIT_EXCEEDED;
    translateError(view, packet, quote, at, !flows.foundReply);
    counters.add(Counter.ICMP_ERRORS_RELAYED);
    counters.add(Counter.IN_NAT);
    return egress.forward(packet);
  }

  /** A datagram of a session went by; the first call begins to watch it. */
  touch(row: number, isReply: boolean, now: Instant): void {
    const view = this.#view;
    const at = this.#context.flows.rowAt(row);
    if (view.getUint8(at + FlowField.TRACK_STATE) === TrackState.NONE) {
      view.setUint8(at + FlowField.TRACK_STATE, TrackState.UNREPLIED);
      this.#context.counters.add(Counter.SESSIONS_NOW);
      this.#watch(now);
    }
    this.#trackDatagram(at, isReply, now);
    view.setFloat64(at + FlowField.LAST_USED_AT, now, true);
  }

  /** Takes a flow out and reports it; the first reason that was noted counts. */
  end(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    const view = this.#view;
    const { flows, counters, owner } = this.#context;
    const at = flows.rowAt(row);
    if (view.getUint8(at + FlowField.CLOSE_REASON) === CloseReason.NONE) {
      view.setUint8(at + FlowField.CLOSE_REASON, reason);
      view.setUint8(at + FlowField.CLOSED_BY, by);
    }
    countEnd(counters, view, at);
    owner.onClosed(row, now);
    const carrier = view.getUint8(at + FlowField.CARRIER);
    if (carrier === Carrier.NAT) {
      this.#translation.release(row);
      counters.add(Counter.NAT_FLOWS_NOW, -1);
      this.#unwatch();
    } else if (view.getUint8(at + FlowField.TRACK_STATE) !== TrackState.NONE) {
      counters.add(Counter.SESSIONS_NOW, -1);
      this.#unwatch();
    }
    flows.remove(row);
    counters.add(Counter.FLOWS_NOW, -1);
  }

  /** Ends a flow at once, and tells both ends of a TCP connection. */
  kill(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    const view = this.#view;
    const at = this.#context.flows.rowAt(row);
    const isTcp = view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP;
    const isNat = view.getUint8(at + FlowField.CARRIER) === Carrier.NAT;
    if (isTcp && isNat && view.getUint8(at + FlowField.PHASE) !== FlowPhase.TIME_WAIT) {
      resetBoth(this.#context, at);
    }
    this.end(row, reason, by, now);
  }

  /** Makes room in a full table. @returns false when nothing was found that could give way */
  earlyDrop(now: Instant): boolean {
    const row = this.#reaper.findVictim(now);
    if (row === NO_FLOW) return false;
    const { counters, flows } = this.#context;
    counters.countFlow(FlowCount.EARLY_DROPPED, this.#view, flows.rowAt(row));
    this.end(row, CloseReason.EARLY_DROP, ClosedBy.LIMIT, now);
    return true;
  }

  /** Takes out what has expired, a few rows at a time. */
  reap(now: Instant): void {
    this.#reaper.run(now);
  }

  /** When `reap` wants to be called. */
  nextReapAt(): Instant {
    return this.#reaper.nextAt;
  }

  #watch(now: Instant): void {
    this.#watched += 1;
    this.#reaper.start(now);
  }

  #unwatch(): void {
    this.#watched -= 1;
    if (this.#watched === 0) this.#reaper.stop();
  }

  #expire(row: number, now: Instant): void {
    this.#context.counters.add(Counter.FLOWS_REAPED);
    this.end(row, CloseReason.IDLE, ClosedBy.GATEWAY, now);
  }

  /** UDP, echo and the rest: what was seen, and how long the flow lives by that. */
  #trackDatagram(at: number, isReply: boolean, now: Instant): void {
    const view = this.#view;
    const protocol = view.getUint8(at + FlowField.PROTOCOL);
    let state = view.getUint8(at + FlowField.TRACK_STATE) as TrackState;
    let bits = view.getUint8(at + FlowField.TRACK_BITS);
    if (isReply && state === TrackState.UNREPLIED) {
      state = TrackState.REPLIED;
      bits |= TrackBit.SEEN_REPLY;
    } else if (state === TrackState.REPLIED && protocol === Protocol.UDP) {
      const startedAt = view.getFloat64(at + FlowField.STARTED_AT, true) as Instant;
      if (now > after(startedAt, STREAM_AFTER_US)) {
        state = TrackState.STREAM;
        bits |= TrackBit.ASSURED;
      }
    }
    view.setUint8(at + FlowField.TRACK_STATE, state);
    view.setUint8(at + FlowField.TRACK_BITS, bits);
    const idleMs = view.getUint32(at + FlowField.IDLE_TIMEOUT_MS, true);
    const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    const { timeouts } = this.#settings;
    const timeout = idleMs > 0 ? millis(idleMs) : datagramTimeout(timeouts, protocol, port, state);
    view.setFloat64(at + FlowField.EXPIRES_AT, now + timeout, true);
  }

  #showAnswer(row: number, packet: Packet): void {
    const at = this.#context.flows.rowAt(row);
    if (this.#view.getUint16(at + FlowField.DESTINATION_PORT, true) !== DNS_PORT) return;
    const payloadAt = packet.transportAt + UDP_HEADER_BYTES;
    this.#context.answers.answers(row, payloadAt, packet.end - payloadAt, packet.gsoSize);
  }

  #clamp(packet: Packet): void {
    const { clampMss: setting } = this.#settings;
    if (setting === 'off') return;
    const family = packet.addressLength === V4_BYTES ? 4 : 6;
    clampMss(
      this.#view,
      packet,
      setting === 'auto' ? this.#context.egress.mssFor(family) : setting,
    );
  }

  #count(at: number, isReply: boolean, payload: number, gsoSize: number, now: Instant): void {
    const view = this.#view;
    const { counters } = this.#context;
    const packets = gsoSize === 0 ? 1 : Math.ceil(payload / gsoSize);
    const bytesAt = at + (isReply ? FlowField.BYTES_DOWN : FlowField.BYTES_UP);
    const packetsAt = at + (isReply ? FlowField.PACKETS_DOWN : FlowField.PACKETS_UP);
    view.setFloat64(bytesAt, view.getFloat64(bytesAt, true) + payload, true);
    view.setFloat64(packetsAt, view.getFloat64(packetsAt, true) + packets, true);
    view.setFloat64(at + FlowField.LAST_USED_AT, now, true);
    counters.countFlow(isReply ? FlowCount.BYTES_DOWN : FlowCount.BYTES_UP, view, at, payload);
    counters.add(Counter.IN_NAT);
    counters.add(Counter.NAT_PACKETS);
    if (gsoSize !== 0) counters.add(Counter.NAT_SUPERPACKETS);
  }
}
