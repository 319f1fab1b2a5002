import { FlowField } from '../flow-row.ts';
import { after, type Instant, micros } from '../time.ts';
import type { Seq } from '../wire/seq.ts';
import { seqGe } from '../wire/seq.ts';
import type { TcpContext } from './context.ts';
import { timestampClock } from './segment.ts';
import { TcbFlag, TimerKind } from './tcb.ts';

/*
 * Round-trip time and retransmission timeout, RFC 6298. One segment per round trip is timed, with
 * the clock of the gateway, which is finer than TCP timestamps; a segment sent twice is never timed
 * (Karn's algorithm, §3).
 */

/** RFC 6298 §2.1. */
const RTO_INITIAL_US = 1_000_000;
/** RFC 6298 §5.7. */
const RTO_AFTER_LOST_SYN_US = 3_000_000;
/** RFC 6298 §2.4 says 1 s; Linux has had 200 ms for two decades: a lost tail waits 0.8 s less. */
const RTO_MIN_US = 200_000;
/** RFC 6298 §2.5 allows a bound of at least 60 s. */
const RTO_MAX_US = 60_000_000;

export function startRtt(tcp: TcpContext): void {
  tcp.tcb.rtoUs = RTO_INITIAL_US;
}

/** RFC 6298 §5.7: data follows a SYN that timed out, and no round trip was measured. */
export function restartRtt(tcp: TcpContext): void {
  tcp.tcb.rtoUs = RTO_AFTER_LOST_SYN_US;
  tcp.tcb.backoff = 0;
}

/** Times the segment that ends at `end`, unless one is being timed. */
export function timeSegment(tcp: TcpContext, end: Seq, now: Instant): void {
  if (tcp.tcb.rttSentAt !== 0) return;
  tcp.tcb.rttSeq = end;
  tcp.tcb.rttSentAt = now;
}

/** Karn: what is sent again is not timed. */
export function stopTiming(tcp: TcpContext): void {
  tcp.tcb.rttSentAt = 0 as Instant;
}

/**
 * Takes a measurement when `ack` covers the timed segment, RFC 6298 §2.2, §2.3. Only this ends the
 * backoff (Karn): a path that became slower than the timeout would never be measured otherwise.
 */
export function measureRtt(tcp: TcpContext, ack: Seq, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.rttSentAt === 0 || !seqGe(ack, tcb.rttSeq)) return;
  const sample = Math.max(1, now - tcb.rttSentAt);
  tcb.rttSentAt = 0 as Instant;
  takeSample(tcp, sample);
}

/**
 * The same for a peer that permits SACK, where the slabs know when they were sent: one sample for
 * each round trip counts, as the weights of RFC 6298 §2.3 are made for that.
 *
 * @param sampleUs  of what was sent once and is acknowledged now
 */
export function sampleRtt(tcp: TcpContext, sampleUs: number): void {
  const tcb = tcp.tcb;
  tcb.backoff = 0;
  if (tcb.srttUs !== 0 && !seqGe(tcb.sndUna, tcb.rttSeq)) return;
  tcb.rttSeq = tcb.sndNxt;
  takeSample(tcp, sampleUs);
}

/** RFC 7323 §4.1: a timestamp tells which transmission was answered, if only in milliseconds. */
export function sampleRttByEcho(tcp: TcpContext, now: Instant): void {
  const { tcb, segment } = tcp;
  if (!tcb.has(TcbFlag.TIMESTAMPS) || !segment.options.hasTimestamps) return;
  const stamp = (timestampClock(now) + tcb.tsOffset) >>> 0;
  const ms = (stamp - segment.options.tsEcho) | 0;
  if (ms >= 0 && ms * 1000 < RTO_MAX_US) sampleRtt(tcp, Math.max(1, ms * 1000));
}

function takeSample(tcp: TcpContext, sample: number): void {
  const tcb = tcp.tcb;
  tcb.backoff = 0;
  if (tcb.srttUs === 0) {
    tcb.srttUs = sample;
    tcb.rttvarUs = sample / 2;
  } else {
    tcb.rttvarUs = tcb.rttvarUs * 0.75 + Math.abs(tcb.srttUs - sample) * 0.25;
    tcb.srttUs = Math.max(1, tcb.srttUs * 0.875 + sample * 0.125);
  }
  tcb.rtoUs = Math.min(RTO_MAX_US, Math.max(RTO_MIN_US, tcb.srttUs + 4 * tcb.rttvarUs));
  tcp.arena.view.setUint32(tcb.flowAt + FlowField.SRTT_US, tcb.srttUs, true);
}

/** (Re)starts the retransmission timer: RFC 6298 §5.1, §5.3, with the backoff of §5.5. */
export function armRetransmission(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const timeoutUs = Math.min(RTO_MAX_US, tcb.rtoUs * 2 ** Math.min(tcb.backoff, 16));
  tcb.rtoAt = tcb.rtxDeadline = after(now, micros(timeoutUs));
  tcb.timerKind = TimerKind.TIMEOUT;
  tcp.wheel.schedule(tcb.row, tcb.rtxDeadline);
}
