import { FlowField } from '../flow-row.ts';
import { type Seq, seqAdd } from '../wire/seq.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import type { TcpContext } from './context.ts';
import { startWindow } from './receive-window.ts';
import { TcbFlag } from './tcb.ts';

/** RFC 9293 §3.7.1: what a SYN without the option means. */
export const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
const MIN_MSS = 64;

/**
 * Takes IRS and the options of the peer's SYN in `tcp.segment`. Data on a SYN is not kept: the
 * client sends it again.
 *
 * @param asksEcn  it asks for ECN, whether or not such clients have it
 * @param hasEcn   it is to have it, which holds as long as the connection
 */
export function readSyn(tcp: TcpContext, irs: Seq, asksEcn: boolean, hasEcn: boolean): void {
  const { tcb, segment, arena, egress } = tcp;
  const { options } = segment;
  const family = arena.view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4 ? 4 : 6;
  tcb.irs = irs;
  tcb.rcvNxt = seqAdd(irs, 1);
  tcb.rcvEdge = tcb.rcvNxt;
  const peerMss = Math.max(MIN_MSS, options.mss === 0 ? DEFAULT_MSS[family] : options.mss);
  let mss = Math.min(peerMss, egress.mssFor(family));
  tcb.lower(TcbFlag.TIMESTAMPS | TcbFlag.SCALING | TcbFlag.SACK);
  tcb.lower(TcbFlag.ECN_SETUP | TcbFlag.ECN);
  if (options.hasTimestamps) {
    tcb.raise(TcbFlag.TIMESTAMPS);
    tcb.tsRecent = options.tsValue;
    tcb.tsRecentAt = tcb.lastReceivedAt;
    // RFC 6691 §3.1: the MSS counts no options, the segment does.
    mss -= TIMESTAMPS_BYTES;
  }
  if (options.windowScale >= 0) {
    tcb.raise(TcbFlag.SCALING);
    tcb.sndScale = options.windowScale;
  } else {
    tcb.sndScale = 0;
  }
  if (options.sackPermitted) tcb.raise(TcbFlag.SACK);
  if (asksEcn) tcb.raise(TcbFlag.ECN_SETUP);
  if (hasEcn) tcb.raise(TcbFlag.ECN);
  tcb.synMss = options.mss === 0 ? DEFAULT_MSS[family] : options.mss;
  tcb.mss = mss;
  tcb.rcvMss = DEFAULT_MSS[4];
  startWindow(tcb);
  tcb.sndWnd = segment.window;
  tcb.maxSndWnd = segment.window;
}
