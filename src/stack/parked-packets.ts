/**
 * The packets of flows that wait for a verdict: a SYN, or the first datagrams. They lie in slabs,
 * frame and all, and arrive once more when the verdict is there.
 */
import type { Arena } from './arena.ts';
import { Counter, type Counters } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { FlowField } from './flow-row.ts';
import type { FlowTable } from './flow-table.ts';
import type { Packet } from './packet.ts';
import type { PacketTap } from './packet-tap.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT, SlabField, type SlabPool } from './slab-pool.ts';
import { datagramLength, UDP_HEADER_BYTES } from './wire/udp.ts';

/** A resolver sends two queries at once, and QUIC a handful; the others come again. */
const PACKETS_PER_FLOW = 8;

/** What happens to a packet that had to wait. `headerBytes` is the length of its vnet header. */
export type Replay = (frameAt: number, end: number, headerBytes: number) => void;

/** The datagrams of a superpacket that are shown: clients begin with two or three. */
const SHOWN_PER_PACKET = 8;

/** Payload of one UDP datagram. */
export type OnParked = (at: number, length: number) => void;

export class ParkedPackets {
  readonly #arena: Arena;
  readonly #flows: FlowTable;
  readonly #slabs: SlabPool;
  readonly #counters: Counters;
  readonly #tap: PacketTap;

  constructor(arena: Arena, flows: FlowTable, slabs: SlabPool, counters: Counters, tap: PacketTap) {
    this.#tap = tap;
    this.#arena = arena;
    this.#flows = flows;
    this.#slabs = slabs;
    this.#counters = counters;
  }

  /** Keeps a copy of a packet of the flow in `row`. */
  add(row: number, packet: Packet): DropReason {
    const { view, bytes } = this.#arena;
    let tail = this.#headOf(row);
    let count = tail === NO_SLAB ? 0 : 1;
    for (; tail !== NO_SLAB; count++) {
      const next = view.getInt32(tail + SlabField.NEXT, true);
      if (next === NO_SLAB) break;
      tail = next;
    }
    // The first must lie here for its flow to begin, and held flows are bounded.
    const isLean = count > 0 && this.#slabs.isLean;
    if (isLean || count >= PACKETS_PER_FLOW) return DropReason.PARKED_LIMIT;
    const length = packet.end - packet.frameAt;
    const slab = this.#slabs.take(length);
    if (slab === NO_SLAB) return DropReason.SLAB_BUDGET;
    bytes.copyWithin(slab + SLAB_PAYLOAD_AT, packet.frameAt, packet.end);
    view.setInt32(slab + SlabField.NEXT, NO_SLAB, true);
    view.setUint32(slab + SlabField.LENGTH, length, true);
    view.setUint32(slab + SlabField.HEADER_BYTES, packet.ipAt - packet.frameAt, true);
    view.setUint32(slab + SlabField.TRANSPORT_BYTES, packet.transportAt - packet.frameAt, true);
    view.setUint32(slab + SlabField.GSO_SIZE, packet.gsoSize, true);
    if (tail === NO_SLAB) this.#setHead(row, slab);
    else view.setInt32(tail + SlabField.NEXT, slab, true);
    this.#counters.add(Counter.IN_PARKED_NOW);
    return DropReason.NONE;
  }

  /** Position of the IP header of the oldest, or 0 when there is none. */
  firstAt(row: number): number {
    const slab = this.#headOf(row);
    if (slab === NO_SLAB) return 0;
    return slab + SLAB_PAYLOAD_AT + this.#arena.view.getUint32(slab + SlabField.HEADER_BYTES, true);
  }

  /**
   * Shows the datagrams of a UDP flow, oldest first, and keeps them.
   *
   * @param skip  packets at the front that are not shown
   * @returns     how many packets there are
   */
  show(row: number, skip: number, onDatagram: OnParked): number {
    const { view } = this.#arena;
    let count = 0;
    for (let slab = this.#headOf(row); slab !== NO_SLAB; count++) {
      if (count >= skip) this.#showPacket(slab, onDatagram);
      slab = view.getInt32(slab + SlabField.NEXT, true);
    }
    return count;
  }

  #showPacket(slab: number, onDatagram: OnParked): void {
    const { view } = this.#arena;
    const udpAt = slab + SLAB_PAYLOAD_AT + view.getUint32(slab + SlabField.TRANSPORT_BYTES, true);
    const length = datagramLength(view, udpAt) - UDP_HEADER_BYTES;
    const size = view.getUint32(slab + SlabField.GSO_SIZE, true) || length;
    // Once for a datagram without payload.
    for (let i = 0, from = 0; i === 0 || (i < SHOWN_PER_PACKET && from < length); i++) {
      onDatagram(udpAt + UDP_HEADER_BYTES + from, Math.min(size, length - from));
      from += size;
    }
  }

  /** Hands them over, oldest first, and forgets them. */
  replay(row: number, onPacket: Replay): void {
    const { view } = this.#arena;
    let slab = this.#headOf(row);
    this.#setHead(row, NO_SLAB);
    while (slab !== NO_SLAB) {
      const next = view.getInt32(slab + SlabField.NEXT, true);
      const at = slab + SLAB_PAYLOAD_AT;
      const end = at + view.getUint32(slab + SlabField.LENGTH, true);
      this.#counters.add(Counter.IN_PARKED_NOW, -1);
      onPacket(at, end, view.getUint32(slab + SlabField.HEADER_BYTES, true));
      this.#slabs.release(slab);
      slab = next;
    }
  }

  /** Forgets them: they are what `outcome` counts. */
  settle(row: number, outcome: Counter): void {
    this.#counters.add(outcome, this.#release(row));
  }

  /** Forgets them, and counts each as dropped. */
  drop(row: number, reason: DropReason): void {
    if (this.#tap.isOn) this.#tell(row, reason);
    this.#counters.drop(reason, this.#release(row));
  }

  #tell(row: number, reason: DropReason): void {
    const { view } = this.#arena;
    let slab = this.#headOf(row);
    while (slab !== NO_SLAB) {
      const at = slab + SLAB_PAYLOAD_AT;
      const end = at + view.getUint32(slab + SlabField.LENGTH, true);
      this.#tap.drops(at, end, view.getUint32(slab + SlabField.HEADER_BYTES, true), reason);
      slab = view.getInt32(slab + SlabField.NEXT, true);
    }
  }

  /** @returns how many there were */
  #release(row: number): number {
    const { view } = this.#arena;
    let slab = this.#headOf(row);
    if (slab === NO_SLAB) return 0;
    this.#setHead(row, NO_SLAB);
    let count = 0;
    for (; slab !== NO_SLAB; count++) {
      const next = view.getInt32(slab + SlabField.NEXT, true);
      this.#slabs.release(slab);
      slab = next;
    }
    this.#counters.add(Counter.IN_PARKED_NOW, -count);
    return count;
  }

  /** The row has the position and one more, so that a fresh row has none. */
  #headOf(row: number): number {
    return this.#arena.view.getUint32(this.#flows.rowAt(row) + FlowField.PARKED, true) - 1;
  }

  #setHead(row: number, slab: number): void {
    this.#arena.view.setUint32(this.#flows.rowAt(row) + FlowField.PARKED, slab + 1, true);
  }
}
