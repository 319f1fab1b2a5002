/**
 * rtnetlink, spoken directly: the gateway calls no external program. One request at a time over a
 * blocking socket; the kernel answers within the call. The socket belongs to the network namespace
 * of the process that made it, also when a device is moved out of there.
 */
import { Errno } from './errno.ts';
import { checked, raise } from './errors.ts';
import { cString, lastErrno, libc, textOf } from './libc.ts';
import { type Link, readLink } from './link-message.ts';
import { allocateStruct } from './memory.ts';
import { type AnswerEnd, readEnd, readRoute } from './netlink-answer.ts';
import {
  AddressAttribute,
  align4,
  attributeLength,
  findAttribute,
  LinkAttribute,
  MessageBuilder,
  MessageFlag,
  MessageType,
  messageName,
  RouteAttribute,
} from './netlink-message.ts';
import {
  AddressFamily,
  HOST_ORDER,
  IfAddrMsg,
  IfInfoMsg,
  INTERFACE_NAME_BYTES,
  NlMsgErr,
  NlMsgHdr,
  RtAttr,
  RtMsg,
} from './structs.ts';

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

const IFF_UP = 1;
const IFA_F_NODAD = 2;
const RT_TABLE_UNSPEC = 0;
const RT_TABLE_MAIN = 254;
const RT_TABLE_MAX_BYTE = 255;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;

/** More than any request here needs. */
const REQUEST_BYTES = 512;

/** The kernel fills datagrams of a dump up to 32 KiB. */
const ANSWER_BYTES = 32 * 1024;

const UINT32_MODULUS = 2 ** 32;

export interface LinkChanges {
  readonly up?: boolean;
  /** Bytes. */
  readonly mtu?: number;
  /** Packets that wait between the kernel and the reader of a TUN device. */
  readonly txQueueLength?: number;
  /** Linux before 6.2 renames an interface that is down only: `EBUSY`. */
  readonly name?: string;
}

export interface InterfaceAddress {
  /** 4 or 16 bytes, network order. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

/** Called per message of an answer: where its body starts and ends in the answer. */
type OnMessage = (type: number, at: number, end: number) => void;

export class Netlink {
  readonly fd: number;
  readonly #request = new MessageBuilder(REQUEST_BYTES);
  readonly #answer = allocateStruct(ANSWER_BYTES);
  #sequence = 0;

  /** @throws SystemError  `EMFILE` */
  constructor() {
    this.fd = checked(
      libc.socket(AddressFamily.NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
      'socket(NETLINK_ROUTE)',
    );
    // Older kernels lack some of these: errors come without a text, dumps unfiltered.
    const on = allocateStruct(4);
    on.view.setInt32(0, 1, HOST_ORDER);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      libc.setsockopt(this.fd, SOL_NETLINK, option, on.address, 4);
    }
  }

  /**
   * The number of the interface, from 1.
   *
   * @throws SystemError  `ENODEV`
   */
  linkIndex(name: string): number {
    return this.link(name).index;
  }

  /** How an interface is now. @throws SystemError  `ENODEV` */
  link(name: string): Link {
    this.#begin(MessageType.RTM_GETLINK, MessageFlag.ACK, IfInfoMsg.BYTES);
    this.#request.raw(LinkAttribute.IFNAME, cString(name));
    let link: Link | undefined;
    this.#transact('netlink(RTM_GETLINK)', name, (type, at, end) => {
      if (type === MessageType.RTM_NEWLINK) link = readLink(this.#answer.bytes, at, end);
    });
    return link ?? raise(Errno.ENODEV, 'netlink(RTM_GETLINK)', { device: name });
  }

  /** @throws SystemError  `EPERM`, `ENODEV`, `EINVAL` for an impossible MTU */
  configureLink(index: number, { up, mtu, txQueueLength, name }: LinkChanges): void {
    const at = this.#begin(MessageType.RTM_NEWLINK, MessageFlag.ACK, IfInfoMsg.BYTES);
    this.#request.view.setInt32(at + IfInfoMsg.INDEX, index, HOST_ORDER);
    if (up !== undefined) {
      this.#request.view.setUint32(at + IfInfoMsg.FLAGS, up ? IFF_UP : 0, HOST_ORDER);
      this.#request.view.setUint32(at + IfInfoMsg.CHANGE, IFF_UP, HOST_ORDER);
    }
    if (mtu !== undefined) this.#request.uint32(LinkAttribute.MTU, mtu);
    if (txQueueLength !== undefined) this.#request.uint32(LinkAttribute.TXQLEN, txQueueLength);
    if (name !== undefined) this.#request.raw(LinkAttribute.IFNAME, cString(name));
    this.#transact('netlink(RTM_NEWLINK)', index);
  }

  /**
   * Gives the interface an address; one that it has already is fine. IPv6 addresses are usable at
   * once: nobody else is on the link of a TUN device, so there is no duplicate to look for.
   *
   * @param address  4 or 16 bytes, network order
   * @throws SystemError  `EPERM`, `ENODEV`, `EINVAL`
   */
  addAddress(index: number, address: Uint8Array, prefixLength: number): void {
    const flags = MessageFlag.ACK | MessageFlag.CREATE | MessageFlag.EXCL;
    this.#beginAddress(MessageType.RTM_NEWADDR, flags, index, address, prefixLength);
    this.#transact('netlink(RTM_NEWADDR)', index, undefined, Errno.EEXIST);
  }

  /** One that is not there is fine. @throws SystemError  `EPERM`, `ENODEV` */
  removeAddress(index: number, address: Uint8Array, prefixLength: number): void {
    const { ACK } = MessageFlag;
    this.#beginAddress(MessageType.RTM_DELADDR, ACK, index, address, prefixLength);
    this.#transact('netlink(RTM_DELADDR)', index, undefined, Errno.EADDRNOTAVAIL);
  }

  /**
   * Routes a prefix into the interface, which must be up.
   *
   * @param destination  4 or 16 bytes, network order, host bits zero
   * @param table        number of the routing table
   * @throws SystemError  `EPERM`, `ENETDOWN`, `EEXIST` when the table has a route to the prefix
   */
  addRoute(
    index: number,
    destination: Uint8Array,
    prefixLength: number,
    table: number = RT_TABLE_MAIN,
  ): void {
    const flags = MessageFlag.ACK | MessageFlag.CREATE | MessageFlag.EXCL;
    this.#beginRoute(MessageType.RTM_NEWROUTE, flags, index, destination, prefixLength, table);
    this.#transact('netlink(RTM_NEWROUTE)', index);
  }

  /** As `addRoute`, in the place of the route that leads there now, in one step. */
  replaceRoute(index: number, destination: Uint8Array, prefixLength: number): void {
    const table = RT_TABLE_MAIN;
    const flags = MessageFlag.ACK | MessageFlag.CREATE | MessageFlag.REPLACE;
    this.#beginRoute(MessageType.RTM_NEWROUTE, flags, index, destination, prefixLength, table);
    this.#transact('netlink(RTM_NEWROUTE)', index);
  }

  /** Takes back such a route of this interface; one that is not there is fine. */
  removeRoute(
    index: number,
    destination: Uint8Array,
    prefixLength: number,
    table: number = RT_TABLE_MAIN,
  ): void {
    const { ACK } = MessageFlag;
    this.#beginRoute(MessageType.RTM_DELROUTE, ACK, index, destination, prefixLength, table);
    this.#transact('netlink(RTM_DELROUTE)', index, undefined, Errno.ESRCH);
  }

  /**
   * Sends a request that has no method of its own.
   *
   * @param body       the struct of the family, and attributes
   * @param onMessage  gets the body of each message of the answer, valid during the call
   */
  request(
    type: number,
    flags: number,
    body: Uint8Array,
    device: string | number,
    onMessage?: (type: number, body: Uint8Array) => void,
  ): void {
    this.#request.bytes(this.#begin(type, flags, body.length), body);
    const { bytes } = this.#answer;
    this.#transact(`netlink(${messageName(type)})`, device, (kind, at, end) =>
      onMessage?.(kind, bytes.subarray(at, end)),
    );
  }

  #beginAddress(
    type: number,
    flags: number,
    index: number,
    address: Uint8Array,
    prefixLength: number,
  ): void {
    const at = this.#begin(type, flags, IfAddrMsg.BYTES);
    const { view } = this.#request;
    view.setUint8(at + IfAddrMsg.FAMILY, familyOf(address));
    view.setUint8(at + IfAddrMsg.PREFIX_LENGTH, prefixLength);
    if (address.length === 16) view.setUint8(at + IfAddrMsg.FLAGS, IFA_F_NODAD);
    view.setUint32(at + IfAddrMsg.INDEX, index, HOST_ORDER);
    this.#request.raw(AddressAttribute.LOCAL, address);
    this.#request.raw(AddressAttribute.ADDRESS, address);
  }

  #beginRoute(
    type: number,
    flags: number,
    index: number,
    destination: Uint8Array,
    prefixLength: number,
    table: number,
  ): void {
    const at = this.#begin(type, flags, RtMsg.BYTES);
    const { view } = this.#request;
    const family = familyOf(destination);
    view.setUint8(at + RtMsg.FAMILY, family);
    view.setUint8(at + RtMsg.DESTINATION_LENGTH, prefixLength);
    view.setUint8(at + RtMsg.TABLE, table > RT_TABLE_MAX_BYTE ? RT_TABLE_UNSPEC : table);
    view.setUint8(at + RtMsg.PROTOCOL, RTPROT_STATIC);
    view.setUint8(
      at + RtMsg.SCOPE,
      family === AddressFamily.INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
    );
    view.setUint8(at + RtMsg.TYPE, RTN_UNICAST);
    this.#request.raw(RouteAttribute.DST, destination);
    this.#request.uint32(RouteAttribute.OIF, index);
    this.#request.uint32(RouteAttribute.TABLE, table);
  }

  /** Addresses of both families that the interface has now. */
  addressesOf(index: number): InterfaceAddress[] {
    const at = this.#begin(MessageType.RTM_GETADDR, MessageFlag.DUMP, IfAddrMsg.BYTES);
    this.#request.view.setUint32(at + IfAddrMsg.INDEX, index, HOST_ORDER);
    const found: InterfaceAddress[] = [];
    const { view, bytes } = this.#answer;
    this.#transact('netlink(RTM_GETADDR)', index, (type, at, end) => {
      if (type !== MessageType.RTM_NEWADDR) return;
      if (view.getUint32(at + IfAddrMsg.INDEX, HOST_ORDER) !== index) return;
      const attributes = at + IfAddrMsg.BYTES;
      let value = findAttribute(view, attributes, end, AddressAttribute.LOCAL);
      if (value < 0) value = findAttribute(view, attributes, end, AddressAttribute.ADDRESS);
      if (value < 0) return;
      const from = value + RtAttr.BYTES;
      found.push({
        address: bytes.slice(from, from + attributeLength(view, value)),
        prefixLength: view.getUint8(at + IfAddrMsg.PREFIX_LENGTH),
      });
    });
    return found;
  }

  /**
   * Where the kernel would send a packet of ours: once per dial, so it allocates nothing.
   *
   * @param mark            firewall mark of the packet, 0 for none
   * @param interfaceIndex  interface the socket is bound to, 0 for none
   * @returns               index of the outgoing interface, from 1; or the negative errno that
   *                        `connect` would give: `-ENETUNREACH`, `-EHOSTUNREACH`, `-EACCES`
   */
  routeInterface(
    view: DataView,
    addressAt: number,
    family: 4 | 6,
    mark: number,
    interfaceIndex: number,
  ): number {
    const length = family === 4 ? 4 : 16;
    const request = this.#request;
    const at = this.#begin(MessageType.RTM_GETROUTE, 0, RtMsg.BYTES);
    request.view.setUint8(
      at + RtMsg.FAMILY,
      family === 4 ? AddressFamily.INET : AddressFamily.INET6,
    );
    request.view.setUint8(at + RtMsg.DESTINATION_LENGTH, length * 8);
    const destinationAt = request.attribute(RouteAttribute.DST, length);
    for (let i = 0; i < length; i += 4) {
      request.view.setUint32(destinationAt + i, view.getUint32(addressAt + i));
    }
    if (mark !== 0) request.uint32(RouteAttribute.MARK, mark);
    if (interfaceIndex !== 0) request.uint32(RouteAttribute.OIF, interfaceIndex);
    if (libc.send(this.fd, request.address, request.length, 0) < 0) return -lastErrno();
    return this.#receiveRoute();
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }

  /** Starts a request; returns where its body stands. */
  #begin(type: number, flags: number, bodyLength: number): number {
    this.#sequence = (this.#sequence + 1) % UINT32_MODULUS;
    return this.#request.begin(type, MessageFlag.REQUEST | flags, this.#sequence, bodyLength);
  }

  /**
   * Sends the request and reads to the end of the answer.
   *
   * @param device     a name, or an index of which the name is looked up for the error
   * @param tolerated  an errno that counts as success
   */
  #transact(
    syscall: string,
    device: string | number,
    onMessage?: OnMessage,
    tolerated?: number,
  ): void {
    const { address, length } = this.#request;
    if (libc.send(this.fd, address, length, 0) < 0) {
      raise(lastErrno(), syscall, { device: deviceName(device) });
    }
    for (;;) {
      const size = libc.recv(this.fd, this.#answer.address, ANSWER_BYTES, 0);
      if (size < 0) {
        const errno = lastErrno();
        if (errno === Errno.EINTR) continue;
        raise(errno, syscall, { device: deviceName(device) });
      }
      const ended = this.#walk(size, onMessage);
      if (ended === MORE) continue;
      if (ended.errno === 0 || ended.errno === tolerated) return;
      const details = { device: deviceName(device) };
      raise(ended.errno, syscall, ended.text ? { ...details, hint: ended.text } : details);
    }
  }

  /** Walks one datagram of the answer. */
  #walk(size: number, onMessage: OnMessage | undefined): AnswerEnd | typeof MORE {
    const { view } = this.#answer;
    for (let at = 0; at + NlMsgHdr.BYTES <= size; ) {
      const length = view.getUint32(at + NlMsgHdr.LENGTH, HOST_ORDER);
      if (length < NlMsgHdr.BYTES || at + length > size) break;
      if (view.getUint32(at + NlMsgHdr.SEQUENCE, HOST_ORDER) === this.#sequence) {
        const type = view.getUint16(at + NlMsgHdr.TYPE, HOST_ORDER);
        if (type === MessageType.DONE) return { errno: 0, text: '' };
        if (type === MessageType.ERROR) return readEnd(this.#answer.bytes, at, at + length);
        onMessage?.(type, at + NlMsgHdr.BYTES, at + length);
      }
      at += align4(length);
    }
    return MORE;
  }

  /** The answer to RTM_GETROUTE: one message, the route or an error. */
  #receiveRoute(): number {
    const { view } = this.#answer;
    for (;;) {
      const size = libc.recv(this.fd, this.#answer.address, ANSWER_BYTES, 0);
      if (size < 0) {
        const errno = lastErrno();
        if (errno === Errno.EINTR) continue;
        return -errno;
      }
      if (size < NlMsgHdr.BYTES + RtMsg.BYTES) continue;
      if (view.getUint32(NlMsgHdr.SEQUENCE, HOST_ORDER) !== this.#sequence) continue;
      if (view.getUint16(NlMsgHdr.TYPE, HOST_ORDER) === MessageType.ERROR) {
        return view.getInt32(NlMsgHdr.BYTES + NlMsgErr.ERROR, HOST_ORDER);
      }
      return readRoute(view, size);
    }
  }
}

const MORE = 'more';

const familyOf = (address: Uint8Array): number =>
  address.length === 4 ? AddressFamily.INET : AddressFamily.INET6;

/** For an error: the name of interface `device`, or its number when it has none any more. */
function deviceName(device: string | number): string {
  if (typeof device === 'string') return device;
  const name = allocateStruct(INTERFACE_NAME_BYTES);
  return libc.if_indextoname(device, name.address) === null
    ? `interface ${device}`
    : textOf(name.bytes);
}
