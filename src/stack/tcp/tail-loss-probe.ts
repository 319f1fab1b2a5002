/** Tail loss probes, RFC 8985 §7: sending one, and what its answer means. */
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { asSeq, seqAdd, seqDiff, seqGe, seqGt } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { noteMtuProbeLost } from './black-hole.ts';
import { cutOnLoss, endRecovery } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { sendSegment } from './output.ts';
import { countRetransmit, sendFromSlab } from './retransmit.ts';
import { armRetransmission } from './rtt.ts';
import { markResent, unitOf } from './scoreboard.ts';
import { RECOVERING, TcbFlag } from './tcb.ts';

/** TLP_send_probe, RFC 8985 §7.3: the last segment again. */
export function sendProbe(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const slabAt = tcb.sendTail;
  tcb.raise(TcbFlag.PROBING);
  tcb.probeEnd = tcb.sndNxt;
  if (slabAt === NO_SLAB) {
    countRetransmit(tcp);
    sendSegment(tcp, seqAdd(tcb.sndNxt, -1), TcpFlag.FIN, 0, 0, now);
  } else {
    probeTail(tcp, slabAt, now);
  }
  armRetransmission(tcp, now);
}

function probeTail(tcp: TcpContext, slabAt: number, now: Instant): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const start = asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
  const length = view.getUint32(slabAt + SlabField.LENGTH, true);
  const unit = unitOf(view, slabAt);
  const units = Math.ceil(length / unit);
  const from = Math.max((units - 1) * unit, seqDiff(tcb.sndUna, start));
  markResent(tcp, slabAt, units - 1, units, now);
  countRetransmit(tcp);
  // Lost for its size, it needs no cut of the window when it arrives now.
  if (noteMtuProbeLost(tcp, slabAt, now)) tcb.lower(TcbFlag.PROBING);
  const flags = tcb.has(TcbFlag.FIN_SENT) ? TcpFlag.PSH | TcpFlag.FIN : TcpFlag.PSH;
  sendFromSlab(tcp, slabAt, from, length - from, seqAdd(start, from), flags, now);
}

/**
 * TLP_process_ack, RFC 8985 §7.4.2. When everything is acknowledged that was in flight at the
 * probe, and the probe did not arrive twice, then it repaired a loss: the window is cut for it.
 */
export function endProbe(tcp: TcpContext): void {
  const { tcb, news } = tcp;
  if (!tcb.has(TcbFlag.PROBING) || !seqGe(tcb.sndUna, tcb.probeEnd)) return;
  const isTwice = news.hasDsack && news.dsackRight === tcb.probeEnd;
  if (isTwice || seqGt(tcb.sndUna, tcb.probeEnd)) {
    tcb.lower(TcbFlag.PROBING);
    if (isTwice || tcb.has(RECOVERING)) return;
    tcb.lower(TcbFlag.UNDOABLE);
    cutOnLoss(tcb, tcb.cwnd);
    endRecovery(tcb);
  }
}

/**
 * The same, case 2: a peer that reports no duplicates repeats its ACK when the probe arrived twice.
 * The ACK in hand repeats what was acknowledged.
 */
export function endProbeOnRepeatedAck(tcp: TcpContext): void {
  const { tcb, segment } = tcp;
  if (segment.options.sackCount === 0 && tcb.sndUna === tcb.probeEnd) tcb.lower(TcbFlag.PROBING);
}
