/**
 * The flow table: rows in the arena (flow-row.ts), found by a keyed hash of the tuple with
 * chaining through the rows themselves. Capacity is fixed; a full table is an answer.
 *
 * Every packet that enters the device travels in the original direction, client to gateway, so one
 * tuple per row is enough here. Of a flow that the stack opened, the far end stands as the source.
 */
import type { Arena } from './arena.ts';
import { FLOW_ROW_BYTES, FlowField, FlowPhase } from './flow-row.ts';
import type { HalfSipHash } from './sip-hash.ts';
import type { Instant } from './time.ts';

/** Not a row. */
export const NO_FLOW = -1;

export class FlowTable {
  readonly capacity: number;
  readonly #view: DataView;
  readonly #rowsAt: number;
  readonly #bucketsAt: number;
  readonly #mask: number;
  readonly #hash: HalfSipHash;
  #free = NO_FLOW;
  #used = 0;
  /** Rows never used since the start: the free list is made as it is needed. */
  #fresh = 0;
  #nextSerial = 1;

  static bytes(capacity: number): number {
    return (capacity + 1) * FLOW_ROW_BYTES + 64 + bucketCount(capacity) * 4 + 64;
  }

  constructor(arena: Arena, capacity: number, hash: HalfSipHash) {
    this.capacity = capacity;
    this.#view = arena.view;
    this.#rowsAt = arena.take((capacity + 1) * FLOW_ROW_BYTES);
    const buckets = bucketCount(capacity);
    this.#bucketsAt = arena.take(buckets * 4);
    this.#mask = buckets - 1;
    this.#hash = hash;
    new Int32Array(arena.buffer, this.#bucketsAt, buckets).fill(NO_FLOW);
  }

  /** Serial numbers go on after those of an earlier data plane. */
  continueAfter(serial: number): void {
    this.#nextSerial = serial + 1;
  }

  /** A row behind the last: of no flow, for an answer that is sent without one. */
  get scratchRow(): number {
    return this.capacity;
  }

  get used(): number {
    return this.#used;
  }

  /** Position of a row in the arena. */
  rowAt(row: number): number {
    return this.#rowsAt + row * FLOW_ROW_BYTES;
  }

  /** Keyed hash of a tuple whose addresses lie at positions of the arena. */
  hashOf(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    ports: number,
    protocol: number,
  ): number {
    const hash = this.#hash;
    const view = this.#view;
    hash.start();
    for (let i = 0; i < addressLength; i += 4) {
      hash.word(view.getInt32(sourceAt + i));
      hash.word(view.getInt32(destinationAt + i));
    }
    hash.word(ports);
    hash.word((addressLength << 8) | protocol);
    return hash.finish();
  }

  /** @returns the row of the tuple, or NO_FLOW */
  find(
    hash: number,
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
    protocol: number,
  ): number {
    const view = this.#view;
    let row = view.getInt32(this.#bucketsAt + (hash & this.#mask) * 4, true);
    while (row !== NO_FLOW) {
      const at = this.rowAt(row);
      if (
        view.getUint32(at + FlowField.HASH, true) === hash &&
        view.getUint16(at + FlowField.SOURCE_PORT, true) === sourcePort &&
        view.getUint16(at + FlowField.DESTINATION_PORT, true) === destinationPort &&
        view.getUint8(at + FlowField.PROTOCOL) === protocol &&
        view.getUint8(at + FlowField.FAMILY) === (addressLength === 4 ? 4 : 6) &&
        sameWords(view, at + FlowField.SOURCE, sourceAt, addressLength) &&
        sameWords(view, at + FlowField.DESTINATION, destinationAt, addressLength)
      ) {
        return row;
      }
      row = view.getInt32(at + FlowField.NEXT, true);
    }
    return NO_FLOW;
  }

  /** Adds a flow that `find` did not find. @returns its row, or NO_FLOW when the table is full */
  insert(
    hash: number,
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
    protocol: number,
    now: Instant,
  ): number {
    const view = this.#view;
    let row = this.#free;
    if (row !== NO_FLOW) this.#free = view.getInt32(this.rowAt(row) + FlowField.NEXT, true);
    else if (this.#fresh < this.capacity) row = this.#fresh++;
    else return NO_FLOW;
    this.#used += 1;
    this.writeTuple(row, sourceAt, destinationAt, addressLength, sourcePort, destinationPort);
    const at = this.rowAt(row);
    view.setUint8(at + FlowField.PROTOCOL, protocol);
    view.setFloat64(at + FlowField.STARTED_AT, now, true);
    view.setFloat64(at + FlowField.LAST_USED_AT, now, true);
    view.setUint32(at + FlowField.HASH, hash, true);
    const bucketAt = this.#bucketsAt + (hash & this.#mask) * 4;
    view.setInt32(at + FlowField.NEXT, view.getInt32(bucketAt, true), true);
    view.setInt32(bucketAt, row, true);
    view.setFloat64(at + FlowField.SERIAL, this.#nextSerial++, true);
    return row;
  }

  /** Makes the row that of a flow between these ends, of which nothing else is known. */
  writeTuple(
    row: number,
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
  ): void {
    const view = this.#view;
    const at = this.rowAt(row);
    for (let i = 0; i < FLOW_ROW_BYTES; i += 8) view.setFloat64(at + i, 0);
    for (let i = 0; i < addressLength; i += 4) {
      view.setInt32(at + FlowField.SOURCE + i, view.getInt32(sourceAt + i));
      view.setInt32(at + FlowField.DESTINATION + i, view.getInt32(destinationAt + i));
    }
    view.setUint16(at + FlowField.SOURCE_PORT, sourcePort, true);
    view.setUint16(at + FlowField.DESTINATION_PORT, destinationPort, true);
    view.setUint8(at + FlowField.FAMILY, addressLength === 4 ? 4 : 6);
  }

  /** Takes a flow out; its row is free at once. */
  remove(row: number): void {
    const view = this.#view;
    const at = this.rowAt(row);
    const hash = view.getUint32(at + FlowField.HASH, true);
    const next = view.getInt32(at + FlowField.NEXT, true);
    let linkAt = this.#bucketsAt + (hash & this.#mask) * 4;
    while (view.getInt32(linkAt, true) !== row) {
      linkAt = this.rowAt(view.getInt32(linkAt, true)) + FlowField.NEXT;
    }
    view.setInt32(linkAt, next, true);
    view.setFloat64(at + FlowField.SERIAL, 0, true);
    view.setUint8(at + FlowField.PHASE, FlowPhase.FREE);
    view.setInt32(at + FlowField.NEXT, this.#free, true);
    this.#free = row;
    this.#used -= 1;
  }

  isLive(row: number, serial: number): boolean {
    return (
      row >= 0 &&
      row < this.capacity &&
      serial !== 0 &&
      this.#view.getFloat64(this.rowAt(row) + FlowField.SERIAL, true) === serial
    );
  }
}

/** A power of two above the capacity, so that chains are short when the table is full. */
const bucketCount = (capacity: number): number => 2 ** Math.ceil(Math.log2(capacity + 1));

function sameWords(view: DataView, aAt: number, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i += 4) {
    if (view.getInt32(aAt + i) !== view.getInt32(bAt + i)) return false;
  }
  return true;
}
