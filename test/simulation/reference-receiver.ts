/**
 * The receiving half of the reference TCP: keeps what comes early, says what it has (RFC 2018,
 * RFC 2883), delays acknowledgments, and never takes back what its window promised. Positions count
 * from the peer's initial sequence number. It checks what the peer sends: the bytes, and that they
 * lie inside the window.
 */
import { checkStream, Stream } from '../support/byte-stream.ts';
import type { Range } from './reference-sender.ts';

const DELAYED_ACK_US = 40_000;
const NEVER = Number.POSITIVE_INFINITY;

export class ReferenceReceiver {
  readonly #buffer: number;
  readonly #mss: number;
  #rcvNxt = 1;
  /** RCV.NXT + RCV.WND, the furthest that was ever promised. */
  #edge = 1;
  /** In order and not read by the application. */
  #unread = 0;
  /** Ranges that arrived early, apart from each other, newest first. */
  #early: Range[] = [];
  /** What arrived although it was there, to be told once. */
  #double: Range | undefined;
  #finAt = -1;
  /** The largest window that a header can promise. */
  #widest = 0xffff;
  #unacked = 0;
  /** An acknowledgment is owed at once. */
  mustAck = false;
  /** The delayed acknowledgment. */
  deadline = NEVER;
  hasFin = false;

  constructor(buffer: number, mss: number) {
    this.#buffer = buffer;
    this.#mss = mss;
  }

  get rcvNxt(): number {
    return this.#rcvNxt;
  }

  /** Bytes that arrived in order. */
  get received(): number {
    return this.#rcvNxt - 1 - (this.hasFin ? 1 : 0);
  }

  /** Takes a segment that has text or a FIN. @throws Error for a wrong byte, or one too far */
  accept(start: number, payload: Uint8Array, hasFin: boolean, now: number): void {
    const end = start + payload.length;
    if (end > this.#edge) throw new Error(`bytes up to ${end}, promised up to ${this.#edge}`);
    checkStream(Stream.SERVER, start - 1, payload, 0, payload.length);
    if (hasFin) {
      if (this.#finAt >= 0 && this.#finAt !== end) throw new Error('two FINs in two places');
      this.#finAt = end;
    }
    if (end <= this.#rcvNxt && payload.length > 0) {
      this.#double = { start, end };
      this.mustAck = true;
    } else if (start > this.#rcvNxt) {
      if (this.#early.some((range) => range.start <= start && range.end >= end)) {
        this.#double = { start, end };
      }
      this.#keep({ start, end });
      this.mustAck = true;
    } else {
      this.#take(end);
    }
    this.#takeFin();
    if (hasFin) this.mustAck = true;
    if (!this.mustAck && this.deadline === NEVER) this.deadline = now + DELAYED_ACK_US;
  }

  /** The application reads up to `bytes`. @returns whether the window is worth telling about */
  read(bytes: number): boolean {
    this.#unread -= Math.min(bytes, this.#unread);
    const widest = Math.min(this.#buffer, this.#widest);
    const opening = this.#wantedEdge - this.#edge;
    return !this.hasFin && opening >= Math.min(2 * this.#mss, widest / 2);
  }

  /** The window to put into a header with this shift; remembers that it was promised. */
  promise(shift: number): number {
    this.#widest = 0xffff * 2 ** shift;
    const wanted = this.#wantedEdge;
    const isWorth = wanted - this.#edge >= Math.min(this.#mss, this.#buffer / 2);
    const edge = isWorth ? wanted : Math.max(this.#edge, this.#rcvNxt);
    const field = Math.floor((edge - this.#rcvNxt) / 2 ** shift);
    this.#edge = Math.max(this.#edge, this.#rcvNxt + field * 2 ** shift);
    this.mustAck = false;
    this.deadline = NEVER;
    this.#unacked = 0;
    return field;
  }

  /** At most `max` blocks: what came double first, then what came last. */
  takeSackBlocks(max: number): Range[] {
    const blocks = this.#double === undefined ? [] : [this.#double];
    this.#double = undefined;
    return [...blocks, ...this.#early].slice(0, max);
  }

  get #wantedEdge(): number {
    return this.#rcvNxt + Math.min(this.#buffer - this.#unread, this.#widest);
  }

  #take(end: number): void {
    const before = this.#rcvNxt;
    const hadEarly = this.#early.length > 0;
    this.#rcvNxt = Math.max(end, this.#rcvNxt);
    for (let moved = true; moved; ) {
      moved = false;
      for (const range of this.#early) {
        if (range.start > this.#rcvNxt) continue;
        this.#rcvNxt = Math.max(this.#rcvNxt, range.end);
        this.#early = this.#early.filter((other) => other !== range);
        moved = true;
        break;
      }
    }
    const fresh = this.#rcvNxt - before;
    this.#unread += fresh;
    this.#unacked += fresh;
    if (hadEarly || this.#unacked >= 2 * this.#mss) this.mustAck = true;
  }

  /** Joins a range with those that it touches. */
  #keep({ start, end }: Range): void {
    const touching = this.#early.filter((range) => range.start <= end && range.end >= start);
    const joined = {
      start: Math.min(start, ...touching.map((range) => range.start)),
      end: Math.max(end, ...touching.map((range) => range.end)),
    };
    this.#early = [joined, ...this.#early.filter((range) => !touching.includes(range))];
  }

  #takeFin(): void {
    if (this.hasFin || this.#finAt !== this.#rcvNxt) return;
    this.hasFin = true;
    this.#rcvNxt += 1;
  }
}
