/**
 * A client's TCP, as plain as it can be and still be right: go-back-N with one timer, an ACK for
 * every segment, no congestion control. It sends the client's stream and its FIN, and checks what
 * it receives against the server's stream. It is the far end of the property tests.
 */
import { checkStream, Stream, streamBytes } from './byte-stream.ts';
import { tcpPacket } from './packet-builder.ts';
import type { ReceivedSegment } from './scripted-peer.ts';
import { encodeOptions } from './segment-text.ts';

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
const TIMEOUT_US = 300_000;
const SCALE = 4;

export interface EndpointOptions {
  readonly source: string;
  readonly destination: string;
  readonly iss: number;
  readonly mss: number;
  /** Bytes to send before the FIN. */
  readonly length: number;
  /** Bytes that wait for the application at most. */
  readonly buffer: number;
  readonly timestamps: boolean;
  readonly scaling: boolean;
  /** Payload bytes of one frame: more than `mss` makes superpackets. */
  readonly frame: number;
}

/** Early bytes, by the relative number of the first. */
type Early = Map<number, Uint8Array>;

export class TcpEndpoint {
  readonly options: EndpointOptions;
  readonly #send: (packet: Uint8Array, gsoSize: number) => void;
  #now = 0;
  #timer = 0;
  // Numbers count from the initial sequence numbers: the SYN is 0, the first byte is 1.
  #sndUna = 0;
  #sndNxt = 0;
  /** The highest that #sndNxt was, before it went back. */
  #sndMax = 0;
  #sndWnd = 0;
  #serverIss = 0;
  #serverScales = false;
  #rcvNxt = 0;
  #rcvEdge = 0;
  #tsRecent = 0;
  #isOpen = false;
  #finAt = -1;
  readonly #early: Early = new Map();
  /** Bytes that the application has not read. */
  #unread = 0;
  /** Bytes of the server's stream that arrived in order. */
  received = 0;
  /** The server's FIN arrived in order. */
  hasFin = false;
  wasReset = false;

  constructor(options: EndpointOptions, send: (packet: Uint8Array, gsoSize: number) => void) {
    this.options = options;
    this.#send = send;
  }

  get isDone(): boolean {
    return this.hasFin && this.#sndUna === this.options.length + 2;
  }

  /** When `tick` has something to do. */
  get deadline(): number {
    return this.#sndUna === this.options.length + 2 ? Number.POSITIVE_INFINITY : this.#timer;
  }

  connect(now: number): void {
    this.#now = now;
    this.#timer = now + TIMEOUT_US;
    const { mss, timestamps, scaling } = this.options;
    const options = [`mss ${mss}`];
    if (timestamps) options.push(`TS val ${this.#clock} ecr 0`);
    if (scaling) options.push(`wscale ${SCALE}`);
    this.#transmit(0, SYN, options, new Uint8Array(0));
    this.#sndNxt = 1;
  }

  tick(now: number): void {
    this.#now = now;
    if (now < this.deadline) return;
    this.#timer = now + TIMEOUT_US;
    if (!this.#isOpen) {
      this.connect(now);
      return;
    }
    this.#sndNxt = this.#sndUna;
    this.#push();
    // A closed window: one byte asks whether it opened.
    if (this.#sndNxt === this.#sndUna && this.#sndUna <= this.options.length) this.#probe();
  }

  /** The application reads. */
  read(bytes: number, now: number): void {
    this.#now = now;
    const before = this.#window;
    this.#unread -= Math.min(bytes, this.#unread);
    if (this.#isOpen && this.#window - before >= this.options.mss) this.#acknowledge();
  }

  arrive(segment: ReceivedSegment, now: number): void {
    this.#now = now;
    if ((segment.flags & RST) !== 0) {
      this.wasReset = true;
      return;
    }
    if ((segment.flags & SYN) !== 0) {
      if (!this.#isOpen) this.#open(segment);
      else this.#acknowledge();
      return;
    }
    if (!this.#isOpen) return;
    this.#noteTimestamp(segment);
    this.#takeAck(segment);
    this.#takeText(segment);
    this.#push();
  }

  #open(segment: ReceivedSegment): void {
    this.#isOpen = true;
    this.#serverIss = segment.seq;
    this.#serverScales = segment.options.some((option) => option.startsWith('wscale'));
    this.#rcvNxt = 1;
    this.#sndUna = 1;
    this.#sndWnd = segment.window;
    this.#noteTimestamp(segment);
    this.#acknowledge();
    this.#push();
  }

  #noteTimestamp(segment: ReceivedSegment): void {
    const word = segment.options.find((option) => option.startsWith('TS '));
    if (word === undefined) return;
    const value = Number(word.split(' ')[2]);
    if (((value - this.#tsRecent) | 0) >= 0 || this.#tsRecent === 0) this.#tsRecent = value;
  }

  #takeAck(segment: ReceivedSegment): void {
    const ack = (segment.ack - this.options.iss) | 0;
    if (ack > this.#sndUna && ack <= this.options.length + 2) {
      this.#sndUna = ack;
      this.#sndNxt = Math.max(this.#sndNxt, ack);
      this.#timer = this.#now + TIMEOUT_US;
    }
    if (ack === this.#sndUna) {
      this.#sndWnd = segment.window * (this.#serverScales && this.options.scaling ? 128 : 1);
    }
  }

  #takeText(segment: ReceivedSegment): void {
    const start = (segment.seq - this.#serverIss) | 0;
    const { payload, flags } = segment;
    if (payload.length === 0 && (flags & FIN) === 0) {
      // A question: a keep-alive, or a probe of our window.
      if (start < this.#rcvNxt) this.#acknowledge();
      return;
    }
    const end = start + payload.length;
    if (payload.length > 0) checkStream(Stream.SERVER, start - 1, payload, 0, payload.length);
    if (end > this.#rcvEdge && start > this.#rcvEdge) throw new Error('sent beyond our window');
    if ((flags & FIN) !== 0) this.#finAt = end;
    if (end > this.#rcvNxt) this.#early.set(start, payload);
    for (let moved = true; moved; ) {
      moved = false;
      for (const [at, bytes] of this.#early) {
        if (at > this.#rcvNxt) continue;
        this.#early.delete(at);
        const fresh = at + bytes.length - this.#rcvNxt;
        if (fresh <= 0) continue;
        this.#rcvNxt += fresh;
        this.received += fresh;
        this.#unread += fresh;
        moved = true;
      }
    }
    if (this.#finAt === this.#rcvNxt) {
      this.#rcvNxt += 1;
      this.hasFin = true;
    }
    this.#acknowledge();
  }

  get #window(): number {
    return Math.max(0, this.options.buffer - this.#unread);
  }

  get #clock(): number {
    return Math.floor(this.#now / 1000) >>> 0;
  }

  #acknowledge(): void {
    this.#segment(this.#sndMax, ACK, 0);
  }

  /** Sends what the window allows, FIN included. */
  #push(): void {
    const { length, frame } = this.options;
    const right = this.#sndUna + Math.min(this.#sndWnd, 64 * 1024);
    while (this.#sndNxt <= length && this.#sndNxt < right) {
      const size = Math.min(frame, length + 1 - this.#sndNxt, right - this.#sndNxt);
      const isLast = this.#sndNxt + size === length + 1;
      this.#segment(this.#sndNxt, isLast ? ACK | FIN : ACK, size);
      this.#sndNxt += size + (isLast ? 1 : 0);
    }
    if (this.#sndNxt === length + 1) {
      this.#segment(this.#sndNxt, ACK | FIN, 0);
      this.#sndNxt += 1;
    }
  }

  #probe(): void {
    this.#segment(this.#sndUna, ACK, 1);
  }

  #segment(seq: number, flags: number, size: number): void {
    const options = this.options.timestamps
      ? ['nop', 'nop', `TS val ${this.#clock} ecr ${this.#tsRecent}`]
      : [];
    this.#transmit(seq, flags, options, streamBytes(Stream.CLIENT, seq - 1, size));
  }

  #transmit(seq: number, flags: number, options: readonly string[], payload: Uint8Array): void {
    const { iss, mss, source, destination, scaling } = this.options;
    const isSyn = (flags & SYN) !== 0;
    const shift = scaling && this.#serverScales && !isSyn ? SCALE : 0;
    const window = Math.min(0xffff, this.#window >>> shift);
    this.#sndMax = Math.max(this.#sndMax, seq + payload.length + (flags & (SYN | FIN) ? 1 : 0));
    this.#rcvEdge = Math.max(this.#rcvEdge, this.#rcvNxt + (window << shift));
    const packet = tcpPacket({
      source,
      destination,
      destinationPort: 443,
      seq: (iss + seq) >>> 0,
      ack: isSyn ? 0 : (this.#serverIss + this.#rcvNxt) >>> 0,
      flags,
      window,
      options: encodeOptions(options),
      payload,
    });
    this.#send(packet, payload.length > mss ? mss : 0);
  }
}
