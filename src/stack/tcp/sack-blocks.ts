/**
 * The receiver's side of selective acknowledgments, RFC 2018 §4 and RFC 2883.
 *
 * The TCB remembers up to RCV_SACK_BLOCKS blocks of early bytes, the one that changed last in
 * front; so the first block of an ACK is the one with the segment that caused it, and the others
 * repeat what was reported before. The assembly (receive.ts) holds the bytes; blocks that fell off
 * the end are still there, they are only not reported.
 *
 * What arrives twice is reported once, in front of the blocks.
 */
import { type Seq, seqAdd, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { RCV_SACK_BLOCKS, type Tcb, TcbFlag } from './tcb.ts';

/** Early bytes were kept, or were there already: their block comes to the front. */
export function noteEarly(tcb: Tcb, from: Seq, to: Seq): void {
  let left = from;
  let right = to;
  let kept = 0;
  const count = tcb.rcvSackCount;
  for (let i = 0; i < count; i++) {
    const blockLeft = tcb.rcvSackLeft(i);
    const blockRight = tcb.rcvSackRight(i);
    if (seqLe(blockLeft, right) && seqLe(left, blockRight)) {
      if (seqLt(blockLeft, left)) left = blockLeft;
      if (seqGt(blockRight, right)) right = blockRight;
    } else {
      tcb.setRcvSack(kept, blockLeft, blockRight);
      kept += 1;
    }
  }
  if (kept === RCV_SACK_BLOCKS) kept -= 1;
  for (let i = kept; i > 0; i--) tcb.setRcvSack(i, tcb.rcvSackLeft(i - 1), tcb.rcvSackRight(i - 1));
  tcb.setRcvSack(0, left, right);
  tcb.rcvSackCount = kept + 1;
}

/** Bytes arrived that were here already: RFC 2883 §4. The first report of an ACK counts. */
export function noteDuplicate(tcb: Tcb, from: Seq, to: Seq): void {
  if (!tcb.has(TcbFlag.SACK) || tcb.has(TcbFlag.DSACK_OWED) || !seqLt(from, to)) return;
  tcb.dsackLeft = from;
  tcb.dsackRight = to;
  tcb.raise(TcbFlag.DSACK_OWED);
}

/** RCV.NXT moved: what lies before it is acknowledged, and no longer early. */
export function forgetTaken(tcb: Tcb): void {
  const rcvNxt = tcb.rcvNxt;
  let kept = 0;
  for (let i = 0; i < tcb.rcvSackCount; i++) {
    const left = tcb.rcvSackLeft(i);
    const right = tcb.rcvSackRight(i);
    if (seqLe(right, rcvNxt)) continue;
    tcb.setRcvSack(kept, seqLt(left, rcvNxt) ? rcvNxt : left, right);
    kept += 1;
  }
  tcb.rcvSackCount = kept;
}

/**
 * The blocks of the next segment: left and right edge of each.
 *
 * @param edges  filled from the start; holds 2 × RCV_SACK_BLOCKS
 * @param limit  blocks that the header has room for
 * @returns      number of blocks
 */
export function takeSackBlocks(tcb: Tcb, edges: Uint32Array, limit: number): number {
  let count = 0;
  if (tcb.has(TcbFlag.DSACK_OWED)) {
    edges[0] = tcb.dsackLeft;
    edges[1] = tcb.dsackRight;
    tcb.lower(TcbFlag.DSACK_OWED);
    count = 1;
  }
  for (let i = 0; i < tcb.rcvSackCount && count < limit; i++) {
    edges[count * 2] = tcb.rcvSackLeft(i);
    edges[count * 2 + 1] = tcb.rcvSackRight(i);
    count += 1;
  }
  return count;
}

/** The segment [from, from + length) repeats what was acknowledged, in whole or at its front. */
export function noteOldText(tcb: Tcb, from: Seq, length: number): void {
  const end = seqAdd(from, length);
  if (length > 0) noteDuplicate(tcb, from, seqGe(end, tcb.rcvNxt) ? tcb.rcvNxt : end);
}
