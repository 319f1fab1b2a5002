/**
 * The one timer of a flow with data in flight, for a peer that permits SACK. It stands for what
 * comes first: the reordering window, the tail loss probe, or the timeout that lies behind both.
 */
import { after, type Instant, micros, NEVER } from '../time.ts';
import type { TcpContext } from './context.ts';
import { armRetransmission } from './rtt.ts';
import { RECOVERING, TcbFlag, TimerKind } from './tcb.ts';

/** A flight whose end may have been lost is probed after two round trips: RFC 8985 §7.2. */
const PROBE_ROUNDS = 2;
/** What scheduling at both ends may add; and TLP.max_ack_delay, as Linux (TCP_RTO_MIN). */
const PROBE_MARGIN_US = 2_000;
const MAX_ACK_DELAY_US = 200_000;

/**
 * Sets the one timer for what comes first: the reordering window, the probe, or the timeout.
 *
 * @param waitUs     until more counts as lost; 0 for never
 * @param isRestart  the timeout starts again, RFC 6298 §5.3
 */
export function armTimers(tcp: TcpContext, waitUs: number, isRestart: boolean, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.flightSize === 0) {
    tcb.rtxDeadline = tcb.rtoAt = NEVER;
    return;
  }
  if (isRestart || tcb.rtoAt === NEVER) armRetransmission(tcp, now);
  else {
    tcb.rtxDeadline = tcb.rtoAt;
    tcb.timerKind = TimerKind.TIMEOUT;
  }
  if (waitUs > 0) {
    const due = after(now, micros(waitUs));
    if (due < tcb.rtoAt) {
      tcb.rtxDeadline = due;
      tcb.timerKind = TimerKind.REORDER;
    }
  } else {
    armProbe(tcp, now);
  }
  tcp.wheel.schedule(tcb.row, tcb.rtxDeadline);
}

/** Schedules a probe behind what was sent last, unless something else is known to be wrong. */
export function armProbe(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.has(RECOVERING | TcbFlag.PROBING) || tcb.sackedBytes + tcb.lostBytes > 0) return;
  if (tcb.srttUs === 0) return;
  const isSingle = tcb.flightSize <= tcb.mss;
  const delayUs = PROBE_ROUNDS * tcb.srttUs + (isSingle ? MAX_ACK_DELAY_US : PROBE_MARGIN_US);
  tcb.rtxDeadline = Math.min(tcb.rtoAt, now + delayUs) as Instant;
  tcb.timerKind = TimerKind.PROBE;
  tcp.wheel.schedule(tcb.row, tcb.rtxDeadline);
}
