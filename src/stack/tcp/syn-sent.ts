/** A segment in SYN-SENT, RFC 9293 §3.10.7.3, heading for heading. */
import { CloseReason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { ClosedBy, FlowField } from '../flow-row.ts';
import type { Instant } from '../time.ts';
import { seqAdd, seqGt, seqLe } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { processAck } from './acknowledgment.ts';
import { oweAckNow } from './answers.ts';
import { endFlow } from './close.ts';
import type { TcpContext } from './context.ts';
import { sendSynAck } from './output.ts';
import { readSyn } from './peer-syn.ts';
import { armRetransmission, stopTiming } from './rtt.ts';
import {
  establish,
  sendUnacceptableReset,
  takeTextAndFin,
  trimToWindow,
} from './segment-arrives.ts';
import { TcpState } from './states.ts';

/** The segment of a flow in SYN-SENT; `tcp.tcb` and `tcp.segment` are set. */
export function synSentArrives(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  tcb.count(FlowField.PACKETS_UP, 1);
  // First: the ACK.
  if (segment.has(TcpFlag.ACK)) {
    if (!seqGt(segment.ack, tcb.iss) || !seqLe(segment.ack, tcb.sndNxt)) {
      if (!segment.has(TcpFlag.RST)) sendUnacceptableReset(tcp);
      return DropReason.UNACCEPTABLE_ACK;
    }
  }
  // Second: RST.
  if (segment.has(TcpFlag.RST)) return onReset(tcp, now);
  // Third, security: IP security compartments are not supported.
  // Fourth: SYN.
  if (segment.has(TcpFlag.SYN)) return onSyn(tcp, now);
  // Fifth: neither SYN nor RST.
  return DropReason.NO_FLOW;
}

/**
 * RFC 5961 §3.2 leaves this state out of its check of the sequence number, of which nothing is
 * known here: the ACK of our SYN proves that the sender has seen it.
 */
function onReset(tcp: TcpContext, now: Instant): DropReason {
  if (!tcp.segment.has(TcpFlag.ACK)) return DropReason.NO_ACK;
  tcp.counters.add(Counter.TCP_RESETS_RECEIVED);
  endFlow(tcp, CloseReason.DIAL_REFUSED, ClosedBy.UPSTREAM, now);
  return DropReason.NONE;
}

function onSyn(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  // What our SYN has promised stands, wherever the peer's numbers begin.
  const window = tcb.rcvWnd;
  tcb.lastReceivedAt = now;
  readSyn(tcp, segment.seq, false, false);
  tcb.rcvEdge = seqAdd(tcb.rcvNxt, window);
  tcb.lastAckSent = tcb.rcvNxt;
  if (!segment.has(TcpFlag.ACK)) {
    cross(tcp, now);
    return DropReason.NONE;
  }
  segment.trimFront(1);
  trimToWindow(tcp);
  // At the end of the batch, unless the owner's first bytes carry it.
  oweAckNow(tcp);
  establish(tcp, now);
  if (tcb.isGone) return DropReason.NONE;
  const refused = processAck(tcp, now);
  if (refused !== DropReason.NONE || tcb.isGone) return refused;
  return takeTextAndFin(tcp, now);
}

/**
 * Simultaneous open: the peer's SYN has met ours on the way. "If there are other controls or text
 * in the segment, queue them": they are not kept here, nor acknowledged, so that they come again.
 */
function cross(tcp: TcpContext, now: Instant): void {
  tcp.tcb.transition(TcpState.SYN_RECEIVED);
  // The ACK that follows may be for our SYN or for the SYN-ACK: Karn.
  stopTiming(tcp);
  sendSynAck(tcp, now);
  armRetransmission(tcp, now);
}
