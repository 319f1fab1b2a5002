/**
 * Somebody who looks on: packets as they come, as they leave, and what became of them. While nobody
 * does, each packet costs a look at `isOn`.
 */
import type { Counter } from './counters.ts';
import type { DropReason } from './drop-reason.ts';

export interface PacketTap {
  readonly isOn: boolean;
  /**
   * A frame [at, end) came in. Before `arrived` is called it may be rewritten, and others leave.
   *
   * @param headerBytes  of its vnet header
   */
  arrives(at: number, end: number, headerBytes: number): void;
  /** What became of it: NONE, or why it was dropped. */
  arrived(reason: DropReason): void;
  /** Before `arrived`: the stack of another queue has it now, and its tap sees it arrive. */
  handedOver(): void;
  /** The frame [frameAt, end) leaves, for a reason that is one of the counters `OUT_…`. */
  leaves(frameAt: number, ipAt: number, end: number, cause: Counter): void;
  /** The device refused the frame that left last. */
  refused(): void;
  /** A packet that had come before is dropped now. */
  drops(at: number, end: number, headerBytes: number, reason: DropReason): void;
}

export const NO_TAP: PacketTap = {
  isOn: false,
  arrives() {},
  arrived() {},
  handedOver() {},
  leaves() {},
  refused() {},
  drops() {},
};
