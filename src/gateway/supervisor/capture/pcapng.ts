/** Blocks of a capture file: draft-ietf-opsawg-pcapng. Little-endian, one interface of bare IP. */

const BlockType = { SECTION: 0x0a0d0d0a, INTERFACE: 1, STATISTICS: 5, ENHANCED: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** LINKTYPE_RAW: the packet begins with its IPv4 or IPv6 header. */
const LINK_TYPE_RAW = 101;
const SECTION_LENGTH_UNKNOWN = 0xffff_ffff;
const BLOCK_FRAME_BYTES = 12;

const Option = { END: 0, COMMENT: 1 } as const;
const SectionOption = { OS: 3, APPLICATION: 4 } as const;
const InterfaceOption = { NAME: 2, DESCRIPTION: 3, TIME_RESOLUTION: 9 } as const;
const PacketOption = { FLAGS: 2 } as const;
const StatisticsOption = { START: 2, END: 3, RECEIVED: 4, DROPPED: 5 } as const;
/** Of epb_flags: bits 0 and 1. */
export const Direction = { UNKNOWN: 0, INBOUND: 1, OUTBOUND: 2 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];
/** 10^-9 seconds. */
const NANOSECONDS = 9;

const utf8 = new TextEncoder();

/** @param comment  one line for whoever opens the file */
export function sectionHeader(application: string, comment: string): Uint8Array {
  const body = bytesOf(16, (view) => {
    view.setUint32(0, BYTE_ORDER_MAGIC, true);
    view.setUint16(4, 1, true);
    view.setUint16(6, 0, true);
    view.setUint32(8, SECTION_LENGTH_UNKNOWN, true);
    view.setUint32(12, SECTION_LENGTH_UNKNOWN, true);
  });
  return block(BlockType.SECTION, [
    body,
    ...option(SectionOption.OS, utf8.encode('Linux')),
    ...option(SectionOption.APPLICATION, utf8.encode(application)),
    ...option(Option.COMMENT, utf8.encode(comment)),
    ...END,
  ]);
}

/** @param snapLength  the most bytes of a packet that are there */
export function interfaceDescription(
  name: string,
  description: string,
  snapLength: number,
): Uint8Array {
  const body = bytesOf(8, (view) => {
    view.setUint16(0, LINK_TYPE_RAW, true);
    view.setUint32(4, snapLength, true);
  });
  return block(BlockType.INTERFACE, [
    body,
    ...option(InterfaceOption.NAME, utf8.encode(name)),
    ...option(InterfaceOption.DESCRIPTION, utf8.encode(description)),
    ...option(InterfaceOption.TIME_RESOLUTION, Uint8Array.of(NANOSECONDS)),
    ...END,
  ]);
}

/**
 * @param time    nanoseconds since 1970
 * @param packet  what is there of it
 * @param length  what it had
 */
export function enhancedPacket(
  time: bigint,
  packet: Uint8Array,
  length: number,
  direction: Direction,
  comment: string,
): Uint8Array {
  const body = bytesOf(20, (view) => {
    writeTime(view, 4, time);
    view.setUint32(12, packet.length, true);
    view.setUint32(16, length, true);
  });
  return block(BlockType.ENHANCED, [
    body,
    ...padded(packet),
    ...option(PacketOption.FLAGS, word(direction)),
    ...option(Option.COMMENT, utf8.encode(comment)),
    ...END,
  ]);
}

/** Counts since `start`; a later block of this kind takes the place of an earlier one. */
export function interfaceStatistics(
  start: bigint,
  now: bigint,
  received: number,
  dropped: number,
): Uint8Array {
  const body = bytesOf(12, (view) => writeTime(view, 4, now));
  const timeOption = (time: bigint) => bytesOf(8, (view) => writeTime(view, 0, time));
  return block(BlockType.STATISTICS, [
    body,
    ...option(StatisticsOption.START, timeOption(start)),
    ...option(StatisticsOption.END, timeOption(now)),
    ...option(StatisticsOption.RECEIVED, wide(received)),
    ...option(StatisticsOption.DROPPED, wide(dropped)),
    ...END,
  ]);
}

/** The high word stands first, whatever the order of bytes. */
function writeTime(view: DataView, at: number, time: bigint): void {
  view.setUint32(at, Number(time >> 32n), true);
  view.setUint32(at + 4, Number(time & 0xffff_ffffn), true);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = BLOCK_FRAME_BYTES + parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  let at = 8;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  view.setUint32(at, length, true);
  return bytes;
}

const option = (code: number, value: Uint8Array): Uint8Array[] => [
  bytesOf(4, (view) => {
    view.setUint16(0, code, true);
    view.setUint16(2, value.length, true);
  }),
  ...padded(value),
];

const END: readonly Uint8Array[] = [new Uint8Array(4)];

/** Blocks and options are of whole 32-bit words. */
const padded = (bytes: Uint8Array): Uint8Array[] => [bytes, new Uint8Array(-bytes.length & 3)];

const word = (value: number): Uint8Array => bytesOf(4, (view) => view.setUint32(0, value, true));
const wide = (value: number): Uint8Array =>
  bytesOf(8, (view) => view.setBigUint64(0, BigInt(value), true));

function bytesOf(length: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  write(new DataView(bytes.buffer));
  return bytes;
}
