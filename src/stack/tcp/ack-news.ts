import type { Instant } from '../time.ts';
import { asSeq, type Seq, seqGt, seqLt } from '../wire/seq.ts';

/**
 * What one acknowledgment told about the send queue. One object is filled anew for each; the
 * scoreboard writes it, loss detection and congestion control read it before the next.
 */
export class AckNews {
  /** Bytes that arrived for the first time as far as we know: acknowledged, or SACKed. */
  delivered = 0;
  /** Bytes that count as lost since this acknowledgment. */
  lost = 0;
  /** SND.UNA moved. */
  isAdvance = false;
  /** Of what was sent once and delivered now: the newest, its end, and the lowest end. */
  hasOriginal = false;
  originalSentAt = 0 as Instant;
  originalEnd: Seq = asSeq(0);
  lowestOriginalEnd: Seq = asSeq(0);
  /** Of what was sent again and delivered now: the newest, and its end. */
  hasResent = false;
  resentAt = 0 as Instant;
  resentEnd: Seq = asSeq(0);
  /** The peer reported a duplicate, RFC 2883. */
  hasDsack = false;
  dsackLeft: Seq = asSeq(0);
  dsackRight: Seq = asSeq(0);

  clear(): void {
    this.delivered = this.lost = 0;
    this.isAdvance = this.hasOriginal = this.hasResent = this.hasDsack = false;
  }

  /** Bytes whose first transmission arrived. @param lowestEnd  end of the lowest of them */
  takeOriginal(sentAt: Instant, lowestEnd: Seq, end: Seq): void {
    if (!this.hasOriginal || seqLt(lowestEnd, this.lowestOriginalEnd)) {
      this.lowestOriginalEnd = lowestEnd;
    }
    if (
      !this.hasOriginal ||
      sentAt > this.originalSentAt ||
      (sentAt === this.originalSentAt && seqGt(end, this.originalEnd))
    ) {
      this.originalSentAt = sentAt;
      this.originalEnd = end;
    }
    this.hasOriginal = true;
  }

  takeResent(sentAt: Instant, end: Seq): void {
    if (this.hasResent && sentAt < this.resentAt) return;
    if (this.hasResent && sentAt === this.resentAt && !seqGt(end, this.resentEnd)) return;
    this.hasResent = true;
    this.resentAt = sentAt;
    this.resentEnd = end;
  }
}
