/**
 * Black holes: paths that swallow what is too long for them, and the ICMP error with it. In the
 * spirit of RFC 4821 and RFC 8899; what Linux does with net.ipv4.tcp_mtu_probing=1 is the model.
 *
 * A full-sized segment that times out three times lies before such a hole, or before a path that
 * is gone for a while. Nobody can tell which; so segments become shorter (`suspectBlackHole`), and
 * again with each second timeout. When the shortest do not arrive either, it is no hole, and the
 * size is what it was. When they do, and recovery is over, one packet of new data goes out in the
 * old size, while the others stay short: a probe (RFC 4821 §7). It arrives: there is no hole, and
 * all is as before. It is lost: there is one. That is no sign of congestion (RFC 4821 §3), and the
 * window stays. After three lost probes the flow stays with what it has. The first one tells later
 * flows to the same client to begin with the base, the third with this size (path-mtu-cache.ts). A
 * probe that is lost with others says nothing, nor does one about which an error came.
 *
 *   fullMss      0 when nothing is suspected, else the size to come back to
 *   MTU_PROBING  a probe is in flight; it is the packet that ends at mtuProbeEnd
 */
import { Counter } from '../counters.ts';
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGe } from '../wire/seq.ts';
import type { TcpContext } from './context.ts';
import { isIpv4, packetHeaders } from './packet-headers.ts';
import { RECOVERING, type Tcb, TcbFlag } from './tcb.ts';

/** As Linux (net.ipv4.tcp_base_mss), and the idea of RFC 8899's BASE_PLPMTU: nearly all take it. */
const BASE_MSS_IPV4 = 1024;
/** Shorter packets than this are not worth their headers, and no path of today needs them. */
const FLOOR_MSS_IPV4 = 256;
/**
 * Timeouts of one segment until it may be its length: as Linux (net.ipv4.tcp_retries1). Two are
 * common where one packet in ten is lost and the peer has no SACK.
 */
const FIRST_TIMEOUTS = 3;
/** Further timeouts for each further step. */
const STEP_TIMEOUTS = 2;
/** What the count in the block can hold. */
const TIMEOUTS_MAX = 255;
/** RFC 8899 §5.1.2, MAX_PROBES: one may be lost by chance. */
const PROBES_MAX = 3;
/** Packets behind a probe for which there is room: their acknowledgments tell that it was lost. */
const PROBE_FOLLOWERS = 3;

/**
 * The retransmission timer has run out: what is to be sent again may have been too long. Called
 * before it is sent again; only the size of segments changes.
 */
export function suspectBlackHole(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  if (tcb.stallUna !== tcb.sndUna) {
    tcb.stallUna = tcb.sndUna;
    tcb.stallTimeouts = 0;
  }
  tcb.stallTimeouts = Math.min(tcb.stallTimeouts + 1, TIMEOUTS_MAX);
  const further = tcb.stallTimeouts - FIRST_TIMEOUTS;
  if (further < 0 || further % STEP_TIMEOUTS !== 0) return;
  // The steps have been gone down for this segment, and it was no hole.
  if (tcb.fullMss === 0 && further > 0) return;
  const shorter = shorterMss(tcp);
  if (shorter === 0) {
    clearSuspicion(tcb);
  } else if (oldestBytes(tcp) > shorter) {
    shorten(tcp, shorter);
  }
}

function shorten(tcp: TcpContext, mss: number): void {
  const tcb = tcp.tcb;
  if (tcb.fullMss === 0) {
    tcb.fullMss = tcb.mss;
    tcb.mtuProbes = 0;
    tcp.counters.add(Counter.BLACK_HOLES_SUSPECTED);
  }
  tcb.lower(TcbFlag.MTU_PROBING);
  tcb.mss = mss;
}

function clearSuspicion(tcb: Tcb): void {
  tcb.lower(TcbFlag.MTU_PROBING);
  if (tcb.fullMss === 0) return;
  tcb.mss = tcb.fullMss;
  tcb.fullMss = 0;
}

/** The next size down; 0 when there is none. Every path of IPv6 carries its least MTU. */
function shorterMss(tcp: TcpContext): number {
  const { mss } = tcp.tcb;
  const base = baseMss(tcp);
  if (mss > base) return base;
  const half = mss >>> 1;
  return isIpv4(tcp) && half >= FLOOR_MSS_IPV4 ? half : 0;
}

const baseMss = (tcp: TcpContext): number =>
  isIpv4(tcp) ? BASE_MSS_IPV4 : IPV6_MIN_MTU - packetHeaders(tcp);

/** Payload bytes of the oldest packet in flight; 0 when it is a FIN alone. */
function oldestBytes(tcp: TcpContext): number {
  const tcb = tcp.tcb;
  if (tcb.sendHead === NO_SLAB) return 0;
  return Math.min(tcb.mss, seqDiff(slabEnd(tcp, tcb.sendHead), tcb.sndUna));
}

/** What one full-sized segment was before it was made shorter: the window after a timeout. */
export const lossWindow = (tcb: Tcb): number => Math.max(tcb.mss, tcb.fullMss);

/** An error told what the path carries: that is the size to come back to, if it is a longer one. */
export function limitSuspicion(tcb: Tcb, mss: number): void {
  if (tcb.fullMss > mss) tcb.fullMss = mss > tcb.mss ? mss : 0;
}

/** RFC 4821 §7.4: nothing is lost, no probe is out, and no SACK block would cut one in two. */
const wantsMtuProbe = (tcb: Tcb): boolean =>
  tcb.fullMss !== 0 &&
  !tcb.has(RECOVERING | TcbFlag.MTU_PROBING | TcbFlag.DSACK_OWED) &&
  tcb.rcvSackCount === 0;

const probeRoom = (tcb: Tcb): number => tcb.fullMss + PROBE_FOLLOWERS * tcb.mss;

/** Payload bytes of the probe that is to be sent next; 0 when none is. */
export function mtuProbeBytes(tcb: Tcb): number {
  if (!wantsMtuProbe(tcb)) return 0;
  const room = Math.min(tcb.cwnd - tcb.inFlight, tcb.sndWnd - tcb.flightSize);
  return room >= probeRoom(tcb) ? tcb.fullMss : 0;
}

/**
 * Bytes of room that a flow waits for which fills its window: it would never find room for a probe
 * otherwise, and stay with short packets. 0 when no probe is wanted, or the windows are too small.
 *
 * @param limit  bytes that this flow may ever have in flight
 */
export function mtuProbeRoom(tcb: Tcb, limit: number): number {
  if (!wantsMtuProbe(tcb)) return 0;
  const room = probeRoom(tcb);
  return Math.min(tcb.cwnd, tcb.sndWnd, limit >>> 1) >= room ? room : 0;
}

/**
 * New data is sent: makes it a probe when one is due and it is as long as one. A shorter packet
 * that arrives would say nothing of the old size.
 *
 * @returns payload bytes of the packets that it leaves in
 */
export function takeMtuProbe(tcb: Tcb, seq: Seq, length: number): number {
  if (length !== mtuProbeBytes(tcb)) return tcb.mss;
  tcb.raise(TcbFlag.MTU_PROBING);
  tcb.mtuProbeEnd = seqAdd(seq, length);
  return length;
}

/** `ack` was taken: a probe that it covers, and that was not sent again, has arrived. */
export function noteMtuProbeAcked(tcp: TcpContext, ack: Seq, now: Instant): void {
  const tcb = tcp.tcb;
  if (!tcb.has(TcbFlag.MTU_PROBING) || !seqGe(ack, tcb.mtuProbeEnd)) return;
  clearSuspicion(tcb);
  tcp.pathMtus.forgetBelow(tcb.flowAt, tcb.mss + packetHeaders(tcp), now);
}

/** The oldest packet is lost, and no other: when it is a probe, its size alone is to blame. */
export function isMtuProbeLostAlone(tcp: TcpContext): boolean {
  const { sendHead, lostBytes } = tcp.tcb;
  if (sendHead === NO_SLAB || !isMtuProbe(tcp, sendHead)) return false;
  // Without a scoreboard nothing is marked: what duplicate ACKs ask for is the oldest.
  return lostBytes === 0 || lostBytes === lengthOf(tcp, sendHead);
}

/** Bytes of this slab are being sent again. @returns true when they were a probe, which is lost */
export function noteMtuProbeLost(tcp: TcpContext, slabAt: number, now: Instant): boolean {
  if (!isMtuProbe(tcp, slabAt)) return false;
  const tcb = tcp.tcb;
  tcb.lower(TcbFlag.MTU_PROBING);
  // An error has told since what the path takes; or congestion took the probe with others.
  const isExplained = lengthOf(tcp, slabAt) !== tcb.fullMss || isOneOfMany(tcb);
  if (isExplained) return true;
  tcb.mtuProbes += 1;
  const isSure = tcb.mtuProbes >= PROBES_MAX;
  if (isSure) tcb.fullMss = 0;
  // Others will not try longer packets: a loss that may be chance gives them no tiny ones.
  const known = isSure ? tcb.mss : Math.max(tcb.mss, baseMss(tcp));
  tcp.pathMtus.lower(tcb.flowAt, known + packetHeaders(tcp), now);
  return true;
}

/** RFC 4821 §7.6.4: the loss says nothing, and the probe is sent again after recovery. */
const isOneOfMany = (tcb: Tcb): boolean => tcb.has(TcbFlag.SACK) && tcb.has(TcbFlag.FAST_RECOVERY);

const isMtuProbe = (tcp: TcpContext, slabAt: number): boolean =>
  tcp.tcb.has(TcbFlag.MTU_PROBING) && slabEnd(tcp, slabAt) === tcp.tcb.mtuProbeEnd;

const lengthOf = ({ arena: { view } }: TcpContext, slabAt: number): number =>
  view.getUint32(slabAt + SlabField.LENGTH, true);

/** Sequence number behind the payload of a slab. */
const slabEnd = (tcp: TcpContext, slabAt: number): Seq =>
  seqAdd(asSeq(tcp.arena.view.getUint32(slabAt + SlabField.SEQ, true)), lengthOf(tcp, slabAt));
