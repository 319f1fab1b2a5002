/**
 * Sessions: flows of UDP and ICMP echo whose datagrams go over a socket of their own. From a
 * verdict to the socket, and from there to its end:
 *
 *   verdict → start: bounds, loop guard, socket, connect → stack.admit
 *   client → upstream   onDatagram → datagram-upload.ts, gathered; sent when the turn ends
 *   upstream → client   onEvent → datagram-download.ts → stack.datagram
 *   errors              onEvent, or a send that fails → session-errors.ts → stack.relayError
 *
 * A session ends when its time is over (the stack sees to that), when its questions are answered,
 * or when it has to give way; never by an error of its upstream, which may be gone a moment later.
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { closeFd } from '../../../ffi/sockets.ts';
import { CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { DropReason } from '../../../stack/drop-reason.ts';
import { ClosedBy, FlowField } from '../../../stack/flow-row.ts';
import { IcmpErrorKind } from '../../../stack/icmp-error-kind.ts';
import { HalfSipHash } from '../../../stack/sip-hash.ts';
import type { Instant } from '../../../stack/time.ts';
import { Protocol } from '../../../stack/wire/protocol.ts';
import type { FromDataPlane, LiveConfig, PlaneBounds } from '../../messages/control.ts';
import { isOverByteLimit } from '../byte-limit.ts';
import {
  DIAL_LOOP,
  type DialFailure,
  type DialOptions,
  dialFailure,
  isShortage,
  startConnect,
  unmapUpstream,
} from '../forward/dial.ts';
import { CONFIGURED_MARK, type DialPlan } from '../forward/dialer.ts';
import { UpstreamBit, type UpstreamTable } from '../forward/upstream-table.ts';
import type { LoopGuard } from '../loop-guard.ts';
import { NextTurn } from '../next-turn.ts';
import { NO_ROW } from '../row-queues.ts';
import { DIAL_FAILED, type Upstream } from '../upstream/upstream.ts';
import { DatagramDownload, Left } from './datagram-download.ts';
import { DatagramUpload } from './datagram-upload.ts';
import { DnsQuestions } from './dns-questions.ts';
import { EchoIdentifiers } from './echo-identifiers.ts';
import { prepareRequest } from './echo-messages.ts';
import { SessionBounds } from './session-bounds.ts';
import type { SessionContext } from './session-context.ts';
import { SessionErrors } from './session-errors.ts';
import { openEcho, openUdp } from './session-socket.ts';
import type { SessionStack } from './session-stack.ts';
import { SessionKind, SessionTable } from './session-table.ts';
import { ShortageNotice } from './shortage-notice.ts';

/** Receiving calls that one session may make before the others have their turn. */
const SHARE = 4;
const DNS_PORT = 53;

export interface SessionParts extends Omit<SessionContext, 'table'> {
  readonly epoll: Epoll;
  readonly guard: LoopGuard;
}

export interface SessionOptions {
  /** Sockets in all. */
  readonly limit: number;
  readonly perSource: number;
  /** Descriptors that there are for them, whatever the limit becomes. */
  readonly socketsMax?: number;
  /** Three uint32 from the system's random source. */
  readonly secrets: Uint32Array;
  /** Takes messages to the supervisor. */
  readonly report: (message: FromDataPlane) => void;
}

export class Sessions {
  readonly #stack: SessionStack;
  readonly #upstreams: UpstreamTable;
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  readonly #table: SessionTable;
  readonly #bounds: SessionBounds;
  readonly #socketsMax: number;
  readonly #identifiers: EchoIdentifiers;
  readonly #questions: DnsQuestions;
  readonly #errors: SessionErrors;
  readonly #shortage: ShortageNotice;
  readonly #upload: DatagramUpload;
  readonly #download: DatagramDownload;
  /** What was opened last. */
  readonly #opened = { kind: SessionKind.NONE as SessionKind, identifier: 0 };
  /** Rows to go on with, or to end, in the next turn. */
  readonly #next: NextTurn;
  #egress: Pick<LiveConfig['egress'], 'fwmark' | 'interface'> = { fwmark: 0, interface: '' };

  constructor(parts: SessionParts, options: SessionOptions) {
    const { stack, upstreams, epoll, counters, guard } = parts;
    const { limit, perSource, socketsMax, secrets, report } = options;
    this.#socketsMax = socketsMax ?? limit;
    const rows = stack.flows.capacity;
    this.#shortage = new ShortageNotice(report);
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#epoll = epoll;
    this.#counters = counters;
    this.#guard = guard;
    this.#table = new SessionTable(rows);
    const hash = new HalfSipHash(secrets[0]!, secrets[1]!);
    this.#bounds = new SessionBounds(stack.flows, stack.arena.view, limit, perSource, hash);
    this.#identifiers = new EchoIdentifiers(secrets[2]!);
    this.#questions = new DnsQuestions(rows);
    const context: SessionContext = { ...parts, table: this.#table };
    this.#errors = new SessionErrors(context);
    this.#upload = new DatagramUpload(context, this.#errors);
    this.#download = new DatagramDownload(context, this.#questions, this.#errors);
    this.#next = new NextTurn(upstreams, UpstreamBit.SESSION_LISTED, rows);
  }

  configure(live: Pick<LiveConfig, 'egress'>): void {
    this.#egress = live.egress;
  }

  /** For sessions that begin from now on. */
  setBounds({ limit, perSource }: PlaneBounds['sessions']): void {
    this.#bounds.setLimits(Math.min(limit, this.#socketsMax), perSource);
  }

  /** Milliseconds that the loop may sleep. */
  get patienceMs(): number {
    return this.#next.patienceMs;
  }

  /** Opens a socket to the upstream that stands in `row`, which waits for its verdict. */
  start(row: number, plan: DialPlan, now: Instant): void {
    const stack = this.#stack;
    const { view } = stack.arena;
    const at = stack.flows.rowAt(row);
    unmapUpstream(view, at);
    if (plan.via === undefined) this.#counters.add(Counter.DIALS);
    if (!this.#makeRoom(at, now)) {
      const kind = IcmpErrorKind.PROHIBITED;
      stack.reject(row, 'icmp', kind, CloseReason.LIMIT, ClosedBy.LIMIT, now);
      return;
    }
    const family = view.getUint8(at + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
    const rule = plan.via?.rule;
    if (rule !== undefined) view.setUint16(at + FlowField.VIA, rule.id, true);
    const wanted = plan.mark === CONFIGURED_MARK ? rule?.fwmark : plan.mark;
    const mark = wanted ?? this.#egress.fwmark;
    const egress = rule?.interface ?? this.#egress.interface;
    const bind = plan.bind || (plan.via?.source(family) ?? '');
    if (this.#guard.isLoopFrom(view, at + FlowField.UPSTREAM, family, mark, egress, now)) {
      this.#fail(row, plan.via, DIAL_LOOP, now);
      return;
    }
    const fd = this.#open(row, family, { mark, interface: egress, bind });
    if (fd < 0) {
      this.#failed(row, plan.via, -fd, now);
      return;
    }
    const isUdp = this.#table.kind[row] === SessionKind.UDP;
    const port = isUdp ? view.getUint16(at + FlowField.UPSTREAM_PORT, true) : 0;
    let result = startConnect(fd, view, at + FlowField.UPSTREAM, family, port);
    const events = EpollEvent.IN | EpollEvent.ET;
    if (result >= 0) result = this.#epoll.add(fd, events, this.#upstreams.tokenOf(row));
    if (result < 0) this.#failed(row, plan.via, -result, now);
    else {
      plan.via?.count(0);
      stack.admit(row, now);
    }
  }

  /** As `FlowOwner.onDatagram`. @param mayFragment  the client lets routers cut it */
  onDatagram(
    row: number,
    at: number,
    length: number,
    segmentBytes: number,
    hopLimit: number,
    trafficClass: number,
    mayFragment: boolean,
    now: Instant,
  ): void {
    const kind = this.#table.kind[row];
    if (kind === SessionKind.NONE) {
      this.#counters.drop(DropReason.UPSTREAM_SEND_FAILED);
      return;
    }
    const { view } = this.#stack.arena;
    const upload = this.#upload;
    if (kind === SessionKind.UDP) {
      this.#questions.onQuestion(row, view, at, segmentBytes > 0 ? 0 : length);
      upload.send(row, at, length, segmentBytes, hopLimit, trafficClass, mayFragment, now);
    } else {
      const rowAt = this.#stack.flows.rowAt(row);
      const family = view.getUint8(rowAt + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
      prepareRequest(view, at, length, row, this.#table, family);
      upload.setHeader(row, hopLimit, trafficClass, mayFragment, now);
      upload.sendOne(row, at, length, now);
    }
    if (this.#isOverLimit(row)) this.#endLater(row, now);
  }

  /** An event of the socket of `row`. */
  onEvent(row: number, events: number, now: Instant): void {
    if ((events & EpollEvent.ERR) !== 0) this.#errors.drain(row, now);
    if ((events & (EpollEvent.IN | EpollEvent.HUP)) !== 0) this.#receive(row, now);
  }

  /** Ends a turn of the loop: sends what was gathered, and goes on with what had no share left. */
  finishTurn(now: Instant): void {
    this.#upload.flush(now);
    const count = this.#next.begin();
    for (let i = 0; i < count; i++) {
      const row = this.#next.take(i);
      if (row === NO_ROW) continue;
      if (this.#table.kind[row] !== SessionKind.NONE) this.#receive(row, now);
      else this.#stack.abort(row, CloseReason.LIMIT, ClosedBy.LIMIT, now);
    }
  }

  /** The flow ended: closes its socket, if it has one. */
  release(row: number): void {
    const kind = this.#table.kind[row];
    if (kind === SessionKind.NONE) return;
    this.#upload.drop(row);
    if (kind === SessionKind.RAW_ECHO) this.#identifiers.release(this.#table.identifier[row]!);
    this.#table.kind[row] = SessionKind.NONE;
    closeFd(this.#upstreams.fd(row));
    this.#upstreams.setFd(row, -1);
    this.#bounds.remove(row);
  }

  /** Has another session give way where there are too many. @returns false when none can */
  #makeRoom(flowAt: number, now: Instant): boolean {
    const victim = this.#bounds.victim(flowAt);
    if (victim === NO_ROW) return !this.#bounds.isFull;
    this.#endLater(victim, now);
    return true;
  }

  #open(row: number, family: 4 | 6, options: DialOptions): number {
    const { view } = this.#stack.arena;
    const at = this.#stack.flows.rowAt(row);
    const opened = this.#opened;
    const isUdp = view.getUint8(at + FlowField.PROTOCOL) === Protocol.UDP;
    const isDns = isUdp && view.getUint16(at + FlowField.UPSTREAM_PORT, true) === DNS_PORT;
    opened.kind = SessionKind.UDP;
    opened.identifier = 0;
    const fd = isUdp
      ? openUdp(family, options, isDns)
      : openEcho(family, options, this.#identifiers, opened);
    if (fd < 0) return fd;
    this.#table.begin(row, opened.kind);
    this.#table.identifier[row] = opened.identifier;
    this.#questions.begin(row, isDns);
    this.#upstreams.setFd(row, fd);
    this.#bounds.add(row, at);
    return fd;
  }

  #receive(row: number, now: Instant): void {
    for (let turn = 0; turn < SHARE; turn++) {
      const left = this.#download.receive(row, now);
      if (this.#isOverLimit(row)) {
        this.#stack.abort(row, CloseReason.LIMIT, ClosedBy.LIMIT, now);
        return;
      }
      if (left === Left.NOTHING) return;
      if (left === Left.ANSWERED) {
        this.#stack.abort(row, CloseReason.EOF, ClosedBy.UPSTREAM, now);
        return;
      }
      if (left === Left.STARVED) {
        this.#next.isStarved = true;
        break;
      }
    }
    this.#next.add(row);
  }

  /** Closes the socket now, and ends the flow when the stack is not in the middle of another. */
  #endLater(row: number, now: Instant): void {
    this.#upload.flushRow(row, now);
    this.release(row);
    this.#next.add(row);
  }

  /** The session has moved more than its verdict allows. */
  #isOverLimit(row: number): boolean {
    return isOverByteLimit(this.#stack.arena.view, this.#stack.flows.rowAt(row));
  }

  /** @param errno  positive: why there is no socket */
  #failed(row: number, via: Upstream | undefined, errno: number, now: Instant): void {
    if (!isShortage(errno)) {
      this.#fail(row, via, dialFailure(errno), now);
      return;
    }
    // An ICMP error would blame the upstream for what is lacking here: the next datagram tries.
    this.#countFailure(via);
    this.#shortage.note(errno, now);
    const { DIAL_SHORTAGE } = CloseReason;
    this.#stack.reject(row, 'drop', IcmpErrorKind.HOST, DIAL_SHORTAGE, ClosedBy.GATEWAY, now);
  }

  #fail(row: number, via: Upstream | undefined, failure: DialFailure, now: Instant): void {
    this.#countFailure(via);
    const { how, code, reason } = failure;
    this.#stack.reject(row, how, code, reason, ClosedBy.UPSTREAM, now);
  }

  #countFailure(via: Upstream | undefined): void {
    if (via === undefined) this.#counters.add(Counter.DIALS_FAILED);
    else via.count(DIAL_FAILED);
  }
}
