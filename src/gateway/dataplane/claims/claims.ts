/**
 * The connections that scripts have claimed. Start reading at `claim`.
 *
 *   verdict claim → SYN-ACK → OPENED → what the script reads, writes and dials → SPLICE or its end
 *
 * Bytes stay where they are until the host asks for them: the client's in the slabs of the stack,
 * whose window closes, an upstream's in the kernel. Bytes of the host wait in slabs, a bounded
 * number of them. A call of the stack only notes what has happened and lists the claim; all that
 * touches other rows, and all that is told to the host, is done when the turn of the loop ends.
 */
import { CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { ClosedBy, FlowField, Handshake, noteHandshake, Service } from '../../../stack/flow-row.ts';
import { IcmpErrorKind } from '../../../stack/icmp-error-kind.ts';
import type { Stack } from '../../../stack/stack.ts';
import { type Instant, NEVER } from '../../../stack/time.ts';
import { CONN_SOCKETS_MAX, connEpoch, DialResult } from '../../messages/conn.ts';
import type { LiveConfig, ScriptsState } from '../../messages/control.ts';
import type { DecisionAnswer } from '../../messages/decision.ts';
import { FdPort } from '../fd-port.ts';
import type { FlowService } from '../flow-service.ts';
import { failedDial, resultOfReason } from '../forward/dial-result.ts';
import { STARVED_WAIT_MS } from '../next-turn.ts';
import { RowPort } from '../row-port.ts';
import { type Claim, type ClaimEnd, ClaimPhase, pushEnd } from './claim.ts';
import { ClaimHandover, type ClaimHandoverParts } from './claim-handover.ts';
import { ClaimOrders, type ClaimOrdersParts } from './claim-orders.ts';
import type { ClaimSockets } from './claim-sockets.ts';
import { ClaimTable } from './claim-table.ts';
import { ClaimTeller, isForgotten } from './claim-teller.ts';
import type { ConnChannel } from './conn-channel.ts';
import { endsOfRow } from './device-dial.ts';

/** No host: no message is for us, and none is sent. */
const NO_EPOCH = -1;
/** Deadlines of one moment are looked at together, for each look goes through all claims. */
const LOOK_STEP_US = 4_000;
/** Calls that throw away what a socket sends, before the others have their turn. */
const DISCARD_SHARE = 16;

export type ClaimsParts = Omit<ClaimOrdersParts & ClaimHandoverParts, 'table'>;

export class Claims implements FlowService {
  readonly #stack: Stack;
  readonly #counters: Counters;
  readonly #channel: ConnChannel;
  readonly #sockets: ClaimSockets;
  readonly #table: ClaimTable;
  readonly #orders: ClaimOrders;
  readonly #teller: ClaimTeller;
  readonly #handover: ClaimHandover;
  /** Changes with each data plane: the half of epochs that is ours. */
  readonly #boot: number;
  #epoch = NO_EPOCH;
  #isStartTold = true;
  #isStarved = false;
  #nextLook: Instant = NEVER;

  /** @param limit  claims that scripts may talk to at a time */
  constructor(parts: ClaimsParts, limit: number, boot: number) {
    const { stack, counters, channel, sockets } = parts;
    this.#stack = stack;
    this.#counters = counters;
    this.#channel = channel;
    this.#sockets = sockets;
    this.#boot = boot;
    const table = new ClaimTable(stack, counters);
    this.#table = table;
    this.#orders = new ClaimOrders({ ...parts, table }, (deadline) => this.#wakeAt(deadline));
    this.#teller = new ClaimTeller(channel, stack);
    this.#handover = new ClaimHandover({ ...parts, table });
    this.setLimit(limit);
  }

  configure(live: LiveConfig): void {
    this.#sockets.configure(live);
  }

  /** Claims that scripts may talk to at a time; those beyond it go on. */
  setLimit(claims: number): void {
    this.#table.limit = claims;
    this.#sockets.setLimit(claims * CONN_SOCKETS_MAX);
  }

  /** When `run` wants to be called, though nothing happens. */
  get nextLook(): Instant {
    return this.#nextLook;
  }

  /** Milliseconds that the loop may sleep. A full socket to the host says when it is not. */
  get patienceMs(): number {
    if (!this.#table.hasListed && this.#isStartTold) return Number.POSITIVE_INFINITY;
    if (this.#isStarved) return STARVED_WAIT_MS;
    return this.#channel.isReady ? 0 : Number.POSITIVE_INFINITY;
  }

  /** The script host came or went. What scripts of another one talked to is reset. */
  setHost({ state, epoch }: ScriptsState, now: Instant): void {
    const current = state === 'up' ? connEpoch(epoch, this.#boot) : NO_EPOCH;
    if (current === this.#epoch) return;
    this.#epoch = current;
    this.#isStartTold = current === NO_EPOCH;
    for (const { row } of [...this.#table.active]) {
      this.#stack.abort(row, CloseReason.SCRIPT_FAILED, ClosedBy.GATEWAY, now);
    }
    for (const claim of this.#table.own.values()) {
      this.#orders.endOwn(claim, CloseReason.SCRIPT_FAILED);
    }
  }

  /** A script claims the flow in `row`, which waits for a verdict. @returns false without room */
  claim(row: number, answer: DecisionAnswer, now: Instant): boolean {
    const [stack, counters] = [this.#stack, this.#counters];
    if (this.#table.isFull) {
      counters.add(Counter.CLAIMS_REFUSED);
      stack.reject(row, 'rst', IcmpErrorKind.PORT, CloseReason.LIMIT, ClosedBy.LIMIT, now);
      return false;
    }
    counters.add(Counter.CLAIMS_TOTAL);
    const at = stack.rowAt(row);
    stack.arena.view.setUint8(at + FlowField.SERVICE, Service.SCRIPT);
    noteHandshake(stack.arena.view, at, Handshake.ACCEPT_FIRST);
    this.#table.add(row, this.#epoch, answer.requestId);
    stack.setDeadline(row, NEVER);
    stack.accept(row, now);
    return true;
  }

  onEstablished(row: number): void {
    const claim = this.#table.portOf(row)?.end.claim;
    if (claim === undefined) return;
    claim.phase = ClaimPhase.OPEN;
    this.#table.list(claim);
  }

  /** A connection that was dialled into the device stands. */
  onConnected(row: number): void {
    const end = this.#table.portOf(row)?.end;
    if (end === undefined) return;
    end.dialed = DialResult.OK;
    end.ends = endsOfRow(this.#stack, row);
    this.#counters.add(Counter.DIALS);
    this.#table.list(end.claim);
  }

  onData(row: number, at: number, length: number): number {
    const port = this.#table.portOf(row);
    if (port === undefined) return length;
    const taken = port.onData(at, length);
    if (taken < length) this.#table.list(port.end.claim);
    return taken;
  }

  onWaiting(row: number): void {
    const claim = this.#table.portOf(row)?.end.claim;
    if (claim !== undefined) this.#table.list(claim);
  }

  onFin(row: number): void {
    const port = this.#table.portOf(row);
    if (port === undefined) return;
    port.hasEnded = true;
    this.#table.list(port.end.claim);
  }

  onRoom(row: number, now: Instant): void {
    const end = this.#table.portOf(row)?.end;
    if (end === undefined) return;
    pushEnd(end, now);
    this.#table.list(end.claim);
  }

  release(row: number, now: Instant): void {
    const port = this.#table.portOf(row);
    if (port === undefined) return;
    this.#table.setPort(row, undefined);
    const { end } = port;
    const at = this.#stack.rowAt(row);
    const { view } = this.#stack.arena;
    const reason = view.getUint8(at + FlowField.CLOSE_REASON) as CloseReason;
    end.hasEnded = port.hasEnded;
    end.port = undefined;
    end.queue.release();
    this.#table.list(end.claim);
    if (!end.isClient) {
      if (end.dialed === undefined) failedDial(end, resultOfReason(reason), this.#counters);
      else end.over = reason;
      return;
    }
    const { claim } = end;
    claim.reason = reason;
    claim.bytesUp = view.getFloat64(at + FlowField.BYTES_UP, true);
    claim.bytesDown = view.getFloat64(at + FlowField.BYTES_DOWN, true);
    this.#table.retire(claim, ClaimPhase.OVER);
    for (const socket of claim.sockets) this.#leave(socket, reason, now);
  }

  /** An event of a socket of a claim, by its token. */
  onSocketEvent(token: number, events: number, now: Instant): void {
    const end = this.#sockets.onEvent(token, events, now);
    if (end === undefined) return;
    const { port } = end;
    if (port instanceof FdPort && port.isEnding && end.credit === 0) port.probe();
    pushEnd(end, now);
    this.#table.list(end.claim);
  }

  /** The host has said something, or takes messages again. */
  onChannelEvent(now: Instant): void {
    this.#channel.flush();
    this.#channel.read((message) => this.#orders.onMessage(message, this.#epoch, now));
  }

  /** The end of a turn: what was listed is carried out and told. */
  run(now: Instant): void {
    if (now >= this.#nextLook) this.#look(now);
    if (!this.#isStartTold) this.#isStartTold = this.#teller.started(this.#epoch);
    if (!this.#table.hasListed) return;
    this.#isStarved = false;
    for (const claim of this.#table.takeListed()) {
      if (!this.#advance(claim, now)) this.#table.list(claim);
    }
  }

  /** @returns false when there is more to do, as soon as the host takes messages */
  #advance(claim: Claim, now: Instant): boolean {
    if (claim.phase === ClaimPhase.HANDSHAKE) return true;
    if (claim.phase === ClaimPhase.OVER || claim.phase === ClaimPhase.SPLICED) {
      this.#endOrphans(claim, now);
      const isHeard = claim.phase === ClaimPhase.OVER && claim.epoch === this.#epoch;
      const isOver = !isHeard || (this.#isStartTold && this.#teller.closed(claim));
      if (isOver) this.#table.removeOwn(claim);
      return isOver;
    }
    let isDone = this.#isMoved(claim.client, now);
    for (const socket of claim.sockets) isDone = this.#isMoved(socket, now) && isDone;
    if (claim.phase === ClaimPhase.SPLICING) this.#spliceIfReady(claim, now);
    if (claim.phase !== ClaimPhase.OPEN) return isDone;
    if (!this.#isStartTold || !this.#teller.tell(claim, now)) isDone = false;
    for (const socket of claim.sockets) isDone = this.#isSettled(socket) && isDone;
    if (claim.sockets.some(isForgotten)) {
      claim.sockets = claim.sockets.filter((socket) => !isForgotten(socket));
      if (claim.sockets.length === 0) this.#table.removeOwn(claim);
    }
    return isDone;
  }

  /** What the host has written, and what nobody wants. @returns false when there is more */
  #isMoved(end: ClaimEnd, now: Instant): boolean {
    const { port } = end;
    if (port === undefined) return true;
    pushEnd(end, now);
    if (port instanceof RowPort && port.isStarved) {
      this.#isStarved = true;
      return false;
    }
    if (!end.isDiscarding) return true;
    for (let i = 0; i < DISCARD_SHARE; i++) {
      const discarded = port.discard(now);
      if (discarded === 0) return true;
      end.bytesDown += discarded;
    }
    return false;
  }

  #spliceIfReady(claim: Claim, now: Instant): void {
    const { splice, client } = claim;
    if (splice === undefined) return;
    const { port, queue } = splice.socket;
    if (port === undefined || port.isBroken) {
      const { UPSTREAM_RESET } = CloseReason;
      this.#stack.abort(claim.row, UPSTREAM_RESET, ClosedBy.UPSTREAM, now);
    } else if (client.queue.length === 0 && queue.length === 0) {
      this.#handover.carryOut(claim, splice, now);
      this.#endOrphans(claim, now);
    }
  }

  /** @returns false when there is an end to be told of */
  #isSettled(socket: ClaimEnd): boolean {
    const { port } = socket;
    if (port === undefined || socket.over !== CloseReason.NONE) return true;
    const isRead = port.hasEnded && (socket.isFinTold || socket.isDiscarding);
    if (port.isBroken) {
      this.#sockets.abort(socket);
      socket.over = CloseReason.UPSTREAM_RESET;
    } else if (port instanceof FdPort && socket.isFinSent && isRead) {
      this.#sockets.close(socket);
      socket.over = CloseReason.EOF;
    } else {
      return true;
    }
    socket.queue.release();
    return false;
  }

  /** The client is gone: a socket of the kernel goes at once, in a call of the stack or not. */
  #leave(socket: ClaimEnd, reason: CloseReason, now: Instant): void {
    if (!(socket.port instanceof FdPort)) return;
    const isOrderly = reason === CloseReason.EOF && socket.isOpen;
    if (isOrderly) pushEnd(socket, now);
    if (isOrderly && socket.queue.length === 0) this.#sockets.close(socket);
    else this.#sockets.abort(socket);
    socket.queue.release();
  }

  /** Sockets of a claim that is over, or spliced with another one. */
  #endOrphans(claim: Claim, now: Instant): void {
    const { sockets } = claim;
    if (sockets.length === 0) return;
    claim.sockets = [];
    for (const socket of sockets) {
      this.#leave(socket, claim.reason, now);
      const { port } = socket;
      if (!(port instanceof RowPort)) continue;
      if (claim.reason === CloseReason.EOF && socket.isOpen) {
        // It ends by itself, behind what the host has written to it.
        socket.isDiscarding = true;
        socket.isFinWanted = true;
        pushEnd(socket, now);
        port.discard(now);
      } else {
        this.#stack.abort(port.row, CloseReason.ABORTED, ClosedBy.SCRIPT, now);
      }
    }
  }

  /** Lists whose time is over. */
  #look(now: Instant): void {
    this.#nextLook = NEVER;
    for (const claim of this.#table.active) this.#lookAtAll(claim, now);
    for (const claim of this.#table.own.values()) this.#lookAtAll(claim, now);
  }

  #lookAtAll(claim: Claim, now: Instant): void {
    this.#lookAt(claim.client, now);
    for (const socket of claim.sockets) this.#lookAt(socket, now);
  }

  #lookAt(end: ClaimEnd, now: Instant): void {
    const { peek, deadline, claim } = end;
    if (peek !== undefined) {
      if (peek.deadline <= now) this.#table.list(claim);
      else this.#wakeAt(peek.deadline);
    }
    if (deadline > now) {
      this.#wakeAt(deadline);
      return;
    }
    end.deadline = NEVER;
    this.#table.list(claim);
    if (end.dialed === undefined) {
      this.#sockets.onTimeout(end, now);
      this.#wakeAt(end.deadline);
    } else {
      this.#sockets.abort(end);
      end.over = CloseReason.HALF_CLOSE_TIMEOUT;
      end.queue.release();
    }
  }

  #wakeAt(deadline: Instant): void {
    const at = (Math.ceil(deadline / LOOK_STEP_US) * LOOK_STEP_US) as Instant;
    if (at < this.#nextLook) this.#nextLook = at;
  }
}
