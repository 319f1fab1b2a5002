/**
 * The stack: its only public face. Frames and time go in; frames, calls to the owner of flows and
 * deadlines come out. It has no clock, no thread and no device of its own.
 */
import { Arena } from './arena.ts';
import { CloseReason } from './close-reason.ts';
import { Counter, type Counters } from './counters.ts';
import type { DeviceCapabilities, FrameSink } from './device.ts';
import { Egress } from './egress.ts';
import type { ClosedBy } from './flow-row.ts';
import { FlowTable } from './flow-table.ts';
import { Forwarder, type Unreachable } from './forwarder.ts';
import { Icmp } from './icmp.ts';
import { IcmpErrors } from './icmp-errors.ts';
import { Ingress } from './ingress.ts';
import { FRAME_BYTES, OWNER_ROW_BYTES, type StateLimits } from './layout.ts';
import { Reassembly } from './reassembly/reassembly.ts';
import { HalfSipHash } from './sip-hash.ts';
import { SLAB_HEADROOM_BYTES, SlabPool } from './slab-pool.ts';
import { AckNews } from './tcp/ack-news.ts';
import { ActiveOpen } from './tcp/active-open.ts';
import { BbrState } from './tcp/bbr-state.ts';
import type { TcpContext, TcpSettings } from './tcp/context.ts';
import { RateSample } from './tcp/delivery-rate.ts';
import { HeldSyns } from './tcp/held-syns.ts';
import { flushAcks, superpacketBytes } from './tcp/output.ts';
import type { FlowOwner } from './tcp/owner.ts';
import { PACE_TICK_US } from './tcp/pacing.ts';
import { PathMtuCache } from './tcp/path-mtu-cache.ts';
import { resetLeftovers } from './tcp/recover.ts';
import { Segment } from './tcp/segment.ts';
import { SynCookies } from './tcp/syn-cookies.ts';
import { NO_ROW, TCB_ROW_BYTES, Tcb } from './tcp/tcb.ts';
import { TimeWaitList } from './tcp/time-wait.ts';
import { expireRow, onPaceTimer } from './tcp/timers.ts';
import * as calls from './tcp/user-calls.ts';
import type { Instant } from './time.ts';
import { TimerWheel } from './timer-wheel.ts';
import type { CongestionName, RejectWith } from './verdict.ts';

export interface StackOptions {
  /** At least `stateBytes(limits)` long. */
  readonly memory: ArrayBuffer;
  readonly limits: StateLimits;
  readonly counters: Counters;
  readonly capabilities: DeviceCapabilities;
  readonly sink: FrameSink;
  readonly owner: FlowOwner;
  readonly settings: TcpSettings;
  /** The row at this position ended with the data plane that had this memory before. */
  readonly onLeftover: (rowAt: number) => void;
  /** At least ten uint32 from the system's random source. */
  readonly secrets: Uint32Array;
  /** Fills an array from the system's random source: secrets that do not last, once a minute. */
  readonly randomize: (into: Uint32Array) => void;
  readonly now: Instant;
}

export class Stack {
  readonly arena: Arena;
  readonly slabs: SlabPool;
  readonly flows: FlowTable;
  /** Where the device's next frame is read to; FRAME_BYTES long. */
  readonly frameAt: number;
  /** Rows of OWNER_ROW_BYTES for the owner of flows, zero at first. */
  readonly ownerAt: number;
  readonly #tcp: TcpContext;
  readonly #forwarder: Forwarder;
  readonly #opener: ActiveOpen;
  readonly #icmp: Icmp;
  readonly #ingress: Ingress;
  readonly #expireRow: (row: number) => void;
  readonly #onPaceTimer: (row: number) => void;
  #now: Instant;

  constructor(options: StackOptions) {
    const { limits, counters, capabilities, secrets, now } = options;
    const arena = new Arena(options.memory);
    const secret = (pair: number) => new HalfSipHash(secrets[pair * 2]!, secrets[pair * 2 + 1]!);
    this.arena = arena;
    this.#now = now;
    this.flows = new FlowTable(arena, limits.flows, secret(0), limits.flowBuckets);
    const tcb = new Tcb(
      arena.view,
      arena.take((limits.flows + 1) * TCB_ROW_BYTES),
      this.flows.rowAt(0),
    );
    const egress = new Egress(arena, options.sink, capabilities, counters);
    const lastSerial = resetLeftovers(arena, tcb, limits.flows, egress, (rowAt) => {
      counters.close(CloseReason.RESTART);
      options.onLeftover(rowAt);
    });
    this.flows.continueAfter(lastSerial);
    this.slabs = new SlabPool(arena, limits.slabBytes);
    this.#tcp = {
      arena,
      flows: this.flows,
      slabs: this.slabs,
      wheel: new TimerWheel(arena, limits.flows, now),
      paceWheel: new TimerWheel(arena, limits.flows, now, PACE_TICK_US),
      counters,
      egress,
      owner: options.owner,
      timeWait: new TimeWaitList(tcb.cursor(), limits.timeWait),
      heldSyns: new HeldSyns(
        arena,
        limits.heldSyns,
        limits.heldSynsPerSource,
        limits.synCookiesFrom,
        secret(1),
        counters,
      ),
      pathMtus: new PathMtuCache(arena, secret(4)),
      tcb,
      bbr: new BbrState(arena.view, tcb),
      segment: new Segment(),
      news: new AckNews(),
      rate: new RateSample(),
      settings: options.settings,
      asideAt: arena.take(SLAB_HEADROOM_BYTES),
      ackHead: NO_ROW,
    };
    this.frameAt = arena.take(FRAME_BYTES);
    this.ownerAt = arena.take(limits.flows * OWNER_ROW_BYTES);
    this.#icmp = new Icmp(arena.view, egress, counters, new IcmpErrors(this.#tcp));
    const cookies = new SynCookies(arena.view, options.randomize);
    this.#forwarder = new Forwarder(this.#tcp, this.#icmp, secret(2), cookies);
    this.#opener = new ActiveOpen(this.#tcp, secret(2));
    const reassembly = new Reassembly(arena, counters, secret(3));
    this.#ingress = new Ingress(
      arena,
      this.#tcp,
      this.#forwarder,
      this.#icmp,
      reassembly,
      capabilities,
    );
    this.#expireRow = (row) => expireRow(this.#tcp, row, this.#now);
    this.#onPaceTimer = (row) => onPaceTimer(this.#tcp, row, this.#now);
    counters.set(Counter.FLOWS_LIMIT_NOW, limits.flows);
    counters.set(Counter.FLOWS_NOW, 0);
    counters.set(Counter.TIME_WAIT_NOW, 0);
    counters.set(Counter.SLAB_BYTES_LIMIT_NOW, this.slabs.bytesLimit);
  }

  /** Takes a frame of `length` bytes that was read to `at`. */
  ingest(at: number, length: number, now: Instant): void {
    this.#icmp.setNow(now);
    this.#ingress.frame(at, at + length, now);
  }

  /** After a batch of frames and socket events: the acknowledgments that are owed. */
  flush(now: Instant): void {
    flushAcks(this.#tcp, now);
    this.#tcp.counters.set(Counter.SLAB_BYTES_NOW, this.slabs.bytesUsed);
  }

  /** When `expire` wants to be called. */
  pollAt(): Instant {
    const { wheel, paceWheel } = this.#tcp;
    return Math.min(wheel.nextDeadline(), paceWheel.nextDeadline()) as Instant;
  }

  /** Runs the timers that are due. */
  expire(now: Instant): void {
    this.#now = now;
    this.#icmp.setNow(now);
    this.#tcp.wheel.expire(now, this.#expireRow);
    this.#tcp.paceWheel.expire(now, this.#onPaceTimer);
  }

  /** Microseconds of silence before the first keep-alive, for new connections; 0 is never. */
  setKeepalive(keepaliveUs: number): void {
    this.#tcp.settings.keepaliveUs = keepaliveUs;
  }

  /** Microseconds that sent data may stay unacknowledged; 0 leaves it to the number of timeouts. */
  setUserTimeout(userTimeoutUs: number): void {
    this.#tcp.settings.userTimeoutUs = userTimeoutUs;
  }

  /** Flows that are not over: those in TIME-WAIT are. */
  get liveFlows(): number {
    return this.flows.used - this.#tcp.timeWait.count;
  }

  setLocalAddresses(addresses: readonly string[]): void {
    this.#icmp.setLocalAddresses(addresses);
  }

  /** Refuses new flows from now on. */
  drain(): void {
    this.#forwarder.drain();
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

  accept(row: number, now: Instant): void {
    calls.accept(this.#tcp, row, now);
  }

  /** Refuses the held SYN in `row`; see forwarder.ts. */
  reject(
    row: number,
    how: RejectWith,
    code: Unreachable,
    reason: CloseReason,
    by: ClosedBy,
    now: Instant,
  ): void {
    this.#icmp.setNow(now);
    this.#forwarder.reject(row, how, code, reason, by, now);
  }

  setDeadline(row: number, deadline: Instant): void {
    calls.setDeadline(this.#tcp, row, deadline);
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

  close(row: number, now: Instant): void {
    calls.close(this.#tcp, row, now);
  }

  abort(row: number, reason: CloseReason, by: ClosedBy, now: Instant): void {
    calls.abort(this.#tcp, row, reason, by, now);
  }
}
