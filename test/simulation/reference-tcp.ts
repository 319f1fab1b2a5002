/**
 * A second TCP, to hold ours against: a client that connects, or waits to be dialled, or both;
 * that sends the client's stream and its FIN, and takes the server's. Its halves are
 * reference-sender.ts and reference-receiver.ts; here are the handshake, the header, and the rules
 * that every segment of ours must keep.
 */
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { Stream, streamBytes } from '../support/byte-stream.ts';
import { ReferenceReceiver } from './reference-receiver.ts';
import { type Range, ReferenceSender } from './reference-sender.ts';
import {
  type Addresses,
  decodeSegment,
  encodeSegment,
  Flag,
  type SegmentFields,
} from './segment-bytes.ts';

export interface ReferenceOptions {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly iss: number;
  readonly mss: number;
  /** Bytes to send before the FIN. */
  readonly length: number;
  /** Bytes that wait for the application at most. */
  readonly buffer: number;
  readonly timestamps: boolean;
  readonly sack: boolean;
  /** Shift of its windows; -1 for none. */
  readonly windowScale: number;
}

const SYN_TIMEOUT_US = 1_000_000;
/** Old segments without text are answered no more often, as an answer may be answered. */
const STALE_ANSWER_US = 100_000;
/** What is left of the 40 bytes of options. */
const SACK_BLOCKS = 4;
const SACK_BLOCKS_WITH_TIMESTAMPS = 3;
const TIMESTAMP_BYTES = 12;
const NEVER = Number.POSITIVE_INFINITY;
const EMPTY = new Uint8Array(0);

export class ReferenceTcp {
  readonly options: ReferenceOptions;
  readonly receiver: ReferenceReceiver;
  readonly sender: ReferenceSender;
  /** Packets that were no whole segments: damaged on the way. */
  damaged = 0;
  wasReset = false;
  /** The application is gone: every segment is answered with a reset. */
  isClosed = false;
  /** When the handshake was done; 0 before. */
  openedAt = 0;
  readonly #addresses: Addresses;
  readonly #send: (packet: Uint8Array) => void;
  #now = 0;
  #synDeadline = NEVER;
  #synTries = 0;
  #serverIss = 0;
  /** The stack's SYN was seen before it stood: what is sent until then is a SYN-ACK. */
  #hasPeerSyn = false;
  #usesTimestamps = false;
  #usesSack = false;
  #ownShift = 0;
  #peerShift = 0;
  #tsRecent = 0;
  #lastAckSent = 0;
  #window = 0;
  /** Highest ACK of the stack, and the right edge that came with it. */
  #newestAck = 0;
  #peerEdge = 0;
  #staleAnsweredAt = 0;

  constructor(options: ReferenceOptions, send: (packet: Uint8Array) => void) {
    this.options = options;
    this.#send = send;
    this.#addresses = {
      source: addressBytes(options.source),
      destination: addressBytes(options.destination),
    };
    const overhead = options.timestamps ? TIMESTAMP_BYTES : 0;
    this.sender = new ReferenceSender(options.length, options.mss - overhead);
    this.receiver = new ReferenceReceiver(options.buffer, options.mss);
  }

  /** Both streams ended, as far as this side can know. */
  get isDone(): boolean {
    return this.sender.isDone && this.receiver.hasFin;
  }

  get deadline(): number {
    if (this.isClosed) return NEVER;
    return Math.min(this.#synDeadline, this.sender.deadline, this.receiver.deadline);
  }

  /** Sends its SYN, for the first time or again. Not called, it waits for that of the stack. */
  connect(now: number): void {
    this.#now = now;
    this.#synDeadline = now + SYN_TIMEOUT_US * 2 ** this.#synTries++;
    this.#sendSyn();
  }

  #sendSyn(): void {
    const { mss, sack, windowScale, timestamps } = this.options;
    const isAnswer = this.#hasPeerSyn;
    // What the stack's SYN did not offer has no place on the answer (RFC 7323 §2.2, §3.2).
    const hasTimestamps = isAnswer ? this.#usesTimestamps : timestamps;
    this.#transmit(0, isAnswer ? Flag.SYN | Flag.ACK : Flag.SYN, EMPTY, {
      mss,
      windowScale,
      sackPermitted: sack,
      timestamps: hasTimestamps ? { value: this.#clock, echo: this.#tsRecent } : undefined,
    });
  }

  /** Runs what is due. */
  tick(now: number): void {
    this.#now = now;
    if (this.#synDeadline <= now) this.connect(now);
    if (this.sender.deadline <= now) this.#sendAll(this.sender.expire(now));
    if (this.receiver.deadline <= now) this.#acknowledge();
  }

  /** The application reads. */
  read(bytes: number, now: number): void {
    this.#now = now;
    const isOpen = this.openedAt > 0 && !this.isClosed;
    if (this.receiver.read(bytes) && isOpen) this.#acknowledge();
  }

  /** ABORT: a reset, and nothing is left. */
  abort(now: number): void {
    this.#now = now;
    this.isClosed = true;
    if (this.openedAt > 0) this.#segment(this.sender.sndNxt, Flag.RST | Flag.ACK, EMPTY);
  }

  /** Takes a packet of the stack. @throws Error when it breaks a rule */
  arrive(packet: Uint8Array, now: number): void {
    this.#now = now;
    const segment = decodeSegment(packet);
    if (segment === undefined) {
      this.damaged += 1;
      return;
    }
    const isSyn = (segment.flags & Flag.SYN) !== 0;
    if (this.isClosed) this.#refuse(segment);
    else if ((segment.flags & Flag.RST) !== 0) this.#takeReset(segment);
    else if (this.openedAt === 0) this.#shakeHands(segment);
    else if (isSyn) this.#acknowledge();
    else this.#take(segment);
  }

  /** RFC 9293 §3.10.7.1: there is no connection. */
  #refuse({ flags, seq, ack }: SegmentFields): void {
    if ((flags & Flag.RST) !== 0) return;
    if ((flags & Flag.ACK) === 0) {
      // A SYN: the reset must say that it was seen.
      this.#transmit(-this.options.iss, Flag.RST | Flag.ACK, EMPTY, { ack: (seq + 1) >>> 0 });
      return;
    }
    this.#transmit(1 + ((ack - this.options.iss - 1) | 0), Flag.RST, EMPTY, {});
  }

  #takeReset(segment: SegmentFields): void {
    const isExpected =
      this.openedAt === 0 || this.#positionOf(segment.seq) === this.receiver.rcvNxt;
    if (isExpected && !this.isDone) this.wasReset = true;
  }

  /** Before the connection stands: a SYN, a SYN-ACK, or the ACK of ours. */
  #shakeHands(segment: SegmentFields): void {
    const isSyn = (segment.flags & Flag.SYN) !== 0;
    const hasAck = (segment.flags & Flag.ACK) !== 0;
    const isOurs = hasAck && segment.ack === (this.options.iss + 1) >>> 0;
    if (isSyn) {
      if (hasAck && !isOurs) throw new Error('SYN-ACK of another connection');
      this.#takeSyn(segment);
    }
    if (isOurs && this.#hasPeerSyn) {
      this.#open(isSyn ? segment.window : segment.window << this.#peerShift);
      if (isSyn) this.#acknowledge();
      else this.#take(segment);
      this.#sendAll(this.sender.transmit(this.#now));
    } else if (isSyn) {
      if (this.#synDeadline === NEVER) this.#synDeadline = this.#now + SYN_TIMEOUT_US;
      this.#sendSyn();
    }
  }

  #takeSyn(segment: SegmentFields): void {
    const { options } = this;
    if (this.#hasPeerSyn && segment.seq !== this.#serverIss) throw new Error('two different SYNs');
    this.#hasPeerSyn = true;
    this.#serverIss = segment.seq;
    this.#usesTimestamps = options.timestamps && segment.timestamps !== undefined;
    this.#usesSack = options.sack && segment.sackPermitted;
    if (options.windowScale >= 0 && segment.windowScale >= 0) {
      this.#ownShift = options.windowScale;
      this.#peerShift = segment.windowScale;
    }
    if (segment.timestamps !== undefined) this.#tsRecent = segment.timestamps.value;
  }

  #open(window: number): void {
    this.#synDeadline = NEVER;
    this.openedAt = this.#now;
    this.#newestAck = 1;
    this.#peerEdge = 1 + window;
    this.#window = window;
    this.sender.window = window;
  }

  #take(segment: SegmentFields): void {
    const start = this.#positionOf(segment.seq);
    const hasFin = (segment.flags & Flag.FIN) !== 0;
    const isBare = segment.payload.length === 0 && !hasFin;
    this.#checkOptions(segment);
    const { timestamps } = segment;
    // RFC 7323 §4.3: only a segment that covers what was acknowledged last.
    if (timestamps !== undefined && start <= this.#lastAckSent) {
      if (((timestamps.value - this.#tsRecent) | 0) > 0) this.#tsRecent = timestamps.value;
    }
    this.#takeAck(segment, isBare);
    if (!isBare) this.receiver.accept(start, segment.payload, hasFin, this.#now);
    else if (start < this.receiver.rcvNxt) this.#answerStale(start);
    this.#sendAll(this.sender.transmit(this.#now));
    if (this.receiver.mustAck) this.#acknowledge();
  }

  /** A probe of our window wants an answer; a bare ACK that was overtaken does not need one. */
  #answerStale(start: number): void {
    const isProbe = start === this.receiver.rcvNxt - 1;
    if (!isProbe || this.#now < this.#staleAnsweredAt + STALE_ANSWER_US) return;
    this.#staleAnsweredAt = this.#now;
    this.receiver.mustAck = true;
  }

  #checkOptions({ timestamps, flags, sack }: SegmentFields): void {
    if ((flags & Flag.ACK) === 0) throw new Error('a segment without ACK');
    if (!this.#usesTimestamps) {
      if (timestamps !== undefined) throw new Error('timestamps that were not negotiated');
    } else if (timestamps === undefined) {
      throw new Error('a segment without timestamps (RFC 7323 §3.2)');
    } else if (((this.#clock - timestamps.echo) | 0) < 0) {
      throw new Error('an echo of a timestamp that was never sent');
    }
    if (!this.#usesSack && sack.length > 0) throw new Error('SACK that was not negotiated');
  }

  #takeAck(segment: SegmentFields, isBare: boolean): void {
    const { sender } = this;
    const ack = 1 + ((segment.ack - this.options.iss - 1) | 0);
    if (ack > sender.sndNxt) throw new Error(`ACK of ${ack}, sent up to ${sender.sndNxt}`);
    const window = segment.window << this.#peerShift;
    if (ack > this.#newestAck) {
      // Surely sent after all that came before. RFC 7323 §2.4: less than a step is not a retreat.
      const slack = (1 << this.#peerShift) - 1;
      if (ack + window < this.#peerEdge - slack) throw new Error('the window moved left');
      this.#newestAck = ack;
    }
    this.#peerEdge = Math.max(this.#peerEdge, ack + window);
    if (ack < sender.sndUna) return;
    const blocks = segment.sack.map(([left, right]) => {
      const start = 1 + ((left - this.options.iss - 1) | 0);
      return { start, end: start + ((right - left) >>> 0) };
    });
    for (const { start, end } of blocks) {
      if (end <= start || end > sender.sndNxt) throw new Error(`SACK of ${start} to ${end}`);
    }
    // An ACK that was overtaken by another of the same number must not close the window again.
    const fresh = Math.max(window, this.#peerEdge - ack);
    sender.onAck(ack, fresh, blocks, isBare && window === this.#window, this.#now);
    this.#window = window;
  }

  #positionOf(seq: number): number {
    const { rcvNxt } = this.receiver;
    return rcvNxt + ((seq - this.#serverIss - rcvNxt) | 0);
  }

  get #clock(): number {
    return Math.floor(this.#now / 1000) >>> 0;
  }

  #acknowledge(): void {
    this.#segment(this.sender.sndNxt, Flag.ACK, EMPTY);
  }

  #sendAll(ranges: Iterable<Range>): void {
    for (const { start, end } of ranges) {
      const dataEnd = Math.min(end, this.options.length + 1);
      const isLast = end === this.sender.end;
      const payload = streamBytes(Stream.CLIENT, start - 1, dataEnd - start);
      this.#segment(start, isLast ? Flag.ACK | Flag.FIN : Flag.ACK, payload);
    }
  }

  #segment(start: number, flags: number, payload: Uint8Array): void {
    const max = this.#usesTimestamps ? SACK_BLOCKS_WITH_TIMESTAMPS : SACK_BLOCKS;
    const blocks = this.#usesSack ? this.receiver.takeSackBlocks(max) : [];
    this.#transmit(start, flags, payload, {
      timestamps: this.#usesTimestamps ? { value: this.#clock, echo: this.#tsRecent } : undefined,
      sack: blocks.map(({ start: left, end }) => [this.#absolute(left), this.#absolute(end)]),
    });
  }

  #absolute(position: number): number {
    return (this.#serverIss + position) >>> 0;
  }

  #transmit(
    start: number,
    flags: number,
    payload: Uint8Array,
    options: Partial<SegmentFields>,
  ): void {
    const { iss, sourcePort, destinationPort } = this.options;
    const isSyn = (flags & Flag.SYN) !== 0;
    this.#lastAckSent = this.receiver.rcvNxt;
    const packet = encodeSegment(this.#addresses, {
      sourcePort,
      destinationPort,
      seq: (iss + start) >>> 0,
      ack: (flags & Flag.ACK) === 0 ? 0 : this.#absolute(this.receiver.rcvNxt),
      flags,
      window: this.receiver.promise(isSyn ? 0 : this.#ownShift),
      mss: 0,
      windowScale: -1,
      sackPermitted: false,
      timestamps: undefined,
      sack: [],
      payload,
      ...options,
    });
    this.#send(packet);
  }
}

function addressBytes(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return bytes;
}
