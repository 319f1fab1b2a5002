/**
 * Flows of datagrams that were refused a moment ago, so that a client that goes on sending is told
 * the same again, and neither takes a row nor asks a script with each datagram.
 *
 * A fixed table in which a tuple has one place, by its keyed hash: two that share it take turns,
 * and nobody can choose tuples that do. What is overwritten is asked about once more.
 */
import type { Arena } from './arena.ts';
import { FlowField } from './flow-row.ts';
import type { IcmpErrorKind } from './icmp-error-kind.ts';
import type { Packet } from './packet.ts';
import { after, type Instant, seconds } from './time.ts';
import { addressEquals } from './wire/ip-address.ts';

/** A power of two. */
const ENTRIES = 4096;
/** Short, for the next answer may be another: a script may learn, and an upstream come back. */
const LIFE_US = seconds(1);

/** Offsets in bytes; host byte order, but for the addresses. */
const EntryField = {
  /** float64 Instant */
  UNTIL: 0,
  /** 16 bytes each, as in the flow's row. */
  SOURCE: 8,
  DESTINATION: 24,
  /** uint16 each */
  SOURCE_PORT: 40,
  DESTINATION_PORT: 42,
  /** uint8 each */
  PROTOCOL: 44,
  FAMILY: 45,
  /** A value of IcmpErrorKind, or SILENT. */
  KIND: 46,
} as const;
const ENTRY_BYTES = 48;
const ADDRESS_BYTES = 16;

/** In place of a kind of error: nothing is sent. */
export const SILENT = 0xff;
/** The flow was not refused, or too long ago. */
export const NOT_REFUSED = -1;

export class Refusals {
  readonly #view: DataView;
  readonly #at: number;

  static readonly BYTES = ENTRIES * ENTRY_BYTES + 64;

  constructor(arena: Arena) {
    this.#view = arena.view;
    this.#at = arena.take(ENTRIES * ENTRY_BYTES);
    // Of an earlier owner of the memory, whose hash had another key.
    this.clear();
  }

  /** Forgets all: who decides has changed. */
  clear(): void {
    for (let i = 0; i < ENTRIES; i++) {
      this.#view.setFloat64(this.#at + i * ENTRY_BYTES + EntryField.UNTIL, 0, true);
    }
  }

  /** The flow whose row lies at `rowAt` is refused. @param kind  how its client is told */
  add(rowAt: number, kind: IcmpErrorKind | typeof SILENT, now: Instant): void {
    const view = this.#view;
    const at = this.#placeOf(view.getUint32(rowAt + FlowField.HASH, true));
    for (let i = 0; i < ADDRESS_BYTES; i += 4) {
      view.setInt32(at + EntryField.SOURCE + i, view.getInt32(rowAt + FlowField.SOURCE + i));
      const word = view.getInt32(rowAt + FlowField.DESTINATION + i);
      view.setInt32(at + EntryField.DESTINATION + i, word);
    }
    const sourcePort = view.getUint16(rowAt + FlowField.SOURCE_PORT, true);
    const destinationPort = view.getUint16(rowAt + FlowField.DESTINATION_PORT, true);
    view.setUint16(at + EntryField.SOURCE_PORT, sourcePort, true);
    view.setUint16(at + EntryField.DESTINATION_PORT, destinationPort, true);
    view.setUint8(at + EntryField.PROTOCOL, view.getUint8(rowAt + FlowField.PROTOCOL));
    view.setUint8(at + EntryField.FAMILY, view.getUint8(rowAt + FlowField.FAMILY));
    view.setUint8(at + EntryField.KIND, kind);
    view.setFloat64(at + EntryField.UNTIL, after(now, LIFE_US), true);
  }

  /**
   * How the flow of a packet was refused: a value of IcmpErrorKind, SILENT, or NOT_REFUSED.
   *
   * @param packet  its hash is that of its tuple
   */
  find(packet: Packet, now: Instant): number {
    const view = this.#view;
    const at = this.#placeOf(packet.hash);
    const length = packet.addressLength;
    const isFound =
      view.getFloat64(at + EntryField.UNTIL, true) > now &&
      view.getUint16(at + EntryField.SOURCE_PORT, true) === packet.sourcePort &&
      view.getUint16(at + EntryField.DESTINATION_PORT, true) === packet.destinationPort &&
      view.getUint8(at + EntryField.PROTOCOL) === packet.protocol &&
      view.getUint8(at + EntryField.FAMILY) === (length === 4 ? 4 : 6) &&
      addressEquals(view, at + EntryField.SOURCE, packet.sourceAt, length) &&
      addressEquals(view, at + EntryField.DESTINATION, packet.destinationAt, length);
    return isFound ? view.getUint8(at + EntryField.KIND) : NOT_REFUSED;
  }

  #placeOf(hash: number): number {
    return this.#at + (hash & (ENTRIES - 1)) * ENTRY_BYTES;
  }
}
