/**
 * Copies packets that captures want into the ring that the supervisor reads. It never waits: what
 * finds no room is counted, and told in the file.
 *
 * A packet is copied as it came, with whatever the device left to do about it, before the stack may
 * rewrite it; whether anybody wants it is known when it is over, by the row that its flow has then.
 * A filter is asked here of all that stands in that row; names and ages are left to the supervisor,
 * who asks once more.
 */
import { monotonicNanoseconds, monotonicNow } from '../../../ffi/clock.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { DROP_REASON_NAMES, DropReason } from '../../../stack/drop-reason.ts';
import type { PacketTap } from '../../../stack/packet-tap.ts';
import type { Stack } from '../../../stack/stack.ts';
import {
  checksumOffset,
  checksumStart,
  gsoSize,
  VNET_HEADER_BYTES,
  VnetFlag,
  vnetFlags,
} from '../../../stack/wire/virtio-net.ts';
import type { RowTest } from '../../flow-filter/fields.ts';
import { parseRowFilter } from '../../flow-filter/parse.ts';
import { captureRing, PacketWay, RecordField } from '../../messages/capture-ring.ts';
import type { CaptureOrder } from '../../messages/control.ts';
import { NO_RECORD, type SharedRing } from '../../messages/shared-ring.ts';
import { PacketFlow } from './packet-flow.ts';

/** Every reason will do. */
const ANY_REASON = -1;
/** One that this binary does not have: nothing is dropped for it. */
const NO_REASON = -2;
const NO_NAMES = {
  scriptName: () => undefined,
  listenerName: () => undefined,
  upstreamName: () => undefined,
};

interface Wanted {
  readonly bit: number;
  readonly test: RowTest;
  /** Only packets that are dropped for this reason; undefined: all packets. */
  readonly reason: number | undefined;
}

export class CaptureTap implements PacketTap {
  isOn = false;
  readonly #ring: SharedRing;
  readonly #counters: Counters;
  #stack: Stack | undefined;
  #flow: PacketFlow | undefined;
  #wanted: readonly Wanted[] = [];
  #snapLength = 0;
  #newest = 0;
  /** The record of the frame that came in, while the stack is at it. */
  #arriving = NO_RECORD;
  #isArriving = false;
  /** The record of what left last. */
  #leaving = NO_RECORD;

  /** @param memory  of the ring */
  constructor(memory: ArrayBuffer, counters: Counters) {
    this.#ring = captureRing(memory);
    this.#counters = counters;
    counters.set(Counter.CAPTURES_NOW, 0);
  }

  attach(stack: Stack): void {
    this.#stack = stack;
    this.#flow = new PacketFlow(stack);
  }

  /** What is captured from now on. */
  configure(orders: readonly CaptureOrder[]): void {
    const context = { names: NO_NAMES, iface: '', nowUs: monotonicNow(), nowMs: 0 };
    this.#wanted = orders.map(({ slot, filter, drops }) => ({
      bit: 1 << slot,
      test: parseRowFilter(filter)(context),
      reason: drops === undefined ? undefined : reasonOf(drops),
    }));
    this.#snapLength = Math.max(0, ...orders.map(({ snapLength }) => snapLength));
    this.#newest = Math.max(0, ...orders.map(({ number }) => number));
    this.#counters.set(Counter.CAPTURES_NOW, orders.length);
    this.isOn = orders.length > 0;
  }

  arrives(at: number, end: number, headerBytes: number): void {
    this.#isArriving = true;
    this.#arriving = this.#copy(at, Math.min(at + headerBytes, end), end, PacketWay.IN);
  }

  arrived(reason: DropReason): void {
    const at = this.#arriving;
    this.#isArriving = false;
    this.#arriving = NO_RECORD;
    if (at !== NO_RECORD) {
      // Its flow may have begun since, or have got its verdict.
      this.#flow!.refresh(this.#ring.view, at + RecordField.ROW);
      this.#settle(at, reason);
    }
    this.#ring.publish();
  }

  handedOver(): void {
    if (this.#arriving !== NO_RECORD) this.#ring.takeBack(this.#arriving);
    this.#arriving = NO_RECORD;
  }

  leaves(frameAt: number, ipAt: number, end: number, cause: Counter): void {
    const at = this.#copy(frameAt, ipAt, end, PacketWay.OUT);
    this.#leaving = at;
    if (at === NO_RECORD) return;
    this.#ring.view.setUint8(at + RecordField.CAUSE, cause);
    if (!this.#settle(at, DropReason.NONE)) this.#leaving = NO_RECORD;
    this.#publish();
  }

  refused(): void {
    const at = this.#leaving;
    if (at === NO_RECORD) return;
    this.#ring.view.setUint8(at + RecordField.REASON, DropReason.DEVICE_WRITE_FAILED);
  }

  drops(at: number, end: number, headerBytes: number, reason: DropReason): void {
    // Who captures all packets has it since it came.
    if (this.#wanted.every((wanted) => wanted.reason === undefined)) return;
    const record = this.#copy(at, at + headerBytes, end, PacketWay.LATER);
    if (record === NO_RECORD) return;
    this.#settle(record, reason);
    this.#publish();
  }

  /** Not before the frame is over that came in: its record stands in front. */
  #publish(): void {
    if (!this.#isArriving) this.#ring.publish();
  }

  /** @returns the record, of which the row is written; NO_RECORD when there was no room */
  #copy(frameAt: number, ipAt: number, end: number, way: PacketWay): number {
    const { arena } = this.#stack!;
    const length = end - ipAt;
    const captured = Math.min(length, this.#snapLength);
    const at = this.#ring.begin(RecordField.PACKET + captured);
    if (at === NO_RECORD) {
      this.#counters.add(Counter.CAPTURE_LOST);
      return at;
    }
    const { view, bytes } = this.#ring;
    view.setUint8(at + RecordField.WAY, way);
    view.setUint8(at + RecordField.REASON, DropReason.NONE);
    view.setUint8(at + RecordField.CAUSE, 0);
    view.setUint32(at + RecordField.CAPTURED, captured, true);
    view.setUint32(at + RecordField.PACKET_LENGTH, length, true);
    view.setFloat64(at + RecordField.TIME, monotonicNanoseconds(), true);
    view.setUint32(at + RecordField.NEWEST, this.#newest, true);
    const hasHeader = ipAt - frameAt === VNET_HEADER_BYTES;
    const isPartial = hasHeader && (vnetFlags(arena.view, frameAt) & VnetFlag.NEEDS_CSUM) !== 0;
    const from = isPartial ? checksumStart(arena.view, frameAt) : 0;
    const offset = isPartial ? checksumOffset(arena.view, frameAt) : 0;
    const size = hasHeader ? gsoSize(arena.view, frameAt) : 0;
    view.setUint16(at + RecordField.GSO_SIZE, size, true);
    view.setUint16(at + RecordField.CHECKSUM_FROM, from, true);
    view.setUint16(at + RecordField.CHECKSUM_AT, isPartial ? from + offset : 0, true);
    const isOut = way === PacketWay.OUT;
    this.#flow!.write(view, at + RecordField.ROW, ipAt, end, isOut);
    // This view is all that a packet costs the collector, and only while somebody captures.
    bytes.set(arena.bytes.subarray(ipAt, ipAt + captured), at + RecordField.PACKET);
    return at;
  }

  /** Notes who wants the packet. @returns false when nobody does */
  #settle(at: number, reason: DropReason): boolean {
    const { view } = this.#ring;
    const isLater = view.getUint8(at + RecordField.WAY) === PacketWay.LATER;
    let wantedBy = 0;
    for (const wanted of this.#wanted) {
      const isMeant =
        wanted.reason === undefined
          ? !isLater
          : reason !== DropReason.NONE &&
            (wanted.reason === ANY_REASON || wanted.reason === reason);
      if (isMeant && wanted.test(view, at + RecordField.ROW)) wantedBy |= wanted.bit;
    }
    view.setUint8(at + RecordField.REASON, reason);
    view.setUint8(at + RecordField.WANTED_BY, wantedBy);
    if (wantedBy === 0) this.#ring.takeBack(at);
    else this.#counters.add(Counter.CAPTURED);
    return wantedBy !== 0;
  }
}

function reasonOf(drops: string): number {
  if (drops === 'any') return ANY_REASON;
  const reason = DROP_REASON_NAMES.indexOf(drops);
  return reason < 0 ? NO_REASON : reason;
}
