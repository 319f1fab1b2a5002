/** How flows end: reported once, released once. */
import type { CloseReason } from '../close-reason.ts';
import { CloseReason as Reason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { ClosedBy, FlowField, FlowPhase } from '../flow-row.ts';
import { countEnd } from '../flow-tally.ts';
import { NO_SLAB } from '../slab-pool.ts';
import { after, type Instant, NEVER, seconds } from '../time.ts';
import type { TcpContext } from './context.ts';
import { releaseList } from './receive.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';

/**
 * Ends the current flow at once: reports it, gives back all that it holds, frees its row. Nothing
 * is sent.
 */
export function endFlow(tcp: TcpContext, reason: CloseReason, by: ClosedBy, now: Instant): void {
  reportEnd(tcp, reason, by, now);
  freeFlow(tcp);
}

/** Tells the owner and the log why the flow ended; only the first reason counts. */
function reportEnd(tcp: TcpContext, reason: CloseReason, by: ClosedBy, now: Instant): void {
  const tcb = tcp.tcb;
  noteReason(tcp, reason, by);
  if (tcb.has(TcbFlag.REPORTED)) return;
  tcb.raise(TcbFlag.REPORTED);
  tcb.lower(TcbFlag.SEND_WANTED);
  const view = tcp.arena.view;
  view.setFloat64(tcb.flowAt + FlowField.LAST_USED_AT, now, true);
  countEnd(tcp.counters, view, tcb.flowAt);
  tcp.owner.onClosed(tcb.row, now);
}

/** Keeps the first reason: later ones are consequences. */
export function noteReason(tcp: TcpContext, reason: CloseReason, by: ClosedBy): void {
  const view = tcp.arena.view;
  const at = tcp.tcb.flowAt;
  if (view.getUint8(at + FlowField.CLOSE_REASON) !== Reason.NONE) return;
  view.setUint8(at + FlowField.CLOSE_REASON, reason);
  view.setUint8(at + FlowField.CLOSED_BY, by);
}

/** RFC 9293 §3.4.1 has MSL 2 minutes; Linux holds TIME-WAIT for 60 s, and so do we. */
export const TIME_WAIT_US = seconds(60);

/**
 * Lets go of a connection whose two directions have ended, once its owner has taken all that
 * arrived: in TIME-WAIT only the row stays, to answer a FIN that is sent again; after LAST-ACK
 * nothing does.
 */
export function settle(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (!tcb.has(TcbFlag.FIN_DELIVERED)) return;
  if (tcb.state === TcpState.LAST_ACK && tcb.sndUna === tcb.sndNxt) {
    endFlow(tcp, Reason.EOF, ClosedBy.CLIENT, now);
  } else if (tcb.state === TcpState.TIME_WAIT && tcb.phase !== FlowPhase.TIME_WAIT) {
    reportEnd(tcp, Reason.EOF, ClosedBy.UPSTREAM, now);
    lingerInTimeWait(tcp, now);
  }
}

/** Puts the current flow among those in TIME-WAIT; the oldest of a full list gives way. */
function lingerInTimeWait(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const row = tcb.row;
  if (tcp.timeWait.isFull) {
    tcb.moveTo(tcp.timeWait.oldest);
    freeFlow(tcp);
    tcb.moveTo(row);
  }
  tcp.quota.release(tcb);
  tcb.phase = FlowPhase.TIME_WAIT;
  tcp.timeWait.add(row);
  countFlows(tcp);
  tcb.lifeDeadline = after(now, TIME_WAIT_US);
  tcp.wheel.schedule(row, tcb.lifeDeadline);
}

/** Who knows which of the flows that are not terminated here can give way: see conntrack.ts. */
export interface Reclaimer {
  earlyDrop(now: Instant): boolean;
}

/**
 * Before a new flow, of whatever protocol: when the table is full, the oldest connection in
 * TIME-WAIT gives way, or a flow that has least to lose of those that are not terminated here.
 * Above a limit that was lowered none does: its row would not be room yet.
 */
export function makeRoom(tcp: TcpContext, tracked: Reclaimer, now: Instant): void {
  if (tcp.flows.used !== tcp.flows.limit) return;
  if (tcp.timeWait.count === 0) {
    tracked.earlyDrop(now);
    return;
  }
  tcp.tcb.moveTo(tcp.timeWait.oldest);
  freeFlow(tcp);
}

/** Gives back everything that the current flow, already reported, holds. */
export function freeFlow(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  const row = tcb.row;
  releaseList(tcp, tcb.sendHead);
  releaseList(tcp, tcb.backlogHead);
  releaseList(tcp, tcb.assemblyHead);
  tcb.sendHead = tcb.backlogHead = tcb.assemblyHead = NO_SLAB;
  tcb.sendTail = tcb.backlogTail = tcb.assemblyTail = NO_SLAB;
  tcb.rtxDeadline = tcb.ackDeadline = tcb.keepaliveDeadline = tcb.lifeDeadline = NEVER;
  if (tcb.phase === FlowPhase.TIME_WAIT) tcp.timeWait.remove(row);
  else tcp.quota.release(tcb);
  if (tcb.has(TcbFlag.HELD_COUNTED)) tcp.heldSyns.release(tcb);
  if (tcb.has(TcbFlag.ACK_LISTED)) unlistAck(tcp);
  tcb.transition(TcpState.CLOSED);
  tcp.parked.drop(row, DropReason.FLOW_ENDED);
  tcp.wheel.cancel(row);
  tcp.paceWheel.cancel(row);
  tcp.flows.remove(row);
  countFlows(tcp);
}

/** Brings the gauges up to date: a connection in TIME-WAIT is over, and no longer a live flow. */
export function countFlows(tcp: TcpContext): void {
  tcp.counters.set(Counter.FLOWS_NOW, tcp.flows.used - tcp.timeWait.count);
  tcp.counters.set(Counter.TIME_WAIT_NOW, tcp.timeWait.count);
}

/** Takes the current row out of the list of those that owe an acknowledgment. */
function unlistAck(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  const row = tcb.row;
  const next = tcb.ackNext;
  tcb.lower(TcbFlag.ACK_LISTED | TcbFlag.ACK_NOW);
  if (tcp.ackHead === row) {
    tcp.ackHead = next;
    return;
  }
  tcb.moveTo(tcp.ackHead);
  while (tcb.ackNext !== row) tcb.moveTo(tcb.ackNext);
  tcb.ackNext = next;
  tcb.moveTo(row);
}
