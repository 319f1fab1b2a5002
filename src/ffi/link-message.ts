/** What rtnetlink says of an interface: RTM_NEWLINK and RTM_DELLINK, rtnetlink(7). */
import { textOf } from './libc.ts';
import {
  align4,
  attributeLength,
  findAttribute,
  LinkAttribute,
  MessageType,
} from './netlink-message.ts';
import { HOST_ORDER, IfInfoMsg, NlMsgHdr, RtAttr } from './structs.ts';

const IFF_UP = 1;

export interface Link {
  /** Of its network namespace, from 1. */
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** Packets that wait for the reader of a TUN device. */
  readonly txQueueLength: number;
}

/** Reads the body [at, end) of such a message; what it does not say is empty or 0. */
export function readLink(bytes: Uint8Array, at: number, end: number): Link {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributes = at + IfInfoMsg.BYTES;
  const uint32 = (type: number): number => {
    const found = findAttribute(view, attributes, end, type);
    if (found < 0 || attributeLength(view, found) < 4) return 0;
    return view.getUint32(found + RtAttr.BYTES, HOST_ORDER);
  };
  const name = findAttribute(view, attributes, end, LinkAttribute.IFNAME);
  const nameAt = name + RtAttr.BYTES;
  return {
    index: view.getInt32(at + IfInfoMsg.INDEX, HOST_ORDER),
    name: name < 0 ? '' : textOf(bytes.subarray(nameAt, nameAt + attributeLength(view, name))),
    isUp: (view.getUint32(at + IfInfoMsg.FLAGS, HOST_ORDER) & IFF_UP) !== 0,
    mtu: uint32(LinkAttribute.MTU),
    txQueueLength: uint32(LinkAttribute.TXQLEN),
  };
}

/** Calls `onLink` for each interface that a datagram of the kernel, or several, tell of. */
export function readLinks(
  bytes: Uint8Array,
  onLink: (link: Link, isDeleted: boolean) => void,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + NlMsgHdr.BYTES <= bytes.length; ) {
    const length = view.getUint32(at + NlMsgHdr.LENGTH, HOST_ORDER);
    const end = at + length;
    if (length < NlMsgHdr.BYTES || end > bytes.length) return;
    const type = view.getUint16(at + NlMsgHdr.TYPE, HOST_ORDER);
    const isDeleted = type === MessageType.RTM_DELLINK;
    const isWhole = length >= NlMsgHdr.BYTES + IfInfoMsg.BYTES;
    if ((isDeleted || type === MessageType.RTM_NEWLINK) && isWhole) {
      onLink(readLink(bytes, at + NlMsgHdr.BYTES, end), isDeleted);
    }
    at += align4(length);
  }
}
