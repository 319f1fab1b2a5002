/**
 * When a segment is answered: at once, with the end of the batch, or after a delay in which data
 * may carry the acknowledgment. Answers that an attacker could ask for have a limit.
 */
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { type Instant, NEVER } from '../time.ts';
import { TcpFlag } from '../wire/tcp.ts';
import type { TcpContext } from './context.ts';
import { sendAck } from './output.ts';
import { timestampClock } from './segment.ts';
import { NO_ROW, type Tcb, TcbFlag } from './tcb.ts';

/**
 * RFC 5961 §7 asks for a limit and proposes one for all connections; but such a limit tells an
 * attacker whether another connection was challenged (CVE-2016-5696). So there is one for each, as
 * in Linux (net.ipv4.tcp_invalid_ratelimit).
 */
const CHALLENGE_INTERVAL_MS = 500;

/** RFC 9293 §3.8.6.3 allows 500 ms; Linux waits 40 ms, and its peers are tuned to that. */
const DELAYED_ACK_US = 40_000;
/** As Linux: TCP_MAX_QUICKACKS. */
const QUICK_ACKS = 16;

/**
 * An acknowledgment to a segment that an attacker could have sent: RFC 5961 §3, §4.
 *
 * @returns what the segment ends as
 */
export function sendChallengeAck(tcp: TcpContext, now: Instant): DropReason {
  if (!takeChallenge(tcp.tcb, now)) return DropReason.CHALLENGE_RATE_LIMIT;
  tcp.counters.add(Counter.TCP_CHALLENGE_ACKS);
  sendAck(tcp, now);
  return DropReason.CHALLENGED;
}

/** @returns false when the flow has had its answer of this interval */
function takeChallenge(tcb: Tcb, now: Instant): boolean {
  const nowMs = timestampClock(now);
  const sinceMs = (nowMs - tcb.challengedAtMs) >>> 0;
  if (tcb.challengedAtMs !== 0 && sinceMs < CHALLENGE_INTERVAL_MS) return false;
  tcb.challengedAtMs = nowMs || 1;
  return true;
}

/**
 * Owes an answer to the segment in hand, which is not acceptable. Two ends that take each other's
 * ACKs for old would answer for ever; so an empty one, and a SYN, have the limit of a challenge, as
 * in Linux. Text is no part of such a loop.
 */
export function oweAnswer(tcp: TcpContext, now: Instant): void {
  const { tcb, segment } = tcp;
  const isEmpty = segment.length === 0 || segment.has(TcpFlag.SYN);
  if (!isEmpty || takeChallenge(tcb, now)) oweAckNow(tcp);
}

/**
 * A packet was lost or came twice: the peer's window is small now, or its timeout has run, and an
 * acknowledgment that waits for a second packet waits for nothing. The next few do not wait.
 */
export function acknowledgeQuickly(tcb: Tcb): void {
  tcb.quickAcks = QUICK_ACKS;
}

/** @returns true when the text that came in order is one of those that do not wait */
export function takeQuickAck(tcb: Tcb): boolean {
  if (tcb.quickAcks === 0) return false;
  tcb.quickAcks -= 1;
  return true;
}

/**
 * Answers the segment in hand where that may not wait, not even for the rest of the batch: a sender
 * without SACK counts the answers to early segments (RFC 5681 §4.2), each tells of one duplicate
 * (RFC 2883 §4), and where packets are lost so are answers: one for many is soon none.
 */
export function answerAtOnce(tcp: TcpContext, now: Instant): void {
  if (tcp.tcb.has(TcbFlag.ACK_NOW)) sendAck(tcp, now);
}

/** The current flow owes an acknowledgment, which leaves when the batch is done. */
export function oweAckNow(tcp: TcpContext): void {
  tcp.tcb.raise(TcbFlag.ACK_NOW);
  oweAck(tcp);
}

/** The current flow owes an acknowledgment, which may wait: see `flushAcks`. */
export function oweAck(tcp: TcpContext): void {
  const { tcb } = tcp;
  if (tcb.has(TcbFlag.ACK_LISTED)) return;
  tcb.raise(TcbFlag.ACK_LISTED);
  tcb.ackNext = tcp.ackHead;
  tcp.ackHead = tcb.row;
}

/**
 * Acknowledges what the batch brought: at once where a second segment or a question came in, and
 * otherwise within DELAYED_ACK_US, in the hope that an answer carries it. RFC 9293 §3.8.6.3. As in
 * Linux more than one full segment counts as two: SACK blocks make segments shorter than `rcvMss`,
 * and a superpacket makes it longer.
 */
export function flushAcks(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  let row = tcp.ackHead;
  tcp.ackHead = NO_ROW;
  while (row !== NO_ROW) {
    tcb.moveTo(row);
    const next = tcb.ackNext;
    tcb.lower(TcbFlag.ACK_LISTED);
    tcb.ackNext = NO_ROW;
    if (tcb.has(TcbFlag.ACK_NOW) || tcb.unackedBytes > tcb.rcvMss) {
      sendAck(tcp, now);
    } else if (tcb.unackedBytes > 0 && tcb.ackDeadline === NEVER) {
      tcb.ackDeadline = (now + DELAYED_ACK_US) as Instant;
      tcp.wheel.schedule(row, tcb.ackDeadline);
    }
    row = next;
  }
}
