/**
 * The seventh and eighth steps of RFC 9293 §3.10.7.4: segment text and FIN.
 *
 * In-order bytes go to the owner straight from where the device left them. What the owner does not
 * take is acknowledged all the same and waits in the backlog; what arrives out of order waits in
 * the assembly, sorted by sequence number. Both are lists of slabs and bounded by the window.
 */
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { FlowCount } from '../flow-counts.ts';
import { FlowField, FlowPhase } from '../flow-row.ts';
import {
  LARGE_SLAB_PAYLOAD_BYTES,
  MEDIUM_SLAB_PAYLOAD_BYTES,
  NO_SLAB,
  SLAB_PAYLOAD_AT,
  SlabField,
} from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { asSeq, seqAdd, seqDiff, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { acknowledgeQuickly, oweAck, oweAckNow, takeQuickAck } from './answers.ts';
import type { TcpContext } from './context.ts';
import { isWindowWorthTelling, receiveBuffer, tuneWindow } from './receive-window.ts';
import { forgetTaken, noteDuplicate, noteEarly } from './sack-blocks.ts';
import { TcbFlag } from './tcb.ts';

/** Out-of-order segments of one flow; more than any window of full segments holds. */
const ASSEMBLY_LIMIT = 1024;

/** Takes the text of the segment, which the window check has trimmed. */
export function acceptText(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (segment.payloadLength > tcb.rcvMss) {
    tcb.rcvMss = Math.min(segment.payloadLength, tcp.egress.capabilities.mtu);
  }
  if (segment.seq !== tcb.rcvNxt) return assemble(tcp);
  const taken = deliver(tcp, segment.payloadAt, segment.payloadLength, now);
  if (tcb.isGone) return DropReason.NONE;
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, taken);
  tcb.unackedBytes += taken;
  tcb.count(FlowField.BYTES_UP, taken);
  tcb.touch(now);
  tcp.counters.countFlow(FlowCount.BYTES_UP, tcp.arena.view, tcb.flowAt, taken);
  if (taken < segment.payloadLength) {
    oweAckNow(tcp);
    return DropReason.SLAB_BUDGET;
  }
  if (tcb.assemblyHead !== NO_SLAB) {
    drainAssembly(tcp, now);
    if (tcb.isGone) return DropReason.NONE;
    forgetTaken(tcb);
    oweAckNow(tcp);
  } else if (takeQuickAck(tcb)) {
    oweAckNow(tcp);
  } else {
    oweAck(tcp);
  }
  tuneWindow(tcp, now);
  return DropReason.NONE;
}

/** Takes the peer's FIN when everything before it has arrived. @returns true if taken now */
export function takeFin(tcp: TcpContext): boolean {
  const tcb = tcp.tcb;
  if (!tcb.has(TcbFlag.FIN_SEEN) || tcb.has(TcbFlag.FIN_RECEIVED)) return false;
  if (tcb.rcvNxt !== tcb.finSeq) return false;
  tcb.rcvNxt = seqAdd(tcb.rcvNxt, 1);
  tcb.raise(TcbFlag.FIN_RECEIVED);
  if (!tcb.isWaiting) tcb.phase = FlowPhase.CLOSING;
  // What arrived from behind the FIN will never be delivered.
  releaseList(tcp, tcb.assemblyHead);
  tcb.assemblyHead = tcb.assemblyTail = NO_SLAB;
  tcb.assemblyBytes = tcb.assemblyCount = 0;
  tcb.rcvSackCount = 0;
  oweAckNow(tcp);
  return true;
}

/** The peer's FIN has just been taken: the owner hears of it now, or that it waits. */
export function announceFin(tcp: TcpContext, now: Instant): void {
  deliverFin(tcp, now);
  const { tcb } = tcp;
  if (tcb.isGone || tcb.backlogHead === NO_SLAB || tcb.isWaiting) return;
  tcp.owner.onWaiting(tcb.row, now);
}

/** Tells the owner of the peer's FIN once it has taken everything before it. */
function deliverFin(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (!tcb.has(TcbFlag.FIN_RECEIVED) || tcb.has(TcbFlag.FIN_DELIVERED)) return;
  if (tcb.has(TcbFlag.REPORTED) || !isOwnerNext(tcp)) return;
  tcb.raise(TcbFlag.FIN_DELIVERED);
  tcp.owner.onFin(tcb.row, now);
}

/** Hands the backlog to the owner, as far as it takes it, and opens the window again. */
export function drainBacklog(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  while (tcb.backlogHead !== NO_SLAB && !tcb.has(TcbFlag.REPORTED)) {
    const slabAt = tcb.backlogHead;
    const taken = view.getUint32(slabAt + SlabField.TAKEN, true);
    const length = view.getUint32(slabAt + SlabField.LENGTH, true) - taken;
    const more = tcp.owner.onData(tcb.row, slabAt + SLAB_PAYLOAD_AT + taken, length, now);
    if (tcb.isGone) return;
    if (more > 0) tcb.touch(now);
    tcb.backlogBytes -= more;
    if (more < length) {
      view.setUint32(slabAt + SlabField.TAKEN, taken + more, true);
      break;
    }
    tcb.backlogHead = view.getInt32(slabAt + SlabField.NEXT, true);
    if (tcb.backlogHead === NO_SLAB) tcb.backlogTail = NO_SLAB;
    tcp.slabs.release(slabAt);
  }
  if (tcb.has(TcbFlag.REPORTED)) return;
  deliverFin(tcp, now);
  if (tcb.isGone) return;
  if (!tcb.has(TcbFlag.FIN_RECEIVED) && isWindowWorthTelling(tcp)) oweAckNow(tcp);
}

/** Gives back all slabs of a list. @param headAt  first slab, or NO_SLAB */
export function releaseList(tcp: TcpContext, headAt: number): void {
  let slabAt = headAt;
  while (slabAt !== NO_SLAB) {
    const next = tcp.arena.view.getInt32(slabAt + SlabField.NEXT, true);
    tcp.slabs.release(slabAt);
    slabAt = next;
  }
}

/** Nothing waits in front, and the owner has accepted the flow. */
const isOwnerNext = ({ tcb }: TcpContext): boolean => tcb.backlogHead === NO_SLAB && !tcb.isWaiting;

/** @returns bytes that were taken or kept; fewer only when the slab budget is used up */
function deliver(tcp: TcpContext, at: number, length: number, now: Instant): number {
  const tcb = tcp.tcb;
  let taken = 0;
  if (isOwnerNext(tcp)) {
    taken = tcp.owner.onData(tcb.row, at, length, now);
    if (taken < length && !tcb.isGone) taken += keep(tcp, at + taken, length - taken);
  } else {
    taken = keep(tcp, at, length);
    if (!tcb.isWaiting) tcp.owner.onWaiting(tcb.row, now);
  }
  return taken;
}

/** Copies bytes behind the backlog. @returns how many found a slab */
function keep(tcp: TcpContext, at: number, length: number): number {
  const tcb = tcp.tcb;
  const { view, bytes } = tcp.arena;
  let kept = 0;
  while (kept < length) {
    let slabAt = tcb.backlogTail;
    let used = slabAt === NO_SLAB ? 0 : view.getUint32(slabAt + SlabField.LENGTH, true);
    let free = slabAt === NO_SLAB ? 0 : tcp.slabs.payloadOf(slabAt) - used;
    if (free === 0) {
      // A backlog that has begun will grow: small slabs are for the first bytes only.
      const wanted = Math.max(length - kept, slabAt === NO_SLAB ? 0 : MEDIUM_SLAB_PAYLOAD_BYTES);
      slabAt = takeSlab(tcp, Math.min(wanted, LARGE_SLAB_PAYLOAD_BYTES));
      if (slabAt === NO_SLAB) break;
      linkBacklog(tcp, slabAt);
      view.setUint32(slabAt + SlabField.LENGTH, 0, true);
      used = 0;
      free = tcp.slabs.payloadOf(slabAt);
    }
    const part = Math.min(free, length - kept);
    bytes.copyWithin(slabAt + SLAB_PAYLOAD_AT + used, at + kept, at + kept + part);
    view.setUint32(slabAt + SlabField.LENGTH, used + part, true);
    kept += part;
  }
  tcb.backlogBytes += kept;
  return kept;
}

/**
 * Copies bytes behind those of the backlog's last slab, if there is room: a slab for each of many
 * small early segments would hold far more memory than they are long.
 */
function mergeIntoTail(tcp: TcpContext, at: number, length: number): boolean {
  const tail = tcp.tcb.backlogTail;
  if (tail === NO_SLAB) return false;
  const used = tcp.arena.view.getUint32(tail + SlabField.LENGTH, true);
  return tcp.slabs.payloadOf(tail) - used >= length && keep(tcp, at, length) === length;
}

function linkBacklog(tcp: TcpContext, slabAt: number): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  view.setInt32(slabAt + SlabField.NEXT, NO_SLAB, true);
  view.setUint32(slabAt + SlabField.TAKEN, 0, true);
  if (tcb.backlogTail === NO_SLAB) tcb.backlogHead = slabAt;
  else view.setInt32(tcb.backlogTail + SlabField.NEXT, slabAt, true);
  tcb.backlogTail = slabAt;
}

function takeSlab(tcp: TcpContext, payloadLength: number): number {
  const slabAt = tcp.slabs.take(payloadLength);
  if (slabAt === NO_SLAB && payloadLength > MEDIUM_SLAB_PAYLOAD_BYTES) {
    return tcp.slabs.take(MEDIUM_SLAB_PAYLOAD_BYTES);
  }
  return slabAt;
}

/** Keeps a segment that arrived too early: RFC 9293 §3.10.7.4, "held for later processing". */
function assemble(tcp: TcpContext): DropReason {
  const { tcb, segment } = tcp;
  const { view, bytes } = tcp.arena;
  tcp.counters.add(Counter.TCP_OUT_OF_ORDER);
  acknowledgeQuickly(tcb);
  oweAckNow(tcp);
  if (segment.payloadLength === 0) return DropReason.NONE;
  // Segments may overlap, so that the window alone does not bound what they hold.
  const bytesLeft = receiveBuffer(tcp) - tcb.assemblyBytes;
  if (tcb.assemblyCount >= ASSEMBLY_LIMIT || segment.payloadLength > bytesLeft) {
    return DropReason.OUT_OF_ORDER_LIMIT;
  }
  // What came early will come again; the last slabs are for what came in order.
  if (tcp.slabs.isLean) return DropReason.SLAB_BUDGET;
  const textEnd = seqAdd(segment.seq, segment.payloadLength);
  let previous = NO_SLAB;
  let next = tcb.assemblyHead;
  const tail = tcb.assemblyTail;
  if (tail !== NO_SLAB && seqLe(endOf(view, tail), segment.seq)) {
    previous = tail;
    next = NO_SLAB;
  }
  while (next !== NO_SLAB && seqLe(startOf(view, next), segment.seq)) {
    previous = next;
    next = view.getInt32(next + SlabField.NEXT, true);
  }
  if (previous !== NO_SLAB && !seqGt(textEnd, endOf(view, previous))) {
    noteDuplicate(tcb, segment.seq, textEnd);
    if (tcb.has(TcbFlag.SACK)) noteEarly(tcb, segment.seq, textEnd);
    return DropReason.DUPLICATE;
  }
  const slabAt = tcp.slabs.take(segment.payloadLength);
  if (slabAt === NO_SLAB) return DropReason.SLAB_BUDGET;
  const { payloadAt, payloadLength } = segment;
  bytes.copyWithin(slabAt + SLAB_PAYLOAD_AT, payloadAt, payloadAt + payloadLength);
  view.setUint32(slabAt + SlabField.SEQ, segment.seq, true);
  view.setUint32(slabAt + SlabField.LENGTH, payloadLength, true);
  view.setUint32(slabAt + SlabField.TAKEN, 0, true);
  view.setInt32(slabAt + SlabField.NEXT, next, true);
  if (previous === NO_SLAB) tcb.assemblyHead = slabAt;
  else view.setInt32(previous + SlabField.NEXT, slabAt, true);
  if (next === NO_SLAB) tcb.assemblyTail = slabAt;
  tcb.assemblyBytes += payloadLength;
  tcb.assemblyCount += 1;
  if (tcb.has(TcbFlag.SACK)) noteEarly(tcb, segment.seq, textEnd);
  return DropReason.NONE;
}

/** Delivers what is no longer early. Slabs that the owner does not take become backlog. */
function drainAssembly(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  while (tcb.assemblyHead !== NO_SLAB) {
    const slabAt = tcb.assemblyHead;
    const start = startOf(view, slabAt);
    if (seqLt(tcb.rcvNxt, start)) return;
    const length = view.getUint32(slabAt + SlabField.LENGTH, true);
    tcb.assemblyHead = view.getInt32(slabAt + SlabField.NEXT, true);
    if (tcb.assemblyHead === NO_SLAB) tcb.assemblyTail = NO_SLAB;
    tcb.assemblyBytes -= length;
    tcb.assemblyCount -= 1;
    const known = seqDiff(tcb.rcvNxt, start);
    const fresh = length - known;
    if (fresh <= 0) {
      tcp.slabs.release(slabAt);
      continue;
    }
    const freshAt = slabAt + SLAB_PAYLOAD_AT + known;
    const taken = isOwnerNext(tcp) ? tcp.owner.onData(tcb.row, freshAt, fresh, now) : 0;
    if (tcb.isGone) {
      tcp.slabs.release(slabAt);
      return;
    }
    tcb.rcvNxt = seqAdd(tcb.rcvNxt, fresh);
    tcb.count(FlowField.BYTES_UP, fresh);
    tcp.counters.countFlow(FlowCount.BYTES_UP, tcp.arena.view, tcb.flowAt, fresh);
    if (taken === fresh || mergeIntoTail(tcp, freshAt + taken, fresh - taken)) {
      tcp.slabs.release(slabAt);
    } else {
      linkBacklog(tcp, slabAt);
      view.setUint32(slabAt + SlabField.TAKEN, known + taken, true);
      tcb.backlogBytes += fresh - taken;
    }
  }
}

const startOf = (view: DataView, slabAt: number) =>
  asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
const endOf = (view: DataView, slabAt: number) =>
  seqAdd(startOf(view, slabAt), view.getUint32(slabAt + SlabField.LENGTH, true));
