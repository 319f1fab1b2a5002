/**
 * The flow table: rows in the arena (flow-row.ts), found by a keyed hash of the tuple with
 * chaining through the rows themselves. Capacity is fixed; a full table is an answer.
 *
 * A flow that ends here is met in one direction only, from the client, so its original tuple is
 * enough; of a flow that the stack opened, the far end stands as the source. Of a flow that is
 * rewritten, both directions pass, and `insertReply` adds the tuple of its replies. A link of a
 * chain is the row's number, times two, and one more when it stands for replies.
 */
import type { Arena } from './arena.ts';
import { FLOW_ROW_BYTES, FlowField, FlowPhase, REPLY_FIELDS, TrackBit } from './flow-row.ts';
import type { HalfSipHash } from './sip-hash.ts';
import type { Instant } from './time.ts';

/** Not a row. */
export const NO_FLOW = -1;
const NO_LINK = -1;

export interface SerialNumbers {
  readonly first: number;
  readonly step: number;
}

/** Where a table lies in its arena. Others that know the capacity find it there: peer-table.ts. */
export function placeFlowTable(arena: Arena, capacity: number, wantedBuckets: number) {
  const buckets = bucketCount(capacity, wantedBuckets);
  const rowsAt = arena.take((capacity + 1) * FLOW_ROW_BYTES);
  return { rowsAt, bucketsAt: arena.take(buckets * 4), buckets };
}

export class FlowTable {
  readonly capacity: number;
  readonly #view: DataView;
  readonly #rowsAt: number;
  readonly #bucketsAt: number;
  readonly #mask: number;
  readonly #hash: HalfSipHash;
  /** Flows that there may be, at most `capacity`; those beyond it live on. */
  limit: number;
  #free = NO_FLOW;
  #used = 0;
  /** Rows never used since the start: the free list is made as it is needed. */
  #fresh = 0;
  /** One past the highest row that an earlier data plane left and that was taken over. */
  #adoptedEnd = 0;
  readonly #serialStep: number;
  #nextSerial: number;
  /** The tuple that the last successful `find` met was that of replies. */
  foundReply = false;
  /** Of what `#findEnds` has looked for. */
  #foundHash = 0;

  /** @param buckets  of the hash; 0 leaves it to the capacity */
  static bytes(capacity: number, buckets = 0): number {
    return (capacity + 1) * FLOW_ROW_BYTES + 64 + bucketCount(capacity, buckets) * 4 + 64;
  }

  /**
   * @param serials  the first serial number, and the distance to the next: tables that do not know
   *                 of each other must not give the same one
   */
  constructor(
    arena: Arena,
    capacity: number,
    hash: HalfSipHash,
    wantedBuckets = 0,
    serials: SerialNumbers = { first: 1, step: 1 },
  ) {
    const place = placeFlowTable(arena, capacity, wantedBuckets);
    this.capacity = capacity;
    this.limit = capacity;
    this.#view = arena.view;
    this.#rowsAt = place.rowsAt;
    this.#bucketsAt = place.bucketsAt;
    this.#mask = place.buckets - 1;
    this.#hash = hash;
    this.#nextSerial = serials.first;
    this.#serialStep = serials.step;
    new Int32Array(arena.buffer, this.#bucketsAt, place.buckets).fill(NO_LINK);
  }

  /** Serial numbers go on after those of an earlier data plane. */
  continueAfter(serial: number): void {
    if (serial >= this.#nextSerial) this.#nextSerial = serial + this.#serialStep;
  }

  /** A row behind the last: of no flow, for an answer that is sent without one. */
  get scratchRow(): number {
    return this.capacity;
  }

  get used(): number {
    return this.#used;
  }

  /** Another flow is refused. */
  get isFull(): boolean {
    return this.#used >= this.limit;
  }

  /** One past the highest row that may hold a flow: what a walk over all flows has to look at. */
  get end(): number {
    return Math.max(this.#fresh, this.#adoptedEnd);
  }

  /** The first flow in `row` or behind it; NO_FLOW when there is none. For a dump. */
  nextLive(row: number): number {
    const end = this.end;
    for (let next = row; next < end; next++) {
      if (this.#isTaken(next)) return next;
    }
    return NO_FLOW;
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

  /** @returns the row of the tuple, or NO_FLOW; `foundReply` says which of the row's two it is */
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
    let link = view.getInt32(this.#bucketsAt + (hash & this.#mask) * 4, true);
    while (link !== NO_LINK) {
      const at = this.rowAt(link >> 1);
      const isReply = (link & 1) !== 0;
      const linkAt = isReply ? at + REPLY_FIELDS : at;
      if (
        view.getUint32(linkAt + FlowField.HASH, true) === hash &&
        view.getUint8(at + FlowField.PROTOCOL) === protocol &&
        view.getUint8(at + FlowField.FAMILY) === (addressLength === 4 ? 4 : 6) &&
        (isReply
          ? this.#isReplyTuple(
              at,
              sourceAt,
              destinationAt,
              addressLength,
              sourcePort,
              destinationPort,
            )
          : view.getUint16(at + FlowField.SOURCE_PORT, true) === sourcePort &&
            view.getUint16(at + FlowField.DESTINATION_PORT, true) === destinationPort &&
            sameWords(view, at + FlowField.SOURCE, sourceAt, addressLength) &&
            sameWords(view, at + FlowField.DESTINATION, destinationAt, addressLength))
      ) {
        this.foundReply = isReply;
        return link >> 1;
      }
      link = view.getInt32(linkAt + FlowField.NEXT, true);
    }
    return NO_FLOW;
  }

  /** As `find`, of a tuple whose hash nobody has asked for. */
  findTuple(
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
    protocol: number,
  ): number {
    const ports = (sourcePort << 16) | destinationPort;
    const hash = this.hashOf(sourceAt, destinationAt, addressLength, ports, protocol);
    return this.find(
      hash,
      sourceAt,
      destinationAt,
      addressLength,
      sourcePort,
      destinationPort,
      protocol,
    );
  }

  /** Whether replies of the flow whose row lies at `at` come from and go to these ends. */
  #isReplyTuple(
    at: number,
    sourceAt: number,
    destinationAt: number,
    addressLength: number,
    sourcePort: number,
    destinationPort: number,
  ): boolean {
    const view = this.#view;
    return (
      view.getUint16(at + FlowField.UPSTREAM_PORT, true) === sourcePort &&
      view.getUint16(at + FlowField.NAT_SOURCE_PORT, true) === destinationPort &&
      sameWords(view, at + FlowField.UPSTREAM, sourceAt, addressLength) &&
      sameWords(view, at + FlowField.NAT_SOURCE, destinationAt, addressLength)
    );
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
    const row = this.#takeRow();
    if (row === NO_FLOW) return NO_FLOW;
    this.#used += 1;
    this.writeTuple(row, sourceAt, destinationAt, addressLength, sourcePort, destinationPort);
    const at = this.rowAt(row);
    view.setUint8(at + FlowField.PROTOCOL, protocol);
    view.setFloat64(at + FlowField.STARTED_AT, now, true);
    view.setFloat64(at + FlowField.LAST_USED_AT, now, true);
    this.#link(row * 2, at, hash);
    view.setFloat64(at + FlowField.SERIAL, this.#nextSerial, true);
    this.#nextSerial += this.#serialStep;
    return row;
  }

  /**
   * Makes the row findable by its replies: from UPSTREAM to NAT_SOURCE. A flow whose two tuples are
   * the same, from an end to itself, has nothing to add.
   *
   * @returns the row that has this tuple already, in either direction; NO_FLOW when all is well
   */
  insertReply(row: number): number {
    const view = this.#view;
    const at = this.rowAt(row);
    const sourcePort = view.getUint16(at + FlowField.UPSTREAM_PORT, true);
    const port = view.getUint16(at + FlowField.NAT_SOURCE_PORT, true);
    const { UPSTREAM, NAT_SOURCE } = FlowField;
    const found = this.#findEnds(at, at + UPSTREAM, at + NAT_SOURCE, sourcePort, port);
    if (found === row) return NO_FLOW;
    if (found !== NO_FLOW) return found;
    this.#link(row * 2 + 1, at + REPLY_FIELDS, this.#foundHash);
    const bits = view.getUint8(at + FlowField.TRACK_BITS);
    view.setUint8(at + FlowField.TRACK_BITS, bits | TrackBit.HAS_REPLY);
    return NO_FLOW;
  }

  /**
   * Takes over a flow that an earlier data plane left in `row`, under its serial number; its
   * replies are not found before `insertReply`.
   *
   * @returns false when another row has its tuple: the flow is lost
   */
  adopt(row: number): boolean {
    const view = this.#view;
    const at = this.rowAt(row);
    const sourcePort = view.getUint16(at + FlowField.SOURCE_PORT, true);
    const port = view.getUint16(at + FlowField.DESTINATION_PORT, true);
    const { SOURCE, DESTINATION } = FlowField;
    const found = this.#findEnds(at, at + SOURCE, at + DESTINATION, sourcePort, port);
    if (found !== NO_FLOW) return false;
    this.#link(row * 2, at, this.#foundHash);
    const bits = view.getUint8(at + FlowField.TRACK_BITS);
    view.setUint8(at + FlowField.TRACK_BITS, bits & ~TrackBit.HAS_REPLY);
    this.#used += 1;
    this.#adoptedEnd = Math.max(this.#adoptedEnd, row + 1);
    return true;
  }

  /** As `find`, of two ends that stand in the row at `at`; keeps their hash. */
  #findEnds(at: number, from: number, to: number, fromPort: number, toPort: number): number {
    const length = this.#view.getUint8(at + FlowField.FAMILY) === 4 ? 4 : 16;
    const protocol = this.#view.getUint8(at + FlowField.PROTOCOL);
    this.#foundHash = this.hashOf(from, to, length, (fromPort << 16) | toPort, protocol);
    return this.find(this.#foundHash, from, to, length, fromPort, toPort, protocol);
  }

  /** A free row; those that were taken over before any was used are passed by. */
  #takeRow(): number {
    if (this.isFull) return NO_FLOW;
    const row = this.#free;
    if (row !== NO_FLOW) {
      this.#free = this.#view.getInt32(this.rowAt(row) + FlowField.NEXT, true);
      return row;
    }
    while (this.#fresh < this.#adoptedEnd && this.#isTaken(this.#fresh)) this.#fresh += 1;
    return this.#fresh < this.capacity ? this.#fresh++ : NO_FLOW;
  }

  #isTaken(row: number): boolean {
    return this.#view.getFloat64(this.rowAt(row) + FlowField.SERIAL, true) !== 0;
  }

  /** @param at  position from which NEXT and HASH of the link are reached */
  #link(link: number, at: number, hash: number): void {
    const view = this.#view;
    view.setUint32(at + FlowField.HASH, hash, true);
    const bucketAt = this.#bucketsAt + (hash & this.#mask) * 4;
    view.setInt32(at + FlowField.NEXT, view.getInt32(bucketAt, true), true);
    view.setInt32(bucketAt, link, true);
  }

  #unlink(link: number): void {
    const view = this.#view;
    const at = this.#linkAt(link);
    const hash = view.getUint32(at + FlowField.HASH, true);
    let pointerAt = this.#bucketsAt + (hash & this.#mask) * 4;
    while (view.getInt32(pointerAt, true) !== link) {
      pointerAt = this.#linkAt(view.getInt32(pointerAt, true)) + FlowField.NEXT;
    }
    view.setInt32(pointerAt, view.getInt32(at + FlowField.NEXT, true), true);
  }

  #linkAt(link: number): number {
    return this.rowAt(link >> 1) + (link & 1) * REPLY_FIELDS;
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

  /** Takes a flow out, with both of its tuples; its row is free at once. */
  remove(row: number): void {
    const view = this.#view;
    const at = this.rowAt(row);
    this.#unlink(row * 2);
    const bits = view.getUint8(at + FlowField.TRACK_BITS);
    if ((bits & TrackBit.HAS_REPLY) !== 0) this.#unlink(row * 2 + 1);
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

/**
 * A power of two: the wanted number or the next above it, else one for each tuple that the rows may
 * have, so that chains are short when the table is full.
 */
const bucketCount = (capacity: number, wanted: number): number =>
  2 ** Math.ceil(Math.log2(wanted > 0 ? wanted : 2 * capacity));

function sameWords(view: DataView, aAt: number, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i += 4) {
    if (view.getInt32(aAt + i) !== view.getInt32(bAt + i)) return false;
  }
  return true;
}
