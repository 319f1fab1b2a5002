/** TCP options: RFC 9293 §3.2, RFC 7323 (window scale, timestamps), RFC 2018 (SACK). */
import { DropReason } from '../drop-reason.ts';
import { headerLength, TCP_HEADER_BYTES } from './tcp.ts';

const OptionKind = {
  END: 0,
  NOP: 1,
  MSS: 2,
  WINDOW_SCALE: 3,
  SACK_PERMITTED: 4,
  SACK: 5,
  TIMESTAMPS: 8,
} as const;

/** Lengths in bytes, kind and length included. */
const OptionBytes = { MSS: 4, WINDOW_SCALE: 3, SACK_PERMITTED: 2, TIMESTAMPS: 10 } as const;

/** Offsets in an option. */
const OptionField = { KIND: 0, LENGTH: 1, VALUE: 2, TS_ECHO: 6 } as const;

/** Left and right edge of a SACK block, RFC 2018 §3. */
export const SACK_BLOCK_BYTES = 8;
/** What `emitTimestamps` writes. */
export const TIMESTAMPS_BYTES = 12;
/** RFC 7323 §2.3: a larger shift is used as 14. */
const MAX_WINDOW_SCALE = 14;

/** NOP NOP in front of a SACK option, so that its blocks stand at a multiple of 4. */
const SACK_LEAD_BYTES = 2;

/** NOP NOP TIMESTAMPS 10, as RFC 7323 appendix A lays it out; so does nearly every segment. */
const TIMESTAMPS_WORD = 0x0101080a;
/** The two NOPs in front of it. */
const TIMESTAMPS_LEAD = 2;

/**
 * The options of one segment. One object is reused: its fields hold the answer of the last parse.
 * Window scale, MSS and SACK-permitted mean something on a SYN only; the caller knows.
 */
export class TcpOptions {
  /** Bytes; 0 when absent. */
  mss = 0;
  /** Shift count, at most 14; -1 when absent. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  /** uint32 */
  tsValue = 0;
  tsEcho = 0;
  /** Blocks of SACK_BLOCK_BYTES at `sackAt`. */
  sackCount = 0;
  sackAt = 0;

  /**
   * Reads the options of the segment at `tcpAt`, which has passed `checkTcp`. Unknown options are
   * skipped; a length that does not fit is BAD_TCP_OPTION.
   */
  parse(view: DataView, tcpAt: number): DropReason {
    this.clear();
    const at = tcpAt + TCP_HEADER_BYTES;
    const end = tcpAt + headerLength(view, tcpAt);
    if (end - at === TIMESTAMPS_BYTES && view.getInt32(at) === TIMESTAMPS_WORD) {
      this.#readTimestamps(view, at + TIMESTAMPS_LEAD);
      return DropReason.NONE;
    }
    return this.#parseEach(view, at, end);
  }

  /** The options of a segment that has none. */
  clear(): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.tsValue = 0;
    this.tsEcho = 0;
    this.sackCount = 0;
    this.sackAt = 0;
  }

  #parseEach(view: DataView, at: number, end: number): DropReason {
    let position = at;
    while (position < end) {
      const kind = view.getUint8(position + OptionField.KIND);
      if (kind === OptionKind.END) return DropReason.NONE;
      if (kind === OptionKind.NOP) {
        position += 1;
        continue;
      }
      if (end - position < 2) return DropReason.BAD_TCP_OPTION;
      const length = view.getUint8(position + OptionField.LENGTH);
      if (length < 2 || length > end - position) return DropReason.BAD_TCP_OPTION;
      if (!this.#readOption(view, position, kind, length)) return DropReason.BAD_TCP_OPTION;
      position += length;
    }
    return DropReason.NONE;
  }

  /** False when a known option has not its length. */
  #readOption(view: DataView, at: number, kind: number, length: number): boolean {
    switch (kind) {
      case OptionKind.MSS:
        if (length !== OptionBytes.MSS) return false;
        this.mss = view.getUint16(at + OptionField.VALUE);
        return true;
      case OptionKind.WINDOW_SCALE:
        if (length !== OptionBytes.WINDOW_SCALE) return false;
        this.windowScale = Math.min(view.getUint8(at + OptionField.VALUE), MAX_WINDOW_SCALE);
        return true;
      case OptionKind.SACK_PERMITTED:
        this.sackPermitted = length === OptionBytes.SACK_PERMITTED;
        return this.sackPermitted;
      case OptionKind.TIMESTAMPS:
        if (length !== OptionBytes.TIMESTAMPS) return false;
        this.#readTimestamps(view, at);
        return true;
      case OptionKind.SACK: {
        const blockBytes = length - OptionField.VALUE;
        if (blockBytes === 0 || blockBytes % SACK_BLOCK_BYTES !== 0) return false;
        this.sackCount = blockBytes / SACK_BLOCK_BYTES;
        this.sackAt = at + OptionField.VALUE;
        return true;
      }
      default:
        return true;
    }
  }

  #readTimestamps(view: DataView, at: number): void {
    this.hasTimestamps = true;
    this.tsValue = view.getUint32(at + OptionField.VALUE);
    this.tsEcho = view.getUint32(at + OptionField.TS_ECHO);
  }
}

/** No MSS option in this range. */
export const NO_MSS = -1;

/**
 * Where the value of the next MSS option of the options in [at, end) lies. What cannot be read
 * ends the search: it may be a packet of somebody else's connection, and is not ours to refuse.
 */
export function mssValueAt(view: DataView, at: number, end: number): number {
  let position = at;
  while (position < end) {
    const kind = view.getUint8(position + OptionField.KIND);
    if (kind === OptionKind.END) return NO_MSS;
    if (kind === OptionKind.NOP) {
      position += 1;
      continue;
    }
    if (end - position < 2) return NO_MSS;
    const length = view.getUint8(position + OptionField.LENGTH);
    if (length < 2 || length > end - position) return NO_MSS;
    if (kind === OptionKind.MSS && length === OptionBytes.MSS) return position + OptionField.VALUE;
    position += length;
  }
  return NO_MSS;
}

/** Writes NOP NOP TIMESTAMPS and returns its 12 bytes. */
export function emitTimestamps(view: DataView, at: number, value: number, echo: number): number {
  view.setInt32(at, TIMESTAMPS_WORD);
  view.setUint32(at + TIMESTAMPS_LEAD + OptionField.VALUE, value);
  view.setUint32(at + TIMESTAMPS_LEAD + OptionField.TS_ECHO, echo);
  return TIMESTAMPS_BYTES;
}

/** Bytes that `emitSack` writes for so many blocks. */
export const sackBytes = (count: number): number =>
  count === 0 ? 0 : SACK_LEAD_BYTES + OptionField.VALUE + count * SACK_BLOCK_BYTES;

/** Writes NOP NOP SACK and its blocks, RFC 2018 §3. @param edges  left and right edge of each */
export function emitSack(view: DataView, at: number, edges: Uint32Array, count: number): void {
  view.setUint16(at, (OptionKind.NOP << 8) | OptionKind.NOP);
  const optionAt = at + SACK_LEAD_BYTES;
  view.setUint8(optionAt + OptionField.KIND, OptionKind.SACK);
  view.setUint8(optionAt + OptionField.LENGTH, OptionField.VALUE + count * SACK_BLOCK_BYTES);
  const blocksAt = optionAt + OptionField.VALUE;
  for (let i = 0; i < 2 * count; i++) view.setUint32(blocksAt + i * 4, edges[i]!);
}

/**
 * Writes the options of a SYN or SYN-ACK, each filled up with NOPs to a multiple of 4.
 *
 * @param windowScale  -1 leaves it out
 * @returns            bytes written
 */
export function emitSynOptions(
  view: DataView,
  at: number,
  mss: number,
  windowScale: number,
  sackPermitted: boolean,
  hasTimestamps: boolean,
  tsValue: number,
  tsEcho: number,
): number {
  let position = at;
  view.setUint8(position, OptionKind.MSS);
  view.setUint8(position + OptionField.LENGTH, OptionBytes.MSS);
  view.setUint16(position + OptionField.VALUE, mss);
  position += OptionBytes.MSS;
  if (hasTimestamps) position += emitTimestamps(view, position, tsValue, tsEcho);
  if (sackPermitted) {
    view.setUint16(position, (OptionKind.NOP << 8) | OptionKind.NOP);
    view.setUint8(position + 2, OptionKind.SACK_PERMITTED);
    view.setUint8(position + 3, OptionBytes.SACK_PERMITTED);
    position += 4;
  }
  if (windowScale >= 0) {
    view.setUint8(position, OptionKind.NOP);
    view.setUint8(position + 1, OptionKind.WINDOW_SCALE);
    view.setUint8(position + 2, OptionBytes.WINDOW_SCALE);
    view.setUint8(position + 3, windowScale);
    position += 4;
  }
  return position - at;
}
