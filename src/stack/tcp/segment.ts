import type { DropReason } from '../drop-reason.ts';
import type { Instant } from '../time.ts';
import { Ecn } from '../wire/ecn.ts';
import type { Seq } from '../wire/seq.ts';
import { asSeq, seqAdd } from '../wire/seq.ts';
import * as tcp from '../wire/tcp.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { TcpOptions } from '../wire/tcp-options.ts';

/**
 * The segment under the reader's eye: SEG.SEQ, SEG.LEN and so on of RFC 9293 §3.3.1, with its
 * options. One object is used for all segments; it is valid until the next `read`.
 */
export class Segment {
  seq: Seq = asSeq(0);
  ack: Seq = asSeq(0);
  flags = 0;
  /** As it stands in the header, unscaled. */
  window = 0;
  sourcePort = 0;
  destinationPort = 0;
  payloadAt = 0;
  payloadLength = 0;
  /** Codepoint of the packet that it came in. */
  ecn: Ecn = Ecn.NOT_ECT;
  readonly options = new TcpOptions();
  /** As it arrived, whatever was trimmed since. */
  #isSyn = false;

  /**
   * Reads the segment whose header starts at `at` and whose payload ends at `end`; the header was
   * checked by `checkTcp`.
   */
  read(view: DataView, at: number, end: number, ecn: Ecn = Ecn.NOT_ECT): DropReason {
    this.ecn = ecn;
    this.sourcePort = tcp.sourcePort(view, at);
    this.destinationPort = tcp.destinationPort(view, at);
    this.seq = tcp.sequence(view, at);
    this.ack = tcp.acknowledgment(view, at);
    this.flags = tcp.flags(view, at);
    this.#isSyn = this.has(TcpFlag.SYN);
    this.window = tcp.window(view, at);
    const headerLength = tcp.headerLength(view, at);
    this.payloadAt = at + headerLength;
    this.payloadLength = end - this.payloadAt;
    return this.options.parse(view, at);
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /**
   * SEG.WND in bytes; that of a SYN is never scaled, RFC 7323 §2.2.
   *
   * @param scale  Snd.Wind.Shift
   */
  windowBytes(scale: number): number {
    return this.#isSyn ? this.window : this.window << scale;
  }

  /** SEG.LEN: payload and the sequence numbers of SYN and FIN. */
  get length(): number {
    let length = this.payloadLength;
    if ((this.flags & TcpFlag.SYN) !== 0) length += 1;
    if ((this.flags & TcpFlag.FIN) !== 0) length += 1;
    return length;
  }

  /** The sequence number after the last of this segment. */
  get end(): Seq {
    return seqAdd(this.seq, this.length);
  }

  /** Cuts `bytes` off the front: they lie left of the window. */
  trimFront(bytes: number): void {
    let cut = bytes;
    if (this.has(TcpFlag.SYN)) {
      this.flags &= ~TcpFlag.SYN;
      this.seq = seqAdd(this.seq, 1);
      cut -= 1;
    }
    const payload = Math.min(cut, this.payloadLength);
    this.seq = seqAdd(this.seq, payload);
    this.payloadAt += payload;
    this.payloadLength -= payload;
  }

  /** Cuts the payload to `bytes`; what is cut was not received, nor was the FIN behind it. */
  trimBack(bytes: number): void {
    this.payloadLength = bytes;
    this.flags &= ~TcpFlag.FIN;
  }
}

/** Milliseconds of the timestamp clock, RFC 7323 §5.4: a tick of 1 ms. */
export const timestampClock = (now: Instant): number => Math.floor(now / 1000) >>> 0;
