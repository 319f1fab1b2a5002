/**
 * A client that only receives, and says in every way of RFC 2018 and RFC 2883 what it received: the
 * far end of the tests of loss recovery. Two packets in order draw one ACK, anything else draws one
 * at once.
 */
import { checkStream, Stream } from './byte-stream.ts';
import { tcpPacket } from './packet-builder.ts';
import type { ReceivedSegment } from './scripted-peer.ts';
import { encodeOptions } from './segment-text.ts';

const ACK = 0x10;
const FIN = 0x01;
const SYN = 0x02;
const SCALE = 9;
const DELAYED_ACK_US = 40_000;
const SYN_TIMEOUT_US = 1_000_000;

export interface SackClientOptions {
  readonly sack: boolean;
  readonly timestamps: boolean;
  readonly mss: number;
  /** Receive window in bytes. */
  readonly window: number;
}

interface Block {
  left: number;
  right: number;
  /** The larger, the later it changed. */
  order: number;
}

export class SackClient {
  readonly options: SackClientOptions;
  readonly #send: (packet: Uint8Array) => void;
  #serverIss = 0;
  #isOpen = false;
  /** Numbers count from the server's initial one: the first byte is 1. */
  rcvNxt = 0;
  #blocks: Block[] = [];
  #order = 0;
  #tsRecent = 0;
  #unacked = 0;
  #finAt = -1;
  /** When the delayed ACK is due, or the SYN again. */
  deadline = Number.POSITIVE_INFINITY;
  /** Packets that brought nothing new. */
  duplicates = 0;

  constructor(options: SackClientOptions, send: (packet: Uint8Array) => void) {
    this.options = options;
    this.#send = send;
  }

  get hasFin(): boolean {
    return this.#finAt >= 0 && this.rcvNxt > this.#finAt;
  }

  connect(now: number): void {
    this.deadline = now + SYN_TIMEOUT_US;
    const { mss, sack, timestamps } = this.options;
    const words = [`mss ${mss}`, 'nop', `wscale ${SCALE}`];
    if (sack) words.push('sackOK');
    if (timestamps) words.push(`TS val ${Math.floor(now / 1000)} ecr 0`);
    const fields = { seq: 0, flags: SYN, window: 65_535, options: encodeOptions(words) };
    this.#send(tcpPacket({ ...ADDRESSES, ...fields }));
  }

  /** Sends what is due. */
  tick(now: number): void {
    if (now < this.deadline) return;
    if (this.#isOpen) this.#acknowledge(now);
    else this.connect(now);
  }

  arrive(segment: ReceivedSegment, now: number): void {
    const word = segment.options.find((option) => option.startsWith('TS '));
    if ((segment.flags & SYN) !== 0) {
      this.#serverIss = segment.seq;
      this.#isOpen = true;
      this.rcvNxt = Math.max(this.rcvNxt, 1);
      if (word !== undefined) this.#tsRecent = Number(word.split(' ')[2]);
      this.#acknowledge(now);
      return;
    }
    if (!this.#isOpen) return;
    const start = (segment.seq - this.#serverIss) | 0;
    if (word !== undefined && start <= this.rcvNxt) this.#tsRecent = Number(word.split(' ')[2]);
    this.#takeText(segment, start, now);
  }

  #takeText({ payload, flags }: ReceivedSegment, start: number, now: number): void {
    const hasFin = (flags & FIN) !== 0;
    const end = start + payload.length + (hasFin ? 1 : 0);
    if (end === start) return;
    checkStream(Stream.SERVER, start - 1, payload, 0, payload.length);
    if (hasFin) this.#finAt = end - 1;
    const isKnown =
      end <= this.rcvNxt || this.#blocks.some(({ left, right }) => left <= start && end <= right);
    if (isKnown) {
      this.duplicates += 1;
      this.#acknowledge(now, { left: start, right: end, order: 0 });
      return;
    }
    const isInOrder = start <= this.rcvNxt && this.#blocks.length === 0;
    this.#take(start, end);
    this.#unacked += 1;
    if (!isInOrder || this.#unacked >= 2 || hasFin) this.#acknowledge(now);
    else this.deadline = Math.min(this.deadline, now + DELAYED_ACK_US);
  }

  #take(start: number, end: number): void {
    const fresh: Block = { left: start, right: end, order: ++this.#order };
    this.#blocks = this.#blocks.filter(({ left, right }) => {
      if (left > fresh.right || right < fresh.left) return true;
      fresh.left = Math.min(fresh.left, left);
      fresh.right = Math.max(fresh.right, right);
      return false;
    });
    if (fresh.left <= this.rcvNxt) this.rcvNxt = fresh.right;
    else this.#blocks.push(fresh);
  }

  #acknowledge(now: number, duplicate?: Block): void {
    this.#unacked = 0;
    this.deadline = Number.POSITIVE_INFINITY;
    const { timestamps, sack, window } = this.options;
    const words: string[] = [];
    if (timestamps)
      words.push('nop', 'nop', `TS val ${Math.floor(now / 1000)} ecr ${this.#tsRecent}`);
    const newest = [...this.#blocks].sort((a, b) => b.order - a.order);
    const blocks = [...(duplicate ? [duplicate] : []), ...newest].slice(0, timestamps ? 3 : 4);
    if (sack && blocks.length > 0) {
      const edges = blocks.map(({ left, right }) => `${left}:${right}`).join(' ');
      words.push('nop', 'nop', `sack ${edges}`);
    }
    this.#send(
      tcpPacket({
        ...ADDRESSES,
        seq: 1,
        ack: (this.#serverIss + this.rcvNxt) >>> 0,
        flags: ACK,
        window: Math.min(0xffff, window >>> SCALE),
        options: encodeOptions(words, this.#serverIss),
      }),
    );
  }
}

const ADDRESSES = {
  source: '198.18.0.1',
  destination: '198.18.0.80',
  sourcePort: 40_000,
  destinationPort: 443,
} as const;
