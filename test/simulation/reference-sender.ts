/**
 * The sending half of the reference TCP: Reno with a table of pieces. Every loss, by whatever sign,
 * is a mark on a piece; what is marked is sent again before anything new. Positions count from the
 * initial sequence number: the SYN is 0, the first byte is 1, the FIN is length + 1.
 */

interface Piece {
  readonly start: number;
  readonly end: number;
  sentAt: number;
  sends: number;
  isSacked: boolean;
  /** To be sent again. */
  isLost: boolean;
}

/** What the endpoint is to put on the wire. */
export interface Range {
  readonly start: number;
  /** One past the last position, that of a FIN included. */
  readonly end: number;
}

const DUPLICATE_THRESHOLD = 3;
const INITIAL_WINDOW_SEGMENTS = 10;
const RTO_INITIAL_US = 1_000_000;
const RTO_MIN_US = 200_000;
const RTO_MAX_US = 10_000_000;
const NEVER = Number.POSITIVE_INFINITY;

export class ReferenceSender {
  /** One past the FIN. */
  readonly end: number;
  readonly #length: number;
  readonly #mss: number;
  #pieces: Piece[] = [];
  #sndUna = 1;
  #sndNxt = 1;
  /** SND.UNA + SND.WND. */
  #edge = 1;
  #maxWindow = 0;
  #cwnd: number;
  #ssthresh = NEVER;
  #recover = 0;
  #isRecovering = false;
  #duplicates = 0;
  #srttUs = 0;
  #rttvarUs = 0;
  #rtoUs = RTO_INITIAL_US;
  #backoff = 0;
  /** When the newest piece that arrived was sent. */
  #deliveredSentAt = 0;
  /** Timeout, or probe of a closed window. */
  deadline = NEVER;
  /** Pieces sent again. */
  retransmits = 0;

  constructor(length: number, mss: number) {
    this.#length = length;
    this.#mss = mss;
    this.#cwnd = INITIAL_WINDOW_SEGMENTS * mss;
    this.end = length + 2;
  }

  get isDone(): boolean {
    return this.#sndUna === this.end;
  }

  get sndUna(): number {
    return this.#sndUna;
  }

  get sndNxt(): number {
    return this.#sndNxt;
  }

  /** Bytes from SND.UNA to the right edge of the peer's window. */
  set window(bytes: number) {
    this.#edge = this.#sndUna + bytes;
    this.#maxWindow = Math.max(this.#maxWindow, bytes);
  }

  /**
   * Takes an acknowledgment.
   *
   * @param sack    blocks, relative
   * @param isBare  no payload, no FIN, and the window is that of the one before
   */
  onAck(ack: number, window: number, sack: readonly Range[], isBare: boolean, now: number): void {
    const hadFlight = this.#sndNxt > this.#sndUna;
    const acked = ack - this.#sndUna;
    const wasCovered = this.#markSacked(sack, now);
    if (acked > 0) this.#advance(ack, now);
    this.window = window;
    if (acked === 0 && isBare && hadFlight) this.#duplicates += 1;
    this.#findLosses(acked > 0, wasCovered);
    if (!this.#isRecovering && acked > 0) this.#grow(acked);
    if (this.#sndUna === this.#sndNxt) this.deadline = NEVER;
    else if (acked > 0) this.#arm(now);
  }

  /** Pieces that may be sent now: those marked lost first. */
  *transmit(now: number): Generator<Range> {
    let pipe = this.#pipe();
    for (const piece of this.#pieces) {
      if (pipe >= this.#cwnd) return;
      if (!piece.isLost) continue;
      piece.isLost = false;
      this.#send(piece, now);
      pipe += piece.end - piece.start;
      yield piece;
    }
    while (pipe < this.#cwnd) {
      const end = this.#endOfNext();
      if (end <= this.#sndNxt) break;
      pipe += end - this.#sndNxt;
      yield this.#sendNew(end, now);
    }
    const isIdle = this.#sndUna === this.#sndNxt && this.#sndNxt < this.end;
    if (isIdle && this.deadline === NEVER) this.#arm(now);
  }

  /** The deadline passed: a timeout, or a window that stays closed. */
  *expire(now: number): Generator<Range> {
    this.#backoff += 1;
    if (this.#sndUna === this.#sndNxt) {
      // One byte asks whether the window opened, or as many as it has room for.
      const wanted = Math.max(this.#sndNxt + 1, Math.min(this.#edge, this.#sndNxt + this.#mss));
      yield this.#sendNew(this.#withFin(Math.min(wanted, this.#length + 1)), now);
    } else {
      if (this.#sndUna >= this.#recover) {
        this.#ssthresh = Math.max((this.#sndNxt - this.#sndUna) / 2, 2 * this.#mss);
      }
      this.#cwnd = this.#mss;
      this.#isRecovering = false;
      this.#recover = this.#sndNxt;
      this.#duplicates = 0;
      for (const piece of this.#pieces) piece.isLost = !piece.isSacked;
      yield* this.transmit(now);
    }
    this.#arm(now);
  }

  #sendNew(end: number, now: number): Range {
    const piece = {
      start: this.#sndNxt,
      end,
      sentAt: now,
      sends: 0,
      isSacked: false,
      isLost: false,
    };
    this.#pieces.push(piece);
    if (this.#sndUna === this.#sndNxt) this.#arm(now);
    this.#sndNxt = end;
    this.#send(piece, now);
    return piece;
  }

  #send(piece: Piece, now: number): void {
    if (piece.sends > 0) this.retransmits += 1;
    piece.sends += 1;
    piece.sentAt = now;
  }

  /** End of the next new piece; SND.NXT when it is better to wait. */
  #endOfNext(): number {
    const dataEnd = this.#length + 1;
    const full = Math.min(this.#sndNxt + this.#mss, dataEnd);
    const end = Math.min(full, this.#edge);
    // No silly windows: a full segment, the last one, or half of what the peer ever offered.
    const isWorth = end === full || end - this.#sndNxt >= this.#maxWindow / 2;
    return this.#sndNxt < this.end && isWorth ? this.#withFin(end) : this.#sndNxt;
  }

  #withFin(end: number): number {
    return end === this.#length + 1 ? end + 1 : end;
  }

  /** @returns whether a piece that had not arrived is covered now */
  #markSacked(blocks: readonly Range[], now: number): boolean {
    let isNews = false;
    for (const { start, end } of blocks) {
      for (const piece of this.#pieces) {
        if (piece.isSacked || piece.start < start || piece.end > end) continue;
        piece.isSacked = true;
        piece.isLost = false;
        isNews = true;
        this.#noteDelivery(piece, now);
      }
    }
    return isNews;
  }

  #advance(ack: number, now: number): void {
    this.#sndUna = ack;
    this.#duplicates = 0;
    let done = 0;
    for (const piece of this.#pieces) {
      if (piece.end > ack) break;
      if (!piece.isSacked) this.#noteDelivery(piece, now);
      done += 1;
    }
    this.#pieces.splice(0, done);
    if (this.#isRecovering && ack >= this.#recover) this.#isRecovering = false;
  }

  #noteDelivery(piece: Piece, now: number): void {
    this.#deliveredSentAt = Math.max(this.#deliveredSentAt, piece.sentAt);
    // Karn: what was sent twice is not timed.
    if (piece.sends > 1) return;
    const sample = now - piece.sentAt;
    this.#backoff = 0;
    if (this.#srttUs === 0) {
      this.#srttUs = sample;
      this.#rttvarUs = sample / 2;
    } else {
      this.#rttvarUs += (Math.abs(this.#srttUs - sample) - this.#rttvarUs) / 4;
      this.#srttUs += (sample - this.#srttUs) / 8;
    }
    this.#rtoUs = Math.max(RTO_MIN_US, this.#srttUs + 4 * this.#rttvarUs);
  }

  /** Marks what must be lost, by SACK (RFC 6675, and RACK for what was sent again) or NewReno. */
  #findLosses(isAdvance: boolean, isNews: boolean): void {
    let isNewLoss = false;
    if (isNews) isNewLoss = this.#findHoles();
    const first = this.#pieces[0];
    if (first === undefined) return;
    const isThird = this.#duplicates === DUPLICATE_THRESHOLD && this.#sndUna >= this.#recover;
    const isPartial = isAdvance && this.#isRecovering && !this.#pieces.some((p) => p.isSacked);
    if ((isThird && !this.#isRecovering && first.sends === 1) || isPartial) {
      isNewLoss ||= !first.isLost;
      first.isLost = true;
    }
    if (!isNewLoss || this.#isRecovering || this.#sndUna < this.#recover) return;
    this.#isRecovering = true;
    this.#recover = this.#sndNxt;
    this.#ssthresh = Math.max((this.#sndNxt - this.#sndUna) / 2, 2 * this.#mss);
    this.#cwnd = this.#ssthresh;
  }

  #findHoles(): boolean {
    let sackedAbove = 0;
    let isNewLoss = false;
    for (let i = this.#pieces.length - 1; i >= 0; i--) {
      const piece = this.#pieces[i]!;
      if (piece.isSacked) {
        sackedAbove += 1;
        continue;
      }
      if (piece.isLost || sackedAbove < DUPLICATE_THRESHOLD) continue;
      const isStale = this.#deliveredSentAt > piece.sentAt + this.#srttUs / 4;
      if (piece.sends > 1 && !isStale) continue;
      piece.isLost = true;
      isNewLoss = true;
    }
    return isNewLoss;
  }

  #grow(acked: number): void {
    if (this.#cwnd < this.#ssthresh) this.#cwnd += acked;
    else this.#cwnd += (this.#mss * acked) / this.#cwnd;
  }

  /** Bytes under way: without SACK, each duplicate ACK says that one piece has arrived. */
  #pipe(): number {
    let bytes = 0;
    let hasSacked = false;
    for (const piece of this.#pieces) {
      if (piece.isSacked) hasSacked = true;
      else if (!piece.isLost) bytes += piece.end - piece.start;
    }
    if (hasSacked || !this.#isRecovering) return bytes;
    return Math.max(0, bytes - this.#duplicates * this.#mss);
  }

  #arm(now: number): void {
    this.deadline = now + Math.min(RTO_MAX_US, this.#rtoUs * 2 ** Math.min(this.#backoff, 10));
  }
}
