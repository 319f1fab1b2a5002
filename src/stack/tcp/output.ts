/**
 * What may be sent, and sending it: the window, new data, FIN. When an acknowledgment leaves that
 * nothing carries is told in answers.ts.
 *
 * New data comes from its owner in a slab at the moment when there is room for it, and is sent at
 * once; so the send queue is exactly what is in flight, and there is no Nagle algorithm: the bytes
 * of an upstream are passed on as they come.
 */
import { Counter } from '../counters.ts';
import type { SegmentOptions, SynOptions } from '../egress.ts';
import { FlowCount } from '../flow-counts.ts';
import { FlowField } from '../flow-row.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT, SlabField } from '../slab-pool.ts';
import { type Instant, NEVER } from '../time.ts';
import { Ecn } from '../wire/ecn.ts';
import { asSeq, type Seq, seqAdd } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { sackBytes } from '../wire/tcp-options.ts';
import { restartBbr } from './bbr.ts';
import { mtuProbeBytes, mtuProbeRoom, takeMtuProbe } from './black-hole.ts';
import { CongestionControl } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { noteSendState } from './delivery-rate.ts';
import { setupAnswer, takeCwr } from './ecn.ts';
import { notePaced, paceSlabRoom } from './pacing.ts';
import { advanceWindow, RECEIVE_SCALE, receiveSpace } from './receive-window.ts';
import { armProbe } from './recovery-timer.ts';
import { armRetransmission, timeSegment } from './rtt.ts';
import { takeSackBlocks } from './sack-blocks.ts';
import { startMarks } from './scoreboard.ts';
import { timestampClock } from './segment.ts';
import { RCV_SACK_BLOCKS, RECOVERING, type Tcb, TcbFlag } from './tcb.ts';

/** Largest payload of a superpacket: an IP packet of 64 KiB less the longest headers. */
const SUPERPACKET_PAYLOAD_BYTES = 65_535 - 40 - 60;

/** Room that is waited for where the path is fast: four superpackets, received by one call. */
const WORTH_WAITING_BYTES = 4 * SUPERPACKET_PAYLOAD_BYTES;

const synOptions: SynOptions = { mss: 0, windowScale: -1, sackPermitted: false };
/** Filled and read by one call of `sendSegment`. */
const segmentOptions: SegmentOptions = {
  hasTimestamps: false,
  tsValue: 0,
  tsEcho: 0,
  sackCount: 0,
  sackEdges: new Uint32Array(2 * RCV_SACK_BLOCKS),
};

/**
 * Sends a segment of the current flow; every segment carries the newest acknowledgment.
 * The headroom in front of the payload is overwritten.
 *
 * @param ecn  ECT(0) on new data only: RFC 3168 §6.1.4 to §6.1.6
 */
export function sendSegment(
  tcp: TcpContext,
  seq: Seq,
  flags: number,
  payloadAt: number,
  payloadLength: number,
  now: Instant,
  ecn: Ecn = Ecn.NOT_ECT,
): boolean {
  const tcb = tcp.tcb;
  const window = advanceWindow(tcp);
  fillOptions(tcp, flags, now);
  const echo = tcb.has(TcbFlag.ECE_OWED) && (flags & TcpFlag.RST) === 0 ? TcpFlag.ECE : 0;
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.unackedBytes = 0;
  tcb.ackDeadline = NEVER;
  tcb.lower(TcbFlag.ACK_NOW);
  tcb.count(FlowField.PACKETS_DOWN, 1);
  return tcp.egress.tcp(
    tcb.flowAt,
    seq,
    tcb.rcvNxt,
    flags | echo | TcpFlag.ACK,
    window,
    segmentOptions,
    payloadAt,
    payloadLength,
    // SACK blocks stand on every packet that the segment is cut into.
    tcb.mss - sackBytes(segmentOptions.sackCount),
    ecn,
  );
}

function fillOptions(tcp: TcpContext, flags: number, now: Instant): void {
  const tcb = tcp.tcb;
  const hasTimestamps = tcb.has(TcbFlag.TIMESTAMPS);
  segmentOptions.hasTimestamps = hasTimestamps;
  segmentOptions.sackCount = 0;
  if (hasTimestamps) {
    segmentOptions.tsValue = (timestampClock(now) + tcb.tsOffset) >>> 0;
    segmentOptions.tsEcho = tcb.tsRecent;
  }
  if (tcb.rcvSackCount === 0 && !tcb.has(TcbFlag.DSACK_OWED)) return;
  if (!tcb.has(TcbFlag.SACK) || (flags & TcpFlag.RST) !== 0) return;
  // Forty bytes of options hold four blocks, or three beside timestamps.
  const limit = hasTimestamps ? RCV_SACK_BLOCKS - 1 : RCV_SACK_BLOCKS;
  segmentOptions.sackCount = takeSackBlocks(tcb, segmentOptions.sackEdges, limit);
}

/** `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`. */
export function sendAck(tcp: TcpContext, now: Instant): void {
  sendSegment(tcp, tcp.tcb.sndNxt, 0, 0, 0, now);
}

/** `<SEQ=ISS><CTL=SYN>`, the first time or again, with the options that the TCB's flags say. */
export function sendSyn(tcp: TcpContext, now: Instant): void {
  sendHandshake(tcp, TcpFlag.SYN, now);
}

/** `<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>`, the first time or again. */
export function sendSynAck(tcp: TcpContext, now: Instant): void {
  sendHandshake(tcp, TcpFlag.SYN | TcpFlag.ACK, now);
}

/** In SYN-SENT, RCV.NXT and TS.Recent are 0, and so are the fields of the SYN. */
function sendHandshake(tcp: TcpContext, flags: number, now: Instant): void {
  const tcb = tcp.tcb;
  const hasTimestamps = tcb.has(TcbFlag.TIMESTAMPS);
  synOptions.mss = tcp.egress.mssFor(familyOf(tcp));
  synOptions.windowScale = tcb.has(TcbFlag.SCALING) ? RECEIVE_SCALE : -1;
  synOptions.sackPermitted = tcb.has(TcbFlag.SACK);
  // RFC 7323 §2.2: the window of a SYN is not scaled.
  const window = Math.min(0xffff, Math.max(receiveSpace(tcp), tcb.rcvWnd));
  tcb.rcvEdge = seqAdd(tcb.rcvNxt, window);
  tcb.lastAckSent = tcb.rcvNxt;
  tcb.count(FlowField.PACKETS_DOWN, 1);
  tcp.egress.syn(
    tcb.flowAt,
    tcb.iss,
    tcb.rcvNxt,
    flags | (flags === TcpFlag.SYN ? 0 : setupAnswer(tcb)),
    window,
    synOptions,
    hasTimestamps,
    hasTimestamps ? (timestampClock(now) + tcb.tsOffset) >>> 0 : 0,
    tcb.tsRecent,
  );
}

/** `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>`: the client learns at once. */
export function sendReset(tcp: TcpContext, now: Instant): void {
  tcp.counters.add(Counter.TCP_RESETS_SENT);
  sendSegment(tcp, tcp.tcb.sndNxt, TcpFlag.RST, 0, 0, now);
}

/** `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`: a held SYN is refused, RFC 9293 §3.10.7.1. */
export function sendRefusal(tcp: TcpContext): void {
  tcp.counters.add(Counter.TCP_RESETS_SENT);
  tcp.egress.bareTcpOf(tcp.tcb.flowAt, asSeq(0), tcp.tcb.rcvNxt, TcpFlag.RST | TcpFlag.ACK);
}

/** Payload of the largest segment that can be handed to the device at once. */
export const superpacketBytes = (tcb: Tcb): number =>
  SUPERPACKET_PAYLOAD_BYTES - (SUPERPACKET_PAYLOAD_BYTES % tcb.mss);

/**
 * Bytes of new data that may be sent now, in pieces of a superpacket at most; 0 when it is better
 * to wait. Sender's silly window avoidance, RFC 9293 §3.8.6.2.1: a full segment, or half of the
 * largest window seen, or nothing is in flight that could bring a better answer. A flow that waits
 * for the pacer will be woken.
 */
export function sendRoom(tcp: TcpContext, now: Instant): number {
  const tcb = tcp.tcb;
  if (tcb.has(TcbFlag.FIN_SENT) || tcb.ecnPause !== 0) return 0;
  // What was lost goes first.
  if (tcb.lostBytes > 0) return 0;
  if (tcb.has(TcbFlag.LOSS_RECOVERY) && !tcb.has(TcbFlag.SACK)) return 0;
  const flight = tcb.flightSize;
  const slabRoom = tcp.settings.slabBytesPerFlow - tcb.sendSlabBytes;
  let room = Math.min(
    tcb.sndWnd - flight,
    tcb.cwnd + limitedTransmit(tcb) - tcb.inFlight,
    slabRoom,
  );
  if (room <= 0) return 0;
  const mss = tcb.mss;
  if (flight !== 0) {
    if (room < worthSending(tcb) || room < Math.min(mss, tcb.maxSndWnd >>> 1)) return 0;
    if (room < mtuProbeRoom(tcb, tcp.settings.slabBytesPerFlow)) return 0;
  }
  if (tcb.has(TcbFlag.PACED)) room = Math.min(room, paceSlabRoom(tcp, now));
  const probe = mtuProbeBytes(tcb);
  if (probe > 0 && room >= probe) return probe;
  return room > mss ? room - (room % mss) : room;
}

/**
 * Limited transmit, RFC 3042: the first two duplicate ACKs of a peer without SACK each let one new
 * segment out, so that a small window brings the third. With SACK, `inFlight` leaves out what has
 * arrived.
 */
const limitedTransmit = (tcb: Tcb): number =>
  tcb.dupAcks === 0 || tcb.has(RECOVERING) ? 0 : Math.min(tcb.dupAcks, 2) * tcb.mss;

/**
 * While acknowledgments are due, it pays to wait for room for several superpackets: up to a quarter
 * of the window, but no more than the path takes in a millisecond, so that a far peer gets no
 * bursts. In recovery the acknowledgments that come are the clock, and each one counts.
 */
function worthSending(tcb: Tcb): number {
  if (tcb.sackedBytes > 0 || tcb.dupAcks > 0 || tcb.has(RECOVERING)) return tcb.mss;
  const perMillisecond = (tcb.cwnd * 1000) / Math.max(1, tcb.srttUs);
  return Math.min(
    WORTH_WAITING_BYTES,
    tcb.cwnd >>> 2,
    tcb.maxSndWnd >>> 1,
    Math.max(perMillisecond, 2 * tcb.mss),
  );
}

/**
 * Sends `length` bytes of new data that lie in the slab, and keeps the slab until they are
 * acknowledged.
 *
 * @param isLast  a FIN follows the data, on the same segment
 */
export function transmitSlab(
  tcp: TcpContext,
  slabAt: number,
  length: number,
  isLast: boolean,
  now: Instant,
): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const { mss, sndNxt: seq } = tcb;
  // Restored below: the one packet of a probe is longer than others.
  tcb.mss = takeMtuProbe(tcb, seq, length);
  view.setInt32(slabAt + SlabField.NEXT, NO_SLAB, true);
  view.setUint32(slabAt + SlabField.SEQ, seq, true);
  view.setUint32(slabAt + SlabField.LENGTH, length, true);
  view.setUint32(slabAt + SlabField.TAKEN, 0, true);
  if (tcb.sendTail === NO_SLAB) tcb.sendHead = slabAt;
  else view.setInt32(tcb.sendTail + SlabField.NEXT, slabAt, true);
  tcb.sendTail = slabAt;
  tcb.sendSlabBytes += tcp.slabs.sizeOf(slabAt);
  const wasIdle = tcb.sndUna === seq;
  if (wasIdle) tcb.unackedSinceMs = timestampClock(now);
  tcb.lastSentAt = now;
  tcb.sndNxt = seqAdd(seq, length + (isLast ? 1 : 0));
  if (isLast) {
    tcb.raise(TcbFlag.FIN_SENT);
    tcb.lower(TcbFlag.SEND_WANTED);
  }
  const flags = (isLast ? TcpFlag.PSH | TcpFlag.FIN : TcpFlag.PSH) | takeCwr(tcb);
  const ecn = tcb.sendsEct ? Ecn.ECT_0 : Ecn.NOT_ECT;
  if (tcb.has(TcbFlag.PACED)) notePaced(tcp, length, now);
  sendSegment(tcp, seq, flags, slabAt + SLAB_PAYLOAD_AT, length, now, ecn);
  const packet = tcb.mss - sackBytes(segmentOptions.sackCount);
  tcb.mss = mss;
  if (wasIdle || tcb.rtxDeadline === NEVER) armRetransmission(tcp, now);
  if (tcb.has(TcbFlag.SACK)) {
    startMarks(view, slabAt, length, packet, now);
    if (tcb.congestion === CongestionControl.BBR) {
      if (wasIdle) restartBbr(tcp, now);
      noteSendState(tcp, slabAt, wasIdle, now);
    }
    if (tcb.has(TcbFlag.FAST_RECOVERY)) tcb.prrOut += length;
    armProbe(tcp, now);
  } else {
    timeSegment(tcp, tcb.sndNxt, now);
  }
  tcb.count(FlowField.BYTES_DOWN, length);
  tcp.counters.countFlow(FlowCount.BYTES_DOWN, view, tcb.flowAt, length);
  tcb.touch(now);
}

/** Sends FIN behind everything that was sent. */
export function sendFin(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const seq = tcb.sndNxt;
  tcb.raise(TcbFlag.FIN_SENT);
  tcb.lower(TcbFlag.SEND_WANTED);
  if (tcb.sndUna === seq) tcb.unackedSinceMs = timestampClock(now);
  tcb.sndNxt = seqAdd(seq, 1);
  sendSegment(tcp, seq, TcpFlag.FIN, 0, 0, now);
  if (tcb.rtxDeadline === NEVER) armRetransmission(tcp, now);
  if (tcb.has(TcbFlag.SACK)) armProbe(tcp, now);
  tcb.touch(now);
}

const familyOf = (tcp: TcpContext): number =>
  tcp.arena.view.getUint8(tcp.tcb.flowAt + FlowField.FAMILY);
