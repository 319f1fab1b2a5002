/**
 * Packets of a capture file: libpcap (draft-ietf-opsawg-pcap) and pcapng
 * (draft-ietf-opsawg-pcapng), of Ethernet, Linux cooked and bare IP links. The file is of a
 * stranger: every length is measured before it is used, and what makes no sense ends the reading.
 */

/** One IP packet. It stands alone in its view, with zeros where the capture cut it off. */
export interface CapturedPacket {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly view: DataView;
}

/** The file is no capture, or no more of it can be read. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  readonly code = 'CAPTURE';
}

const PCAP_MAGIC_US = 0xa1b2c3d4;
const PCAP_MAGIC_NS = 0xa1b23c4d;
const PcapField = { MAGIC: 0, LINK_TYPE: 20, HEADER_BYTES: 24 } as const;
const RecordField = { SECONDS: 0, FRACTION: 4, CAPTURED: 8, LENGTH: 12, HEADER_BYTES: 16 } as const;

const BlockType = { SECTION: 0x0a0d0d0a, INTERFACE: 1, SIMPLE: 3, ENHANCED: 6 } as const;
const SECTION_MAGIC = 0x1a2b3c4d;
/** Offsets in a block. Each ends with its length once more. */
const BlockField = { TYPE: 0, LENGTH: 4, BODY: 8, TRAILER_BYTES: 4, BYTES_MIN: 12 } as const;
const InterfaceField = { LINK_TYPE: 8, OPTIONS: 16 } as const;
const EnhancedField = {
  INTERFACE: 8,
  TIME_HIGH: 12,
  TIME_LOW: 16,
  CAPTURED: 20,
  LENGTH: 24,
  DATA: 28,
} as const;
const SimpleField = { LENGTH: 8, DATA: 12 } as const;
const OPTION_END = 0;
const OPTION_TIME_RESOLUTION = 9;

/** The most that an IP packet can be long, with any link header in front. */
const PACKET_BYTES_MAX = 65_535 + 64;

/** Values of the registry of link types; each says where the IP packet begins. */
const LinkType = {
  NULL: 0,
  ETHERNET: 1,
  RAW_BSD: 12,
  RAW_OPENBSD: 14,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const;
const LINK_HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [LinkType.NULL, 4],
  [LinkType.ETHERNET, 14],
  [LinkType.RAW_BSD, 0],
  [LinkType.RAW_OPENBSD, 0],
  [LinkType.RAW, 0],
  [LinkType.LOOP, 4],
  [LinkType.LINUX_SLL, 16],
  [LinkType.IPV4, 0],
  [LinkType.IPV6, 0],
  [LinkType.LINUX_SLL2, 20],
]);
/** IEEE 802.1Q and 802.1ad: four bytes more, the last two of them the next EtherType. */
const VLAN_TYPES: readonly number[] = [0x8100, 0x88a8];
const ETHER_TYPE_AT = 12;
const VLAN_BYTES = 4;
const VLAN_MAX = 4;

/** @throws CaptureError  `bytes` are neither format, or of a link without IP */
export function* readCapture(bytes: Uint8Array): Generator<CapturedPacket> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength >= BlockField.BYTES_MIN) {
    if (view.getUint32(0) === BlockType.SECTION) return yield* readPcapng(view);
    for (const isLittle of [true, false]) {
      const magic = view.getUint32(PcapField.MAGIC, isLittle);
      if (magic === PCAP_MAGIC_US) return yield* readPcap(view, isLittle, 1e3);
      if (magic === PCAP_MAGIC_NS) return yield* readPcap(view, isLittle, 1e6);
    }
  }
  throw new CaptureError('it is neither pcap nor pcapng');
}

/** @param perMs  how many of the fraction's units a millisecond has */
function* readPcap(view: DataView, isLittle: boolean, perMs: number): Generator<CapturedPacket> {
  if (view.byteLength < PcapField.HEADER_BYTES) return;
  const linkType = view.getUint32(PcapField.LINK_TYPE, isLittle) & 0xffff;
  let at: number = PcapField.HEADER_BYTES;
  while (view.byteLength - at >= RecordField.HEADER_BYTES) {
    const word = (field: number) => view.getUint32(at + field, isLittle);
    const atMs = word(RecordField.SECONDS) * 1000 + word(RecordField.FRACTION) / perMs;
    const [captured, length] = [word(RecordField.CAPTURED), word(RecordField.LENGTH)];
    at += RecordField.HEADER_BYTES;
    // A file that is still being written ends in the middle of a record.
    if (captured > view.byteLength - at) return;
    yield* packetAt(view, at, captured, length, linkType, atMs);
    at += captured;
  }
}

interface Interface {
  readonly linkType: number;
  /** Units of time in a millisecond. */
  readonly perMs: number;
}

function* readPcapng(view: DataView): Generator<CapturedPacket> {
  let isLittle = true;
  let interfaces: Interface[] = [];
  let at = 0;
  while (view.byteLength - at >= BlockField.BYTES_MIN) {
    const isSection = view.getUint32(at) === BlockType.SECTION;
    if (isSection) {
      isLittle = view.getUint32(at + BlockField.BODY, true) === SECTION_MAGIC;
      interfaces = [];
    }
    const type = view.getUint32(at + BlockField.TYPE, isLittle);
    const length = view.getUint32(at + BlockField.LENGTH, isLittle);
    if (length < BlockField.BYTES_MIN || length > view.byteLength - at) return;
    const block = new DataView(
      view.buffer,
      view.byteOffset + at,
      length - BlockField.TRAILER_BYTES,
    );
    if (type === BlockType.INTERFACE) interfaces.push(readInterface(block, isLittle));
    else if (type === BlockType.ENHANCED) yield* readEnhanced(block, isLittle, interfaces);
    else if (type === BlockType.SIMPLE) yield* readSimple(block, isLittle, interfaces);
    at += length;
  }
}

function readInterface(block: DataView, isLittle: boolean): Interface {
  if (block.byteLength < InterfaceField.OPTIONS) return { linkType: -1, perMs: 1e3 };
  const linkType = block.getUint16(InterfaceField.LINK_TYPE, isLittle);
  let at: number = InterfaceField.OPTIONS;
  while (block.byteLength - at > 4) {
    const [code, length] = [block.getUint16(at, isLittle), block.getUint16(at + 2, isLittle)];
    if (code === OPTION_END) break;
    if (code === OPTION_TIME_RESOLUTION && length === 1) {
      const value = block.getUint8(at + 4);
      // The highest bit tells whether the rest is a power of two, or of ten.
      const perSecond = value & 0x80 ? 2 ** (value & 0x7f) : 10 ** value;
      return { linkType, perMs: perSecond / 1000 };
    }
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return { linkType, perMs: 1e3 };
}

function* readEnhanced(
  block: DataView,
  isLittle: boolean,
  interfaces: readonly Interface[],
): Generator<CapturedPacket> {
  if (block.byteLength < EnhancedField.DATA) return;
  const word = (field: number) => block.getUint32(field, isLittle);
  const from = interfaces[word(EnhancedField.INTERFACE)];
  if (from === undefined) return;
  const time = word(EnhancedField.TIME_HIGH) * 2 ** 32 + word(EnhancedField.TIME_LOW);
  const captured = Math.min(word(EnhancedField.CAPTURED), block.byteLength - EnhancedField.DATA);
  const length = word(EnhancedField.LENGTH);
  yield* packetAt(block, EnhancedField.DATA, captured, length, from.linkType, time / from.perMs);
}

/** It has no time. */
function* readSimple(
  block: DataView,
  isLittle: boolean,
  [from]: readonly Interface[],
): Generator<CapturedPacket> {
  if (from === undefined || block.byteLength < SimpleField.DATA) return;
  const length = block.getUint32(SimpleField.LENGTH, isLittle);
  const captured = Math.min(length, block.byteLength - SimpleField.DATA);
  yield* packetAt(block, SimpleField.DATA, captured, length, from.linkType, 0);
}

/** The packet without its link header, as long as it was on the wire. */
function* packetAt(
  view: DataView,
  at: number,
  captured: number,
  length: number,
  linkType: number,
  atMs: number,
): Generator<CapturedPacket> {
  const header = linkHeaderBytes(view, at, at + captured, linkType);
  if (header === undefined)
    throw new CaptureError(`link type ${linkType} carries no IP known here`);
  if (header >= captured || length > PACKET_BYTES_MAX) return;
  const packet = new Uint8Array(Math.max(length, captured) - header);
  const start = view.byteOffset + at + header;
  packet.set(new Uint8Array(view.buffer, start, captured - header));
  yield { atMs, view: new DataView(packet.buffer) };
}

function linkHeaderBytes(
  view: DataView,
  at: number,
  end: number,
  linkType: number,
): number | undefined {
  const fixed = LINK_HEADER_BYTES.get(linkType);
  if (fixed === undefined || linkType !== LinkType.ETHERNET) return fixed;
  let header = fixed;
  for (let tags = 0; tags < VLAN_MAX; tags++) {
    const typeAt = at + ETHER_TYPE_AT + tags * VLAN_BYTES;
    if (end - typeAt < 2 || !VLAN_TYPES.includes(view.getUint16(typeAt))) break;
    header += VLAN_BYTES;
  }
  return header;
}
