/**
 * The stack: its only public face. Frames and time go in; frames, calls to the owner of flows and
 * deadlines come out. It has no clock, no thread and no device of its own.
 */
import type { Arena } from './arena.ts';
import { CloseReason } from './close-reason.ts';
import type { Conntrack } from './conntrack/conntrack.ts';
import type { TrackSettings } from './conntrack/context.ts';
import { Counter } from './counters.ts';
import type { DatagramEgress } from './datagram-egress.ts';
import type { Datagrams } from './datagrams.ts';
import { Carrier, type ClosedBy, FlowField, FlowPhase, TrackState } from './flow-row.ts';
import { type FlowTable, NO_FLOW } from './flow-table.ts';
import type { Forwarder } from './forwarder.ts';
import { FrameBatch } from './frame-batch.ts';
import type { IcmpErrorKind } from './icmp-error-kind.ts';
import type { IcmpSender } from './icmp-sender.ts';
import type { Ingress } from './ingress.ts';
import type { StateBounds } from './layout.ts';
import type { PrefixNat, PrefixRule } from './nat/prefix-nat.ts';
import type { OnParked, Replay } from './parked-packets.ts';
import type { SlabPool } from './slab-pool.ts';
import { assemble, type StackOptions } from './stack-parts.ts';
import type { ActiveOpen } from './tcp/active-open.ts';
import { flushAcks } from './tcp/answers.ts';
import type { TcpContext, TcpSettings } from './tcp/context.ts';
import { fitDeviceMtu } from './tcp/device-mtu.ts';
import { superpacketBytes } from './tcp/output.ts';
import { shutWindow } from './tcp/receive-window.ts';
import { TcpState } from './tcp/states.ts';
import type { Tcb } from './tcp/tcb.ts';
import { expireRow, onPaceTimer } from './tcp/timers.ts';
import * as calls from './tcp/user-calls.ts';
import { copyWaiting, hasAllText, takeWaiting } from './tcp/waiting.ts';
import type { Instant } from './time.ts';
import type { CongestionName, EndingReject } from './verdict.ts';
import { Protocol } from './wire/protocol.ts';
import { VNET_HEADER_BYTES } from './wire/virtio-net.ts';

export class Stack {
  readonly arena: Arena;
  readonly slabs: SlabPool;
  readonly flows: FlowTable;
  /** Where the device's next frame is read to; FRAME_BYTES long. */
  readonly frameAt: number;
  /** For frames of a device without superpackets, in the place of `frameAt` and `ingest`. */
  readonly frameBatch: FrameBatch;
  /** Rows of OWNER_ROW_BYTES for the owner of flows, zero at first. */
  readonly ownerAt: number;
  readonly #tcp: TcpContext;
  readonly #forwarder: Forwarder;
  readonly #opener: ActiveOpen;
  readonly #icmp: IcmpSender;
  readonly #conntrack: Conntrack;
  readonly #datagrams: Datagrams;
  readonly #prefixes: PrefixNat;
  readonly #tracking: TrackSettings;
  readonly #replies: DatagramEgress;
  readonly #ingress: Ingress;
  readonly #expireRow: (row: number) => void;
  readonly #onPaceTimer: (row: number) => void;
  readonly #replay: Replay;
  #now: Instant;

  constructor(options: StackOptions) {
    const parts = assemble(options);
    this.#tcp = parts.tcp;
    this.#forwarder = parts.forwarder;
    this.#opener = parts.opener;
    this.#icmp = parts.icmp;
    this.#conntrack = parts.conntrack;
    this.#datagrams = parts.datagrams;
    this.#prefixes = parts.prefixes;
    this.#replies = parts.replies;
    this.#ingress = parts.ingress;
    this.#tracking = options.tracking;
    this.#now = options.now;
    this.arena = parts.tcp.arena;
    this.slabs = parts.tcp.slabs;
    this.flows = parts.tcp.flows;
    this.frameAt = parts.frameAt;
    this.frameBatch = new FrameBatch(
      this.arena,
      this.#tcp.counters,
      (at, length, hasHeader, now) => {
        this.ingest(at, length, now, hasHeader);
      },
    );
    this.ownerAt = parts.ownerAt;
    this.#expireRow = (row) => expireRow(this.#tcp, row, this.#now);
    this.#onPaceTimer = (row) => onPaceTimer(this.#tcp, row, this.#now);
    this.#replay = (at, end, headerBytes) => {
      this.#ingress.again(at, end, headerBytes, this.#now);
    };
  }

  /**
   * Takes a frame of `length` bytes that was read to `at`.
   *
   * @param hasVnetHeader  it starts with one; as a rule those of the device do or do not
   */
  ingest(
    at: number,
    length: number,
    now: Instant,
    hasVnetHeader = this.#tcp.egress.capabilities.vnetHeader,
  ): void {
    this.#now = now;
    this.#icmp.setNow(now);
    this.#ingress.frame(at, at + length, now, hasVnetHeader);
  }

  /** The device has another MTU: new flows, and the segments of those that live, follow. */
  setDeviceMtu(mtu: number, now: Instant): void {
    const tcp = this.#tcp;
    tcp.egress.capabilities.mtu = mtu;
    const { flows, arena } = this;
    for (let row = flows.nextLive(0); row !== NO_FLOW; row = flows.nextLive(row + 1)) {
      const at = flows.rowAt(row);
      if (arena.view.getUint8(at + FlowField.PROTOCOL) !== Protocol.TCP) continue;
      tcp.tcb.moveTo(row);
      fitDeviceMtu(tcp, now);
    }
  }

  /** Takes a frame that the stack behind another queue has handed over, as it was read or made. */
  ingestHandedOver(at: number, length: number, now: Instant): void {
    this.#now = now;
    this.#icmp.setNow(now);
    const { peers, counters } = this.#tcp;
    counters.add(Counter.PEER_FRAMES_IN);
    // The flags of a vnet header take the lower half of its first byte, the IP version the upper.
    const hasHeader = this.arena.view.getUint8(at) >> 4 === 0;
    if (peers !== undefined) peers.isPaused = true;
    this.#ingress.handedOver(at, at + length, hasHeader ? VNET_HEADER_BYTES : 0, now);
    if (peers !== undefined) peers.isPaused = false;
  }

  /** After a batch of frames and socket events: the acknowledgments that are owed. */
  flush(now: Instant): void {
    flushAcks(this.#tcp, now);
    this.#tcp.counters.set(Counter.SLAB_BYTES_NOW, this.slabs.bytesUsed);
  }

  /** When `expire` wants to be called. */
  pollAt(): Instant {
    const { wheel, paceWheel } = this.#tcp;
    const reapAt = this.#conntrack.nextReapAt();
    return Math.min(wheel.nextDeadline(), paceWheel.nextDeadline(), reapAt) as Instant;
  }

  /** Runs the timers that are due. */
  expire(now: Instant): void {
    this.#now = now;
    this.#icmp.setNow(now);
    this.#tcp.wheel.expire(now, this.#expireRow);
    this.#tcp.paceWheel.expire(now, this.#onPaceTimer);
    this.#conntrack.reap(now);
  }

  /** For what comes from now on; what is there stays, and memory as it was laid out. */
  setBounds(bounds: StateBounds): void {
    const { heldSyns, quota, timeWait, settings, slabs, flows, counters } = this.#tcp;
    flows.limit = Math.min(bounds.flows, flows.capacity);
    slabs.setLimit(bounds.slabBytes);
    counters.set(Counter.FLOWS_LIMIT_NOW, flows.limit);
    counters.set(Counter.SLAB_BYTES_LIMIT_NOW, slabs.bytesLimit);
    heldSyns.setLimits(bounds.heldSyns, bounds.heldSynsPerSource, bounds.synCookiesFrom);
    quota.limit = bounds.flowsPerSource;
    timeWait.limit = bounds.timeWait;
    settings.slabBytesPerFlow = Math.min(bounds.slabBytesPerFlow, slabs.bytesLimit);
  }

  /** Microseconds of silence before the first keep-alive, for new connections; 0 is never. */
  setKeepalive(keepaliveUs: number): void {
    this.#tcp.settings.keepaliveUs = keepaliveUs;
  }

  /** Microseconds that sent data may stay unacknowledged; 0 leaves it to the number of timeouts. */
  setUserTimeout(userTimeoutUs: number): void {
    this.#tcp.settings.userTimeoutUs = userTimeoutUs;
  }

  /** For connections that are still to begin; those that live keep what they have. */
  setTcpDefaults({ congestion, ecn }: Required<Pick<TcpSettings, 'congestion' | 'ecn'>>): void {
    this.#tcp.settings.congestion = congestion;
    this.#tcp.settings.ecn = ecn;
  }

  /**
   * The first TCP connection in `row` or behind it that is not over, whoever carries it; those in
   * TIME-WAIT are, and those that have seen a reset. NO_FLOW when there is none.
   */
  nextConnection(row: number): number {
    const { flows, arena } = this;
    for (let next = flows.nextLive(row); next !== NO_FLOW; next = flows.nextLive(next + 1)) {
      const at = flows.rowAt(next);
      if (arena.view.getUint8(at + FlowField.PROTOCOL) !== Protocol.TCP) continue;
      if (arena.view.getUint8(at + FlowField.TRACK_STATE) === TrackState.CLOSE) continue;
      if (this.#tcp.tcb.moveTo(next).phase !== FlowPhase.TIME_WAIT) return next;
    }
    return NO_FLOW;
  }

  setLocalAddresses(addresses: readonly string[]): void {
    this.#icmp.setLocalAddresses(addresses);
  }

  /** Who decides has changed: datagrams of flows that were refused ask again. */
  forgetRefusals(): void {
    this.#datagrams.forgetRefusals();
  }

  /** For flows that are not terminated, from their next packet on. */
  setTracking(settings: TrackSettings): void {
    Object.assign(this.#tracking, settings);
  }

  /** Addresses that sources are translated to, of 4 or 16 bytes; see nat/pool.ts. */
  setPool(addresses: readonly Uint8Array[]): void {
    this.#conntrack.setPool(addresses);
  }

  /** Prefixes of IPv6 that packets without a flow are translated by; see nat/prefix-nat.ts. */
  setPrefixes(rules: readonly PrefixRule[]): void {
    this.#prefixes.configure(rules);
  }

  /** Refuses new flows from now on. */
  drain(): void {
    this.#forwarder.drain();
    this.#datagrams.drain();
  }

  /** Position of the flow's row (flow-row.ts). */
  rowAt(row: number): number {
    return this.flows.rowAt(row);
  }

  /** The cursor, moved to `row`: what its SYN said and its phase. Valid until the next call. */
  tcb(row: number): Tcb {
    return this.#tcp.tcb.moveTo(row);
  }

  /** The congestion control of a flow that is still to be accepted, not the configured one. */
  setCongestion(row: number, name: CongestionName): void {
    calls.setCongestion(this.#tcp, row, name);
  }

  /**
   * Dials into the device: sends a SYN, and again, until the owner's `onConnected` or `onClosed`
   * tells how it ended. Not from inside a call of the owner.
   *
   * For Happy Eyeballs (RFC 8305) a caller dials one address of a name after the other, some 250 ms
   * apart, notes the row whose `onConnected` came first, and then, when the stack has returned,
   * aborts all others with DIAL_ABANDONED. A loser that has answered sees a reset, one that has not
   * sees one if it still does, and that is all that is left of it here or there.
   *
   * @param sourceAt, destinationAt  positions of the addresses in the arena; in a flow's row they
   *                    may lie while that flow lives
   * @param sourcePort  0 has one chosen, by RFC 6056
   * @param deadline    gives up then; NEVER leaves it to the retransmission limit, three minutes
   * @returns           its row, in which the far end stands as the source; below 0 a NotOpened
   */
  connect(
    sourceAt: number,
    sourcePort: number,
    destinationAt: number,
    destinationPort: number,
    addressLength: number,
    deadline: Instant,
    now: Instant,
  ): number {
    return this.#opener.connect(
      sourceAt,
      sourcePort,
      destinationAt,
      destinationPort,
      addressLength,
      deadline,
      now,
    );
  }

  /** As `shutWindow` of tcp/receive-window.ts. */
  shutWindow(row: number): void {
    shutWindow(this.#tcp.tcb.moveTo(row));
  }

  accept(row: number, now: Instant): void {
    calls.accept(this.#tcp, row, now);
  }

  /**
   * Has the flow in `row`, which waits for a verdict, rewritten at L3 from its first packet on; the
   * target stands in its row as that of a dial does.
   *
   * @param masquerade  the upstream sees an address of the pool, not the client's
   * @returns NONE, or why it cannot be: the flow still waits, to be refused
   */
  nat(row: number, masquerade: boolean, now: Instant): CloseReason {
    const { tcb, arena, parked } = this.#tcp;
    const at = this.flows.rowAt(row);
    // A client that came back with a cookie has a connection with us, and with nobody else.
    if (tcb.moveTo(row).state > TcpState.LISTEN) return CloseReason.VERDICT_UNFIT;
    const reason = this.#conntrack.begin(row, masquerade, now);
    if (reason !== CloseReason.NONE) return reason;
    if (arena.view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP) {
      if (tcb.moveTo(row).state === TcpState.LISTEN) this.#tcp.quota.release(tcb);
      tcb.transition(TcpState.CLOSED);
    }
    this.#leaveHold(row, now);
    parked.replay(row, this.#replay);
    return CloseReason.NONE;
  }

  /** As `ParkedPackets.show`, of a UDP flow that waits for a verdict. */
  showParked(row: number, skip: number, onDatagram: OnParked): number {
    return this.#tcp.parked.show(row, skip, onDatagram);
  }

  /** The owner has a socket for the datagrams of the flow in `row`; those that wait come now. */
  admit(row: number, now: Instant): void {
    const at = this.flows.rowAt(row);
    this.arena.view.setUint8(at + FlowField.CARRIER, Carrier.SESSION);
    this.#conntrack.touch(row, false, now);
    this.#leaveHold(row, now);
    this.#tcp.parked.replay(row, this.#replay);
  }

  /** As `DatagramEgress.datagram`. */
  datagram(
    row: number,
    payloadAt: number,
    length: number,
    segmentBytes: number,
    trafficClass: number,
    now: Instant,
  ): boolean {
    return this.#replies.datagram(row, payloadAt, length, segmentBytes, trafficClass, now);
  }

  /** As `DatagramEgress.echoReply`. */
  echoReply(row: number, at: number, length: number, trafficClass: number, now: Instant): boolean {
    return this.#replies.echoReply(row, at, length, trafficClass, now);
  }

  /** As `DatagramEgress.error`. */
  relayError(
    row: number,
    kind: IcmpErrorKind,
    parameter: number,
    offenderAt: number,
    quotedAt: number,
    quotedLength: number,
    now: Instant,
  ): void {
    this.#icmp.setNow(now);
    this.#replies.error(row, kind, parameter, offenderAt, quotedAt, quotedLength);
  }

  /** Refuses the flow in `row`, which waits for a verdict; see forwarder.ts and datagrams.ts. */
  reject(
    row: number,
    how: EndingReject,
    kind: IcmpErrorKind,
    reason: CloseReason,
    by: ClosedBy,
    now: Instant,
  ): void {
    this.#icmp.setNow(now);
    if (this.#isTcp(row)) this.#forwarder.reject(row, how, kind, reason, by, now);
    else this.#datagrams.reject(row, how, kind, reason, by, now);
  }

  setDeadline(row: number, deadline: Instant): void {
    calls.setDeadline(this.#tcp, row, deadline);
  }

  /** How long an open flow may be silent from now on, in milliseconds; 0 is for ever. */
  setSilence(row: number, idleMs: number, halfCloseMs: number): void {
    calls.setSilence(this.#tcp, row, idleMs, halfCloseMs);
  }

  room(row: number, now: Instant): number {
    return calls.room(this.#tcp, row, now);
  }

  /** The most that one `transmit` takes. */
  superpacketBytes(row: number): number {
    return superpacketBytes(this.#tcp.tcb.moveTo(row));
  }

  transmit(row: number, slabAt: number, length: number, now: Instant): void {
    calls.transmit(this.#tcp, row, slabAt, length, now);
  }

  /** As `transmit`, and then `close`: the FIN stands on the same segment. */
  transmitLast(row: number, slabAt: number, length: number, now: Instant): void {
    calls.transmitLast(this.#tcp, row, slabAt, length, now);
  }

  drainBacklog(row: number, now: Instant): void {
    calls.drain(this.#tcp, row, now);
  }

  /** Bytes of the client that the owner has not taken, in order and acknowledged. */
  waiting(row: number): number {
    return this.#tcp.tcb.moveTo(row).backlogBytes;
  }

  /** Behind what waits comes nothing more: the client has sent FIN. */
  hasAllText(row: number): boolean {
    return hasAllText(this.#tcp, row);
  }

  /** Copies the first bytes that wait, `max` at most, and leaves them there. @returns how many */
  copyWaiting(row: number, into: Uint8Array, at: number, max: number): number {
    return copyWaiting(this.#tcp, row, into, at, max);
  }

  /** As `takeWaiting` of tcp/waiting.ts, inside `onClosed`. */
  takeWaiting(row: number): number {
    return takeWaiting(this.#tcp, row);
  }

  close(row: number, now: Instant): void {
    calls.close(this.#tcp, row, now);
  }

  abort(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    if (this.#tcp.tcb.moveTo(row).isGone) return;
    if (this.#isTcp(row)) calls.abort(this.#tcp, row, reason, by, now);
    else this.#datagrams.kill(row, reason, by, now);
  }

  /** Our TCP has, or will have, the flow in `row`. */
  #isTcp(row: number): boolean {
    const at = this.flows.rowAt(row);
    return (
      this.arena.view.getUint8(at + FlowField.PROTOCOL) === Protocol.TCP &&
      this.#tcp.tcb.moveTo(row).state !== TcpState.CLOSED
    );
  }

  /** The flow has its verdict, and is not terminated. */
  #leaveHold(row: number, now: Instant): void {
    const { tcb, heldSyns, wheel } = this.#tcp;
    this.#now = now;
    this.#icmp.setNow(now);
    tcb.moveTo(row).phase = FlowPhase.OPEN;
    heldSyns.release(tcb);
    wheel.cancel(row);
  }
}
