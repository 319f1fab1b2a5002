/** The timers of a connection: what is due, and what comes next. RFC 9293 §3.10.8. */
import { CloseReason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { ClosedBy, FlowField, FlowPhase } from '../flow-row.ts';
import { after, type Instant, micros, NEVER, seconds } from '../time.ts';
import { seqAdd } from '../wire/seq.ts';
import { offerRoom } from './acknowledgment.ts';
import { suspectBlackHole } from './black-hole.ts';
import { endFlow, freeFlow } from './close.ts';
import { CongestionControl, collapse } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { giveUpDial, isDialing } from './dialing.ts';
import { sendAck, sendReset, sendRoom, sendSegment } from './output.ts';
import { goBack, retransmitOldest } from './retransmit.ts';
import { armRetransmission } from './rtt.ts';
import { recoverOnReorderTimer, recoverOnTimeout } from './sack-recovery.ts';
import { timestampClock } from './segment.ts';
import { TcpState } from './states.ts';
import { sendProbe } from './tail-loss-probe.ts';
import { TcbFlag, TimerKind } from './tcb.ts';

/** R2 of RFC 9293 §3.8.3, in retransmissions: about 100 s and more with backoff; Linux has 15. */
const RETRANSMIT_LIMIT = 15;
/** As Linux: a client that never answers our SYN-ACK is given up after about a minute. */
const SYN_ACK_LIMIT = 5;
/**
 * A dial is given up after 183 s: RFC 9293 §3.8.3 asks for three minutes at least (MUST-23). Its
 * owner sets a deadline that comes sooner.
 */
const SYN_LIMIT = 7;
/** RFC 9293 §3.8.4 leaves the count to us; nine probes as Linux. */
const KEEPALIVE_PROBES = 9;
const KEEPALIVE_INTERVAL_US = seconds(15);

/** Handles all that is due for `row` and schedules what comes next. */
export function expireRow(tcp: TcpContext, row: number, now: Instant): void {
  const tcb = tcp.tcb.moveTo(row);
  if (tcb.isGone) return;
  if (tcb.lifeDeadline <= now && !onLife(tcp, now)) return;
  if (tcb.ackDeadline <= now) sendAck(tcp, now);
  if (tcb.rtxDeadline <= now && !onRetransmission(tcp, now)) return;
  if (tcb.keepaliveDeadline <= now && !onKeepalive(tcp, now)) return;
  const idle = idleDeadline(tcp);
  if (idle <= now) {
    abortSilent(tcp, now);
    return;
  }
  const user = userDeadline(tcp, now);
  if (user <= now) {
    giveUp(tcp, CloseReason.USER_TIMEOUT, now);
    return;
  }
  tcp.wheel.schedule(
    row,
    Math.min(
      tcb.lifeDeadline,
      tcb.ackDeadline,
      tcb.rtxDeadline,
      tcb.keepaliveDeadline,
      idle,
      user,
    ) as Instant,
  );
}

/** The pacer lets the flow in `row` go on: with what was lost, then with new data. */
export function onPaceTimer(tcp: TcpContext, row: number, now: Instant): void {
  const tcb = tcp.tcb.moveTo(row);
  tcb.lower(TcbFlag.PACE_WAIT);
  if (tcb.lostBytes > 0 && tcb.congestion === CongestionControl.BBR) {
    recoverOnReorderTimer(tcp, now);
  }
  offerRoom(tcp, now);
}

/** @returns false when the flow is gone */
function onLife(tcp: TcpContext, now: Instant): boolean {
  const tcb = tcp.tcb;
  if (tcb.phase === FlowPhase.TIME_WAIT) {
    freeFlow(tcp);
    return false;
  }
  tcb.lifeDeadline = NEVER;
  if (isDialing(tcb)) {
    giveUpDial(tcp, now);
    return false;
  }
  tcp.owner.onDeadline(tcb.row, now);
  return !tcb.isGone;
}

/**
 * The retransmission timer, RFC 6298 §5.4 to §5.7; with nothing in flight it is the persist timer,
 * RFC 9293 §3.8.6.1, which never gives up while the client answers.
 *
 * @returns false when the flow is gone
 */
function onRetransmission(tcp: TcpContext, now: Instant): boolean {
  const tcb = tcp.tcb;
  tcb.rtxDeadline = NEVER;
  if (tcb.flightSize === 0) return onPersist(tcp, now);
  if (tcb.timerKind === TimerKind.PROBE) {
    sendProbe(tcp, now);
    return true;
  }
  if (tcb.timerKind === TimerKind.REORDER) {
    recoverOnReorderTimer(tcp, now);
    return true;
  }
  const isHandshake = tcb.state === TcpState.SYN_SENT || tcb.state === TcpState.SYN_RECEIVED;
  if (isDialing(tcb)) {
    if (tcb.probes >= SYN_LIMIT) {
      giveUpDial(tcp, now);
      return false;
    }
  } else if (tcb.probes >= (isHandshake ? SYN_ACK_LIMIT : retransmitLimit(tcp))) {
    giveUp(tcp, isHandshake ? CloseReason.HANDSHAKE_TIMEOUT : CloseReason.RETRANSMIT_LIMIT, now);
    return false;
  }
  tcp.counters.add(Counter.TCP_TIMEOUTS);
  tcb.probes += 1;
  tcb.backoff += 1;
  if (isHandshake) {
    retransmitOldest(tcp, now);
    armRetransmission(tcp, now);
    return true;
  }
  suspectBlackHole(tcp);
  if (tcb.has(TcbFlag.SACK)) {
    recoverOnTimeout(tcp, now);
    return true;
  }
  collapse(tcb);
  goBack(tcp, now);
  return true;
}

/**
 * Probes a closed window with a segment from before it: the answer tells the window. A sender that
 * ECE has slowed to one segment for each timeout may go on (RFC 3168 §6.1.2).
 */
function onPersist(tcp: TcpContext, now: Instant): boolean {
  const tcb = tcp.tcb;
  tcb.ecnPause = 0;
  if (!tcb.has(TcbFlag.SEND_WANTED)) return true;
  if (sendRoom(tcp, now) > 0) {
    tcb.lower(TcbFlag.SEND_WANTED);
    tcb.backoff = 0;
    tcp.owner.onRoom(tcb.row, now);
    return !tcb.isGone;
  }
  if (tcb.probes >= RETRANSMIT_LIMIT) {
    giveUp(tcp, CloseReason.RETRANSMIT_LIMIT, now);
    return false;
  }
  tcb.probes += 1;
  tcb.backoff += 1;
  tcp.counters.add(Counter.TCP_ZERO_WINDOW_PROBES);
  sendSegment(tcp, seqAdd(tcb.sndUna, -1), 0, 0, 0, now);
  armRetransmission(tcp, now);
  return true;
}

/** Timeouts in a row that a flow survives; where a user timeout is set, that decides. */
const retransmitLimit = ({ settings: { userTimeoutUs = 0 } }: TcpContext): number =>
  userTimeoutUs > 0 ? Number.POSITIVE_INFINITY : RETRANSMIT_LIMIT;

/**
 * When what is in flight will have waited for too long: the user timeout of RFC 9293 §3.9.1.1 and
 * RFC 5482. It is looked at when a timer runs, so that one below the retransmission timeout takes
 * effect with that. A closed window may stay so for as long as the client says so (§3.8.6.1).
 */
function userDeadline(tcp: TcpContext, now: Instant): Instant {
  const { tcb, settings } = tcp;
  const timeoutUs = settings.userTimeoutUs ?? 0;
  if (timeoutUs === 0 || tcb.flightSize === 0) return NEVER;
  if (tcb.phase !== FlowPhase.OPEN && tcb.phase !== FlowPhase.CLOSING) return NEVER;
  const waitedUs = ((timestampClock(now) - tcb.unackedSinceMs) >>> 0) * 1000;
  const silentUs = now - tcb.lastReceivedAt;
  const countsUs = tcb.sndWnd === 0 ? Math.min(waitedUs, silentUs) : waitedUs;
  return (now + timeoutUs - countsUs) as Instant;
}

/** The client does not answer: a reset tells it, should it be there after all. */
function giveUp(tcp: TcpContext, reason: CloseReason, now: Instant): void {
  sendReset(tcp, now);
  endFlow(tcp, reason, ClosedBy.CLIENT, now);
}

/**
 * RFC 9293 §3.8.4: nothing in flight, and no segment of the client for the interval. The RFC has
 * two hours and off as defaults, for hosts; a gateway's clients vanish, and each holds an upstream.
 *
 * @returns false when the flow is gone
 */
function onKeepalive(tcp: TcpContext, now: Instant): boolean {
  const tcb = tcp.tcb;
  const idleUs = tcp.settings.keepaliveUs;
  const due = after(tcb.lastReceivedAt, micros(idleUs));
  if (idleUs === 0 || tcb.state === TcpState.TIME_WAIT) {
    tcb.keepaliveDeadline = NEVER;
  } else if (due > now) {
    // With data in flight they are timeouts, and the retransmission limit counts on them.
    if (tcb.flightSize === 0) tcb.probes = 0;
    tcb.keepaliveDeadline = due;
  } else if (tcb.flightSize > 0) {
    // The retransmission timer watches the client already.
    tcb.keepaliveDeadline = after(now, KEEPALIVE_INTERVAL_US);
  } else if (tcb.probes >= KEEPALIVE_PROBES) {
    giveUp(tcp, CloseReason.KEEPALIVE, now);
    return false;
  } else {
    tcb.probes += 1;
    tcp.counters.add(Counter.TCP_KEEPALIVES);
    sendSegment(tcp, seqAdd(tcb.sndNxt, -1), 0, 0, 0, now);
    tcb.keepaliveDeadline = after(now, KEEPALIVE_INTERVAL_US);
  }
  return true;
}

/** When the flow has been silent for too long; NEVER in phases that have deadlines of their own. */
export function idleDeadline(tcp: TcpContext): Instant {
  const tcb = tcp.tcb;
  if (tcb.phase !== FlowPhase.OPEN && tcb.phase !== FlowPhase.CLOSING) return NEVER;
  const view = tcp.arena.view;
  const isHalfClosed = tcb.has(TcbFlag.FIN_SENT) || tcb.has(TcbFlag.FIN_RECEIVED);
  const field = isHalfClosed ? FlowField.HALF_CLOSE_TIMEOUT_MS : FlowField.IDLE_TIMEOUT_MS;
  const timeoutMs = view.getUint32(tcb.flowAt + field, true);
  if (timeoutMs === 0) return NEVER;
  const lastUsed = view.getFloat64(tcb.flowAt + FlowField.LAST_USED_AT, true);
  return (lastUsed + timeoutMs * 1000) as Instant;
}

function abortSilent(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const isHalfClosed = tcb.has(TcbFlag.FIN_SENT) || tcb.has(TcbFlag.FIN_RECEIVED);
  sendReset(tcp, now);
  const reason = isHalfClosed ? CloseReason.HALF_CLOSE_TIMEOUT : CloseReason.IDLE;
  endFlow(tcp, reason, ClosedBy.GATEWAY, now);
}
