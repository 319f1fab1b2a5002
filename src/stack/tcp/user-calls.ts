/**
 * What the owner of a connection may ask, RFC 9293 §3.10.2 to §3.10.5, in the words of a gateway:
 * the passive OPEN ends with `accept` or `reject`, SEND is `transmit`, RECEIVE is `drain`. The
 * active OPEN is in active-open.ts.
 */
import { CloseReason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { Carrier, ClosedBy, FlowField, FlowPhase } from '../flow-row.ts';
import { type Instant, NEVER } from '../time.ts';
import type { CongestionName } from '../verdict.ts';
import { seqAdd } from '../wire/seq.ts';
import { armPersist } from './acknowledgment.ts';
import { endFlow, noteReason, settle } from './close.ts';
import { chooseCongestion, congestionOf, restartAfterIdle, startCongestion } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { isDialing } from './dialing.ts';
import { sendFin, sendRefusal, sendReset, sendRoom, sendSynAck, transmitSlab } from './output.ts';
import { drainBacklog } from './receive.ts';
import { armRetransmission, startRtt, timeSegment } from './rtt.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';
import { idleDeadline } from './timers.ts';

/** Answers the held SYN with SYN-ACK; a client that came back with a cookie is let in. */
export function accept(tcp: TcpContext, row: number, now: Instant): void {
  const tcb = tcp.tcb.moveTo(row);
  tcp.parked.settle(row, Counter.IN_TCP);
  tcp.arena.view.setUint8(tcb.flowAt + FlowField.CARRIER, Carrier.TCP);
  if (tcb.state !== TcpState.LISTEN) {
    acceptProved(tcp, now);
    return;
  }
  tcb.transition(TcpState.SYN_RECEIVED);
  tcb.phase = FlowPhase.HANDSHAKE;
  tcb.sndNxt = seqAdd(tcb.iss, 1);
  startRtt(tcp);
  sendSynAck(tcp, now);
  timeSegment(tcp, tcb.sndNxt, now);
  armRetransmission(tcp, now);
}

/** The congestion control of a flow that is still to be accepted. */
export function setCongestion(tcp: TcpContext, row: number, name: CongestionName): void {
  const tcb = tcp.tcb.moveTo(row);
  chooseCongestion(tcb, name);
  // A client that came back with a cookie is in ESTABLISHED already; nothing was sent to it yet.
  if (tcb.state !== TcpState.LISTEN) startCongestion(tcb, congestionOf(tcb));
}

/** The SYN-ACK has gone out long ago, and the client's bytes may wait here. */
function acceptProved(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.state === TcpState.SYN_RECEIVED) {
    // Inside `onFlow`: the ACK with the cookie is processed next, and opens the flow.
    tcb.phase = FlowPhase.HANDSHAKE;
    return;
  }
  openFlow(tcp, now);
  if (tcb.isGone) return;
  tcp.wheel.schedule(tcb.row, idleDeadline(tcp));
  drain(tcp, tcb.row, now);
}

/** The handshake is done, and the owner has accepted the flow or asked for it. */
export function openFlow(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  tcp.heldSyns.release(tcb);
  tcb.phase = tcb.has(TcbFlag.FIN_RECEIVED) ? FlowPhase.CLOSING : FlowPhase.OPEN;
  tcb.touch(now);
  if (tcb.has(TcbFlag.OPENED)) {
    // The dial came in time.
    tcb.lifeDeadline = NEVER;
    tcp.owner.onConnected(tcb.row, now);
  } else {
    tcp.owner.onEstablished(tcb.row, now);
  }
  if (tcb.has(TcbFlag.CLOSE_WANTED) && !tcb.isGone) close(tcp, tcb.row, now);
}

/** Gives the decision or the dial until `deadline` (NEVER ends it); then `onDeadline` is called. */
export function setDeadline(tcp: TcpContext, row: number, deadline: Instant): void {
  tcp.tcb.moveTo(row).lifeDeadline = deadline;
  tcp.wheel.schedule(row, deadline);
}

/** Time-outs of an open flow, other than those that it was opened with. */
export function setSilence(
  tcp: TcpContext,
  row: number,
  idleMs: number,
  halfCloseMs: number,
): void {
  const tcb = tcp.tcb.moveTo(row);
  const { view } = tcp.arena;
  view.setUint32(tcb.flowAt + FlowField.IDLE_TIMEOUT_MS, idleMs, true);
  view.setUint32(tcb.flowAt + FlowField.HALF_CLOSE_TIMEOUT_MS, halfCloseMs, true);
  tcp.wheel.schedule(row, idleDeadline(tcp));
}

/**
 * Bytes of new data that `transmit` may take now, no more than a superpacket at a time. With 0 the
 * owner is told by `onRoom`.
 */
export function room(tcp: TcpContext, row: number, now: Instant): number {
  const tcb = tcp.tcb.moveTo(row);
  if (tcb.flightSize === 0 && now - tcb.lastSentAt > tcb.rtoUs) restartAfterIdle(tcb);
  const bytes = sendRoom(tcp, now);
  if (bytes === 0 && !tcb.has(TcbFlag.FIN_SENT)) {
    tcb.raise(TcbFlag.SEND_WANTED);
    armPersist(tcp, now);
  }
  return bytes;
}

/** SEND: the payload lies in a slab, which now belongs to the connection. */
export function transmit(
  tcp: TcpContext,
  row: number,
  slabAt: number,
  length: number,
  now: Instant,
): void {
  tcp.tcb.moveTo(row);
  transmitSlab(tcp, slabAt, length, false, now);
}

/** SEND and CLOSE in one segment. */
export function transmitLast(
  tcp: TcpContext,
  row: number,
  slabAt: number,
  length: number,
  now: Instant,
): void {
  tcp.tcb.moveTo(row);
  const canClose = beginClose(tcp);
  transmitSlab(tcp, slabAt, length, canClose, now);
}

/** RECEIVE: the owner can take bytes again. */
export function drain(tcp: TcpContext, row: number, now: Instant): void {
  // RFC 9293 §3.10.3: "Queue for processing after entering ESTABLISHED state".
  if (isDialing(tcp.tcb.moveTo(row))) return;
  drainBacklog(tcp, now);
  if (!tcp.tcb.isGone) settle(tcp, now);
}

/** CLOSE: no more data from this side. The other direction goes on. */
export function close(tcp: TcpContext, row: number, now: Instant): void {
  const tcb = tcp.tcb.moveTo(row);
  if (tcb.state === TcpState.SYN_SENT) {
    // RFC 9293 §3.10.4: "Delete the TCB".
    endFlow(tcp, CloseReason.DIAL_ABANDONED, ClosedBy.GATEWAY, now);
  } else if (beginClose(tcp)) {
    sendFin(tcp, now);
  }
}

/** The change of state that sending a FIN is. @returns false when none is to be sent now */
function beginClose(tcp: TcpContext): boolean {
  const tcb = tcp.tcb;
  if (tcb.has(TcbFlag.FIN_SENT)) return false;
  switch (tcb.state) {
    case TcpState.SYN_RECEIVED:
      // RFC 9293 §3.10.4: "or queue for processing after entering ESTABLISHED state".
      tcb.raise(TcbFlag.CLOSE_WANTED);
      return false;
    case TcpState.ESTABLISHED:
      tcb.transition(TcpState.FIN_WAIT_1);
      break;
    case TcpState.CLOSE_WAIT:
      tcb.transition(TcpState.LAST_ACK);
      break;
    default:
      return false;
  }
  tcb.phase = FlowPhase.CLOSING;
  return true;
}

/**
 * ABORT: the client sees a reset, and the flow is gone. In SYN-SENT nothing is sent (RFC 9293
 * §3.10.5): should a SYN-ACK come yet, it belongs to no flow, and is answered with a reset.
 */
export function abort(
  tcp: TcpContext,
  row: number,
  reason: CloseReason,
  by: ClosedBy,
  now: Instant,
): void {
  const tcb = tcp.tcb.moveTo(row);
  if (tcb.isGone) return;
  noteReason(tcp, reason, by);
  if (tcb.state === TcpState.LISTEN) sendRefusal(tcp);
  else if (tcb.state !== TcpState.SYN_SENT && tcb.phase !== FlowPhase.TIME_WAIT) {
    sendReset(tcp, now);
  }
  endFlow(tcp, reason, by, now);
}
