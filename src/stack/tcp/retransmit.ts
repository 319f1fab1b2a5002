/**
 * Sending again: from the send queue, whose slabs still hold what was sent. A header in front of
 * bytes in the middle of a slab covers bytes before them, which may be needed yet: they are set
 * aside and put back.
 */
import { Counter } from '../counters.ts';
import { FlowField } from '../flow-row.ts';
import { NO_SLAB, SLAB_HEADROOM_BYTES, SLAB_PAYLOAD_AT, SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGe, seqLt } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { noteMtuProbeLost } from './black-hole.ts';
import type { TcpContext } from './context.ts';
import { sendSegment, sendSyn, sendSynAck } from './output.ts';
import { armRetransmission, stopTiming } from './rtt.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';

/** Sends the oldest unacknowledged segment again: at most one full-sized segment. */
export function retransmitOldest(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.state === TcpState.SYN_RECEIVED || tcb.state === TcpState.SYN_SENT) {
    countRetransmit(tcp);
    stopTiming(tcp);
    if (tcb.state === TcpState.SYN_SENT) sendSyn(tcp, now);
    else sendSynAck(tcp, now);
    return;
  }
  sendAgain(tcp, tcb.sndUna, tcb.mss, now);
}

/**
 * Recovery after a timeout: sends again what lies between `rtxNxt` and `recover`, as far as the
 * congestion window allows.
 */
export function retransmitLost(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (seqLt(tcb.rtxNxt, tcb.sndUna)) tcb.rtxNxt = tcb.sndUna;
  while (seqLt(tcb.rtxNxt, tcb.recover)) {
    const ahead = seqDiff(tcb.rtxNxt, tcb.sndUna);
    const room = Math.min(tcb.cwnd, Math.max(tcb.sndWnd, tcb.mss)) - ahead;
    if (room <= 0 || (room < tcb.mss && ahead > 0)) return;
    const sent = sendAgain(tcp, tcb.rtxNxt, room, now);
    if (sent === 0) return;
    tcb.rtxNxt = seqAdd(tcb.rtxNxt, sent);
  }
}

/** Begins to send the whole flight again, for a client that does not say what it has. */
export function goBack(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  tcb.lower(TcbFlag.FAST_RECOVERY);
  tcb.raise(TcbFlag.LOSS_RECOVERY);
  tcb.dupAcks = 0;
  tcb.recover = tcb.sndNxt;
  tcb.rtxNxt = tcb.sndUna;
  retransmitLost(tcp, now);
  armRetransmission(tcp, now);
}

/** @returns sequence numbers covered, 0 when there is nothing at `seq` */
function sendAgain(tcp: TcpContext, seq: Seq, limit: number, now: Instant): number {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  stopTiming(tcp);
  let slabAt = tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const start = asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
    const length = view.getUint32(slabAt + SlabField.LENGTH, true);
    const offset = seqDiff(seq, start);
    if (offset < length) {
      if (offset < 0) return 0;
      let bytes = Math.min(length - offset, limit);
      if (bytes > tcb.mss) bytes -= bytes % tcb.mss;
      countRetransmit(tcp);
      noteMtuProbeLost(tcp, slabAt, now);
      sendFromSlab(tcp, slabAt, offset, bytes, seq, TcpFlag.PSH, now);
      return bytes;
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  if (tcb.has(TcbFlag.FIN_SENT) && seqGe(seq, seqAdd(tcb.sndNxt, -1)) && seq !== tcb.sndNxt) {
    countRetransmit(tcp);
    sendSegment(tcp, seq, TcpFlag.FIN, 0, 0, now);
    return 1;
  }
  return 0;
}

/** Sends bytes from the middle of a slab. What the header covers is put back. */
export function sendFromSlab(
  tcp: TcpContext,
  slabAt: number,
  offset: number,
  bytes: number,
  seq: Seq,
  flags: number,
  now: Instant,
): void {
  const payloadAt = slabAt + SLAB_PAYLOAD_AT + offset;
  if (offset === 0) {
    sendSegment(tcp, seq, flags, payloadAt, bytes, now);
    return;
  }
  const memory = tcp.arena.bytes;
  const asideAt = tcp.asideAt;
  const coveredAt = payloadAt - SLAB_HEADROOM_BYTES;
  memory.copyWithin(asideAt, coveredAt, payloadAt);
  sendSegment(tcp, seq, flags, payloadAt, bytes, now);
  memory.copyWithin(coveredAt, asideAt, asideAt + SLAB_HEADROOM_BYTES);
}

export function countRetransmit(tcp: TcpContext): void {
  const at = tcp.tcb.flowAt + FlowField.RETRANSMITS;
  tcp.arena.view.setUint32(at, tcp.arena.view.getUint32(at, true) + 1, true);
  tcp.counters.add(Counter.TCP_RETRANSMITS);
}
