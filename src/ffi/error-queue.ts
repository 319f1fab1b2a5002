/**
 * ICMP errors about what a socket sent, each with the beginning of the datagram that it is about.
 * Source: ip(7), "IP_RECVERR"; include/uapi/linux/errqueue.h.
 */
import { SOL_IP, SOL_IPV6 } from './datagram-sockets.ts';
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import {
  AddressFamily,
  CMsgHdr,
  HOST_ORDER,
  IoVec,
  MsgHdr,
  SockAddrIn,
  SockAddrIn6,
  SockExtendedErr,
  setWord,
} from './structs.ts';

const MSG_DONTWAIT = 0x40;
const MSG_ERRQUEUE = 0x2000;
// include/uapi/linux/in.h, include/uapi/linux/in6.h
const IP_RECVERR = 11;
const IPV6_RECVERR = 25;
const CONTROL_BYTES = 256;
/** The least: an error, and an offender of IPv4 or none. */
const ERROR_MESSAGE_BYTES = CMsgHdr.DATA + SockExtendedErr.OFFENDER + SockAddrIn.BYTES;

/** Who made an error: SO_EE_ORIGIN_… */
export const ErrorOrigin = { NONE: 0, LOCAL: 1, ICMP: 2, ICMP6: 3 } as const;

export class ErrorQueue {
  readonly #message = allocateStruct(MsgHdr.BYTES);
  readonly #vector = allocateStruct(IoVec.BYTES);
  readonly #control = allocateStruct(CONTROL_BYTES);
  /** Where the error stands in `#control`; -1 for none. */
  #errorAt = -1;

  constructor() {
    setWord(this.#message.view, MsgHdr.VECTOR, this.#vector.address);
    setWord(this.#message.view, MsgHdr.VECTOR_LENGTH, 1);
    setWord(this.#message.view, MsgHdr.CONTROL, this.#control.address);
  }

  /**
   * Takes one error off the socket. What failed comes as the socket sent it: of UDP the payload, of
   * ICMP the message from its header on, as much as the error quotes.
   *
   * @returns bytes written to `address`; `-EAGAIN` when there are no more errors
   */
  read(fd: number, address: number, length: number): number {
    setWord(this.#vector.view, IoVec.BASE, address);
    this.#vector.view.setUint32(IoVec.LENGTH, length, HOST_ORDER);
    this.#message.view.setUint32(MsgHdr.CONTROL_LENGTH, CONTROL_BYTES, HOST_ORDER);
    this.#errorAt = -1;
    const got = libc.recvmsg(fd, this.#message.address, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (got < 0) return -lastErrno();
    this.#find();
    return got;
  }

  /** A value of `ErrorOrigin`. The other getters speak of what was read last. */
  get origin(): number {
    return this.#byte(SockExtendedErr.ORIGIN);
  }

  /** Type and code of the ICMP or ICMPv6 message. */
  get type(): number {
    return this.#byte(SockExtendedErr.TYPE);
  }

  get code(): number {
    return this.#byte(SockExtendedErr.CODE);
  }

  /** The MTU, of "fragmentation needed" and "packet too big". */
  get info(): number {
    return this.#errorAt < 0
      ? 0
      : this.#control.view.getUint32(this.#errorAt + SockExtendedErr.INFO, HOST_ORDER);
  }

  /** Copies the address of whoever sent the error. @returns its family, 0 when it is not known */
  copyOffender(to: DataView, toAt: number): 4 | 6 | 0 {
    if (this.#errorAt < 0) return 0;
    const from = this.#control.view;
    const at = this.#errorAt + SockExtendedErr.OFFENDER;
    const family = from.getUint16(at, HOST_ORDER);
    if (family === AddressFamily.INET) {
      to.setUint32(toAt, from.getUint32(at + SockAddrIn.ADDRESS));
      return 4;
    }
    if (family !== AddressFamily.INET6) return 0;
    for (let i = 0; i < 16; i += 4) {
      to.setUint32(toAt + i, from.getUint32(at + SockAddrIn6.ADDRESS + i));
    }
    return 6;
  }

  #byte(field: number): number {
    return this.#errorAt < 0 ? 0 : this.#control.view.getUint8(this.#errorAt + field);
  }

  /** The control message of the error; others, such as the traffic class, stand beside it. */
  #find(): void {
    const view = this.#control.view;
    const given = this.#message.view.getUint32(MsgHdr.CONTROL_LENGTH, HOST_ORDER);
    const end = Math.min(given, CONTROL_BYTES);
    let at = 0;
    while (at + CMsgHdr.DATA < end) {
      const length = view.getUint32(at + CMsgHdr.LENGTH, HOST_ORDER);
      const level = view.getInt32(at + CMsgHdr.LEVEL, HOST_ORDER);
      const type = view.getInt32(at + CMsgHdr.TYPE, HOST_ORDER);
      const isError =
        (level === SOL_IP && type === IP_RECVERR) || (level === SOL_IPV6 && type === IPV6_RECVERR);
      if (length < CMsgHdr.DATA || at + length > end) return;
      if (isError && length >= ERROR_MESSAGE_BYTES) this.#errorAt = at + CMsgHdr.DATA;
      at += (length + 7) & ~7;
    }
  }
}
