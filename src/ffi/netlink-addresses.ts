/** Addresses of an interface as somebody has given them, to be given again, to it or another. */
import { formatAddress } from '../stack/wire/ip-address.ts';
import { SystemError } from './errors.ts';
import type { Netlink } from './netlink.ts';
import {
  AddressAttribute,
  align4,
  attributeLength,
  findAttribute,
  MessageFlag,
  MessageType,
} from './netlink-message.ts';
import { AddressFamily, HOST_ORDER, IfAddrMsg, RtAttr } from './structs.ts';

/** linux/if_addr.h; the first means "secondary" of IPv4, which the kernel finds out by itself. */
const IFA_F_TEMPORARY = 0x01;
const IFA_F_NODAD = 0x02;
const IFA_F_HOMEADDRESS = 0x10;
const IFA_F_NOPREFIXROUTE = 0x200;
const IFA_F_MCAUTOJOIN = 0x400;
/** Of what the kernel has made up itself: the link-local address of an interface that came up. */
const IFA_F_STABLE_PRIVACY = 0x800;
/** IFAPROT_KERNEL_LL; those below it are of the kernel, too. Linux 5.18. */
const IFAPROT_KERNEL_MAX = 3;

/** Flags that may be asked for; all others tell of a state. */
const GIVEN_FLAGS = IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

/** The label is left out: it is the name of the interface. */
const KEPT_ATTRIBUTES = [
  AddressAttribute.ADDRESS,
  AddressAttribute.LOCAL,
  AddressAttribute.BROADCAST,
  AddressAttribute.CACHEINFO,
  AddressAttribute.RT_PRIORITY,
];

const FLAGS_BYTES = RtAttr.BYTES + 4;

export interface GivenAddress {
  readonly ip: string;
  readonly prefixLength: number;
  /** Body of the message that gives it. */
  readonly message: Uint8Array<ArrayBuffer>;
}

/**
 * Addresses of both families that the interface has, but for those that the kernel gives each
 * interface.
 *
 * @throws SystemError  `ENODEV`
 */
export function givenAddresses(netlink: Netlink, index: number): GivenAddress[] {
  const request = new Uint8Array(IfAddrMsg.BYTES);
  new DataView(request.buffer).setUint32(IfAddrMsg.INDEX, index, HOST_ORDER);
  const found: GivenAddress[] = [];
  netlink.request(MessageType.RTM_GETADDR, MessageFlag.DUMP, request, index, (type, body) => {
    if (type !== MessageType.RTM_NEWADDR) return;
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if (view.getUint32(IfAddrMsg.INDEX, HOST_ORDER) !== index || isOfKernel(view)) return;
    found.push({
      ip: addressOf(view),
      prefixLength: view.getUint8(IfAddrMsg.PREFIX_LENGTH),
      message: messageOf(body, view),
    });
  });
  return found;
}

/** One that the interface has already is fine. @throws SystemError  as `Netlink.addAddress` */
export function giveAddress(netlink: Netlink, index: number, { message }: GivenAddress): void {
  new DataView(message.buffer).setUint32(IfAddrMsg.INDEX, index, HOST_ORDER);
  const flags = MessageFlag.ACK | MessageFlag.CREATE | MessageFlag.EXCL;
  try {
    netlink.request(MessageType.RTM_NEWADDR, flags, message, index);
  } catch (error) {
    if (!(error instanceof SystemError && error.code === 'EEXIST')) throw error;
  }
}

function isOfKernel(view: DataView): boolean {
  const flags = flagsOf(view);
  const isIpv6 = view.getUint8(IfAddrMsg.FAMILY) === AddressFamily.INET6;
  if (isIpv6 && (flags & (IFA_F_TEMPORARY | IFA_F_STABLE_PRIVACY)) !== 0) return true;
  const at = findAttribute(view, IfAddrMsg.BYTES, view.byteLength, AddressAttribute.PROTO);
  const protocol = at < 0 ? 0 : view.getUint8(at + RtAttr.BYTES);
  return isIpv6 && protocol > 0 && protocol <= IFAPROT_KERNEL_MAX;
}

function flagsOf(view: DataView): number {
  const at = findAttribute(view, IfAddrMsg.BYTES, view.byteLength, AddressAttribute.FLAGS);
  if (at < 0) return view.getUint8(IfAddrMsg.FLAGS);
  return view.getUint32(at + RtAttr.BYTES, HOST_ORDER);
}

function messageOf(body: Uint8Array, view: DataView): Uint8Array<ArrayBuffer> {
  const isIpv6 = view.getUint8(IfAddrMsg.FAMILY) === AddressFamily.INET6;
  const flags = new Uint8Array(FLAGS_BYTES);
  const into = new DataView(flags.buffer);
  into.setUint16(RtAttr.LENGTH, FLAGS_BYTES, HOST_ORDER);
  into.setUint16(RtAttr.TYPE, AddressAttribute.FLAGS, HOST_ORDER);
  const given = (flagsOf(view) & GIVEN_FLAGS) | (isIpv6 ? IFA_F_NODAD : 0);
  into.setUint32(RtAttr.BYTES, given, HOST_ORDER);
  const parts = [body.subarray(0, IfAddrMsg.BYTES), flags];
  for (const type of KEPT_ATTRIBUTES) {
    const at = findAttribute(view, IfAddrMsg.BYTES, view.byteLength, type);
    if (at < 0) continue;
    const length = RtAttr.BYTES + attributeLength(view, at);
    parts.push(body.subarray(at, at + length), new Uint8Array(align4(length) - length));
  }
  const message = Uint8Array.from(Buffer.concat(parts));
  message[IfAddrMsg.FLAGS] = 0;
  return message;
}

function addressOf(view: DataView): string {
  const find = (type: number): number =>
    findAttribute(view, IfAddrMsg.BYTES, view.byteLength, type);
  // Of a link between two ends, ADDRESS is the other one.
  const local = find(AddressAttribute.LOCAL);
  const at = local < 0 ? find(AddressAttribute.ADDRESS) : local;
  return formatAddress(view, at + RtAttr.BYTES, attributeLength(view, at));
}
