/**
 * The stacks behind the other queues of the device. The kernel brings the packets of a flow to the
 * queue over which it was answered last. It cannot know where a flow is that was silent for some
 * seconds and is met by a rewritten tuple, nor what an ICMP error or a reassembled packet is about.
 * So what belongs to no flow here is looked for in the tables of the others, and handed over.
 * Source: drivers/net/tun.c, tun_automq_select_queue.
 */
import { Counter, type Counters } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import type { FlowTable } from './flow-table.ts';
import { readQuote } from './nat/translate-error.ts';
import { emptyPacket, hashPacket, type Packet } from './packet.ts';
import type { PacketTap } from './packet-tap.ts';
import type { PeerTable } from './peer-table.ts';

/**
 * A bit of the first byte of what is handed over: it was put together of fragments, each of which
 * its sender's tap has seen. The upper half of that byte is 4 or 6, or 0 of a vnet header.
 */
const REASSEMBLED = 0x80;

/** How a frame gets to another stack. */
export interface PeerSink {
  /**
   * @param peer  index of the table in which its flow was found
   * @param at    of the vnet header, or of the IP header of a packet that has none
   * @returns     false when there is no room
   */
  handOver(peer: number, at: number, length: number): boolean;
}

export class Peers {
  readonly #view: DataView;
  readonly #flows: FlowTable;
  readonly #tables: readonly PeerTable[];
  readonly #sink: PeerSink;
  readonly #counters: Counters;
  readonly #tap: PacketTap;
  /** The packet that an error quotes; reused. */
  readonly #quote: Packet = emptyPacket();
  /** What a peer has handed over stays here: its flow may have ended meanwhile. */
  isPaused = false;
  /** What arrives was put together of fragments. */
  isReassembled = false;

  constructor(
    view: DataView,
    flows: FlowTable,
    tables: readonly PeerTable[],
    sink: PeerSink,
    counters: Counters,
    tap: PacketTap,
  ) {
    this.#tap = tap;
    this.#view = view;
    this.#flows = flows;
    this.#tables = tables;
    this.#sink = sink;
    this.#counters = counters;
  }

  /** Hands over a packet of no flow here, whose hash is known. @returns whether it is a peer's */
  takes(packet: Packet): boolean {
    return !this.isPaused && this.#handOver(packet, this.#find(packet));
  }

  /** Hands over an ICMP error about a packet of no flow here. @returns whether it is a peer's */
  takesError(packet: Packet): boolean {
    const quote = this.#quote;
    if (this.isPaused || !readQuote(this.#view, packet, quote)) return false;
    // Who gets an error has sent what it quotes; a table has what comes from the other end.
    const { sourceAt, sourcePort } = quote;
    quote.sourceAt = quote.destinationAt;
    quote.destinationAt = sourceAt;
    quote.sourcePort = quote.destinationPort;
    quote.destinationPort = sourcePort;
    hashPacket(this.#flows, quote);
    return this.#handOver(packet, this.#find(quote));
  }

  #find(packet: Packet): number {
    const tables = this.#tables;
    for (let peer = 0; peer < tables.length; peer++) {
      if (tables[peer]?.has(this.#view, packet) === true) return peer;
    }
    return -1;
  }

  #handOver({ frameAt, end }: Packet, peer: number): boolean {
    if (peer < 0) return false;
    if (this.isReassembled) this.#mark(frameAt, REASSEMBLED);
    const isTaken = this.#sink.handOver(peer, frameAt, end - frameAt);
    if (this.isReassembled) this.#mark(frameAt, 0);
    if (isTaken) {
      this.#counters.add(Counter.PEER_FRAMES_OUT);
      if (this.#tap.isOn && !this.isReassembled) this.#tap.handedOver();
    } else {
      this.#counters.settleArrival(DropReason.PEER_FULL);
    }
    return true;
  }

  /** Takes the mark off what a peer has handed over. @returns whether it had one */
  takesMark(at: number): boolean {
    const isMarked = (this.#view.getUint8(at) & REASSEMBLED) !== 0;
    if (isMarked) this.#mark(at, 0);
    return isMarked;
  }

  #mark(at: number, bit: number): void {
    this.#view.setUint8(at, (this.#view.getUint8(at) & ~REASSEMBLED) | bit);
  }
}
