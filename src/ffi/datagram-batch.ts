/**
 * Many datagrams received with one call, and what the kernel says about each: how many datagrams it
 * has put together, and their traffic class.
 */
import { SOL_IP, SOL_IPV6, SOL_UDP, UDP_GRO } from './datagram-sockets.ts';
import { lastErrno, libc } from './libc.ts';
import { allocateStruct, type StructMemory } from './memory.ts';
import { CMsgHdr, HOST_ORDER, IoVec, MMsgHdr, MsgHdr, setWord } from './structs.ts';

const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
// include/uapi/linux/in.h, include/uapi/linux/in6.h
const IP_TOS = 1;
const IPV6_TCLASS = 67;
/** Two control messages of an `int` each, with room to spare. */
const CONTROL_BYTES = 64;

export class DatagramBatch {
  readonly #headers: StructMemory;
  readonly #vectors: StructMemory;
  readonly #controls: StructMemory;
  readonly #controlBytes: number;
  /** Headers that the last call has written to. */
  #used: number;
  #segmentBytes = 0;
  #trafficClass = 0;

  /**
   * @param hasControl  for `readControl`. Not where the sender is not trusted and has a unix
   *                    socket: with room for them, the kernel would open its descriptors here
   */
  constructor(capacity: number, hasControl = false) {
    this.#headers = allocateStruct(capacity * MMsgHdr.BYTES);
    this.#vectors = allocateStruct(capacity * IoVec.BYTES);
    this.#controls = allocateStruct(capacity * CONTROL_BYTES);
    this.#controlBytes = hasControl ? CONTROL_BYTES : 0;
    this.#used = capacity;
    for (let i = 0; i < capacity; i++) {
      const at = i * MMsgHdr.BYTES;
      const view = this.#headers.view;
      setWord(view, at + MsgHdr.VECTOR, this.#vectors.address + i * IoVec.BYTES);
      setWord(view, at + MsgHdr.VECTOR_LENGTH, 1);
      const controlAt = this.#controls.address + i * CONTROL_BYTES;
      setWord(view, at + MsgHdr.CONTROL, hasControl ? controlAt : 0);
    }
  }

  /** Gives datagram `index` its buffer, from now on. */
  set(index: number, address: number, length: number): void {
    const at = index * IoVec.BYTES;
    setWord(this.#vectors.view, at + IoVec.BASE, address);
    this.#vectors.view.setUint32(at + IoVec.LENGTH, length, HOST_ORDER);
  }

  /**
   * Receives into the first `count` buffers.
   *
   * @returns how many were filled, fewer when no more are there; `-EAGAIN` for none, or the errno
   *          of an ICMP error that stands in the error queue
   */
  receive(fd: number, count: number): number {
    for (let i = 0; i < this.#used; i++) {
      const at = i * MMsgHdr.BYTES + MsgHdr.CONTROL_LENGTH;
      this.#headers.view.setUint32(at, this.#controlBytes, HOST_ORDER);
    }
    const got = libc.recvmmsg(fd, this.#headers.address, count, MSG_DONTWAIT, 0);
    // A call that fails may have written to the first header.
    this.#used = Math.max(got, 1);
    return got < 0 ? -lastErrno() : got;
  }

  /** Bytes of datagram `index`, or of several that the kernel has put together. */
  length(index: number): number {
    return this.#headers.view.getUint32(index * MMsgHdr.BYTES + MMsgHdr.LENGTH, HOST_ORDER);
  }

  /** The buffer was too short. */
  isTruncated(index: number): boolean {
    const flags = this.#headers.view.getUint32(index * MMsgHdr.BYTES + MsgHdr.FLAGS, HOST_ORDER);
    return (flags & MSG_TRUNC) !== 0;
  }

  /** Reads what the kernel says about datagram `index`, for the two getters below. */
  readControl(index: number): void {
    this.#segmentBytes = 0;
    this.#trafficClass = 0;
    const view = this.#controls.view;
    const headerAt = index * MMsgHdr.BYTES + MsgHdr.CONTROL_LENGTH;
    let at = index * CONTROL_BYTES;
    const end = at + Math.min(this.#headers.view.getUint32(headerAt, HOST_ORDER), CONTROL_BYTES);
    while (at + CMsgHdr.DATA < end) {
      const length = view.getUint32(at + CMsgHdr.LENGTH, HOST_ORDER);
      if (length <= CMsgHdr.DATA || at + length > end) return;
      this.#readMessage(
        view.getInt32(at + CMsgHdr.LEVEL, HOST_ORDER),
        view.getInt32(at + CMsgHdr.TYPE, HOST_ORDER),
        at + CMsgHdr.DATA,
      );
      at += (length + 7) & ~7;
    }
  }

  /** Bytes of each of the datagrams that were put together, but for the last; 0 for one alone. */
  get segmentBytes(): number {
    return this.#segmentBytes;
  }

  get trafficClass(): number {
    return this.#trafficClass;
  }

  #readMessage(level: number, type: number, dataAt: number): void {
    const view = this.#controls.view;
    if (level === SOL_UDP && type === UDP_GRO) {
      this.#segmentBytes = view.getUint16(dataAt, HOST_ORDER);
    } else if (level === SOL_IP && type === IP_TOS) {
      this.#trafficClass = view.getUint8(dataAt);
    } else if (level === SOL_IPV6 && type === IPV6_TCLASS) {
      this.#trafficClass = view.getUint8(dataAt);
    }
  }
}
