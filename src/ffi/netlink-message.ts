/**
 * Messages of rtnetlink: a header, a struct of the family, and attributes, each aligned to four
 * bytes. Source: linux/netlink.h, linux/rtnetlink.h; layouts are in `structs.ts`.
 */
import { allocateStruct, type StructMemory } from './memory.ts';
import { HOST_ORDER, NlMsgHdr, RtAttr } from './structs.ts';

export const MessageType = {
  ERROR: 2,
  DONE: 3,
  RTM_NEWLINK: 16,
  RTM_DELLINK: 17,
  RTM_GETLINK: 18,
  RTM_NEWADDR: 20,
  RTM_DELADDR: 21,
  RTM_GETADDR: 22,
  RTM_NEWROUTE: 24,
  RTM_DELROUTE: 25,
  RTM_GETROUTE: 26,
  RTM_NEWRULE: 32,
  RTM_DELRULE: 33,
  RTM_GETRULE: 34,
} as const;

/** `RTM_NEWROUTE`, for errors. */
export const messageName = (type: number): string =>
  Object.entries(MessageType).find(([, value]) => value === type)?.[0] ?? String(type);

export const MessageFlag = {
  REQUEST: 0x001,
  ACK: 0x004,
  /** ROOT and MATCH: every object, not one. */
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  /** In an ERROR: the request is not repeated behind its header. */
  CAPPED: 0x100,
  /** In an ERROR: attributes follow. */
  ACK_TLVS: 0x200,
} as const;

export const LinkAttribute = { IFNAME: 3, MTU: 4, TXQLEN: 13 } as const;
export const AddressAttribute = { ADDRESS: 1, LOCAL: 2 } as const;
export const RouteAttribute = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  MULTIPATH: 9,
  TABLE: 15,
  MARK: 16,
  VIA: 18,
  ENCAP_TYPE: 21,
  NH_ID: 30,
} as const;
/** linux/fib_rules.h */
export const RuleAttribute = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  FLOW: 11,
  TUN_ID: 12,
  SUPPRESS_IFGROUP: 13,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PAD: 18,
  L3MDEV: 19,
  UID_RANGE: 20,
  PROTOCOL: 21,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
} as const;
export const ErrorAttribute = { MSG: 1 } as const;

/** Upper bits of an attribute's type are flags: NLA_F_NESTED, NLA_F_NET_BYTEORDER. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export const align4 = (length: number): number => (length + 3) & ~3;

/** Builds one request at a time in memory of its own. */
export class MessageBuilder {
  readonly view: DataView;
  readonly address: number;
  readonly #bytes: Uint8Array;
  #end = 0;

  constructor(capacity: number) {
    const memory: StructMemory = allocateStruct(capacity);
    this.view = memory.view;
    this.address = memory.address;
    this.#bytes = memory.bytes;
  }

  /** Bytes of the message so far. */
  get length(): number {
    return this.#end;
  }

  /**
   * Starts a message.
   *
   * @param bodyLength  of the family's struct, which starts zeroed
   * @returns           where that struct stands
   */
  begin(type: number, flags: number, sequence: number, bodyLength: number): number {
    this.#end = NlMsgHdr.BYTES + bodyLength;
    this.#bytes.fill(0, 0, this.#end);
    this.view.setUint16(NlMsgHdr.TYPE, type, HOST_ORDER);
    this.view.setUint16(NlMsgHdr.FLAGS, flags, HOST_ORDER);
    this.view.setUint32(NlMsgHdr.SEQUENCE, sequence, HOST_ORDER);
    this.view.setUint32(NlMsgHdr.LENGTH, this.#end, HOST_ORDER);
    return NlMsgHdr.BYTES;
  }

  /** Writes into the body. */
  bytes(at: number, value: Uint8Array): void {
    this.#bytes.set(value, at);
  }

  /** Adds an attribute of four bytes. */
  uint32(type: number, value: number): void {
    const at = this.attribute(type, 4);
    this.view.setUint32(at, value, HOST_ORDER);
  }

  /** Adds an attribute of raw bytes. */
  raw(type: number, value: Uint8Array): void {
    this.#bytes.set(value, this.attribute(type, value.length));
  }

  /** Adds an attribute of `length` zeroed bytes. Returns where its value stands. */
  attribute(type: number, length: number): number {
    const at = this.#end;
    this.#end += RtAttr.BYTES + align4(length);
    this.#bytes.fill(0, at, this.#end);
    this.view.setUint16(at + RtAttr.LENGTH, RtAttr.BYTES + length, HOST_ORDER);
    this.view.setUint16(at + RtAttr.TYPE, type, HOST_ORDER);
    this.view.setUint32(NlMsgHdr.LENGTH, this.#end, HOST_ORDER);
    return at + RtAttr.BYTES;
  }
}

/**
 * Finds an attribute between `at` and `end`.
 *
 * @returns where the attribute's header stands; -1 when there is none, or when a length is wrong
 */
export function findAttribute(view: DataView, at: number, end: number, type: number): number {
  let next = at;
  while (next + RtAttr.BYTES <= end) {
    const length = view.getUint16(next + RtAttr.LENGTH, HOST_ORDER);
    if (length < RtAttr.BYTES || next + length > end) return -1;
    if ((view.getUint16(next + RtAttr.TYPE, HOST_ORDER) & ATTRIBUTE_TYPE_MASK) === type) {
      return next;
    }
    next += align4(length);
  }
  return -1;
}

/** Calls `onEach` with the type of each attribute and where its header stands. */
export function forEachAttribute(
  view: DataView,
  at: number,
  end: number,
  onEach: (type: number, at: number) => void,
): void {
  let next = at;
  while (next + RtAttr.BYTES <= end) {
    const length = view.getUint16(next + RtAttr.LENGTH, HOST_ORDER);
    if (length < RtAttr.BYTES || next + length > end) return;
    onEach(view.getUint16(next + RtAttr.TYPE, HOST_ORDER) & ATTRIBUTE_TYPE_MASK, next);
    next += align4(length);
  }
}

/** Bytes of the value of the attribute whose header stands at `at`. */
export const attributeLength = (view: DataView, at: number): number =>
  view.getUint16(at + RtAttr.LENGTH, HOST_ORDER) - RtAttr.BYTES;
