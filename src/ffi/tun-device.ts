/**
 * A Linux TUN device: frames are read from and written to memory at an address. With a virtio-net
 * header in front of each frame the kernel hands over superframes and unfinished checksums.
 * Source: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
 */
import { VNET_HEADER_BYTES } from '../stack/wire/virtio-net.ts';
import { Errno } from './errno.ts';
import { checked, raise, SystemError } from './errors.ts';
import { TunFlag, TunIoctl, TunOffload } from './ioctls.ts';
import { cString, lastErrno, libc } from './libc.ts';
import { allocateStruct, type StructMemory } from './memory.ts';
import { setCloseOnExec, setNonBlocking } from './sockets.ts';
import { HOST_ORDER, IfReq, INTERFACE_NAME_BYTES } from './structs.ts';
import { attachedInterface, useVnetHeader } from './tun-interface.ts';

const TUN_PATH = '/dev/net/tun';
const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** What is asked of the kernel, best first. Segmentation without checksums is not offered. */
const OFFLOADS_TO_TRY = [
  TunOffload.CSUM |
    TunOffload.TSO4 |
    TunOffload.TSO6 |
    TunOffload.TSO_ECN |
    TunOffload.USO4 |
    TunOffload.USO6,
  // Linux before 6.2 has no segmentation of UDP.
  TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.TSO_ECN,
  TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6,
  TunOffload.CSUM,
  0,
] as const;

/**
 * An all-zero virtio-net header, then one byte that says "IP version 4" and is no packet. The
 * kernel looks at the version first, then whether the device is up; when it is, the IP layer drops
 * what is shorter than a header, and counts it.
 */
const probeFrame = allocateStruct(VNET_HEADER_BYTES + 1);
probeFrame.view.setUint8(VNET_HEADER_BYTES, 0x40);

export interface TunOptions {
  /** At most 15 bytes; `%d` becomes a number. */
  readonly name: string;
  /** Ask for virtio-net headers and offloads; what came of it is in the device's fields. */
  readonly offload: boolean;
  /** Make a device that can have more queues; one that exists says itself whether it can. */
  readonly multiQueue?: boolean;
}

/** What a process must know of a device that it inherits. */
export interface TunFacts {
  readonly name: string;
  /** Frames start with `VNET_HEADER_BYTES` of virtio-net header, both ways. */
  readonly vnetHeader: boolean;
  /** Bits of `TunOffload` that are in force. */
  readonly offloads: number;
}

export class TunDevice implements TunFacts {
  readonly fd: number;
  readonly name: string;
  readonly vnetHeader: boolean;
  #offloads: number;

  private constructor(fd: number, facts: TunFacts) {
    this.fd = fd;
    this.name = facts.name;
    this.vnetHeader = facts.vnetHeader;
    this.#offloads = facts.offloads;
  }

  /**
   * Makes the device, or opens it where it exists as a persistent one, whatever flags it was made
   * with. One that is made is down and without addresses, and disappears with its last descriptor.
   *
   * @throws SystemError  `EPERM` without CAP_NET_ADMIN, `ENOENT` without /dev/net/tun, `EBUSY`
   *                      when the name is in use, `EINVAL` when the name is no name
   */
  static open(options: TunOptions): TunDevice {
    const fd = checked(
      libc.open(cString(TUN_PATH), O_RDWR | O_NONBLOCK | O_CLOEXEC, 0),
      `open(${TUN_PATH})`,
    );
    try {
      const vnetHeader = attach(fd, options);
      return TunDevice.#prepare(fd, attachedInterface(fd).name, vnetHeader);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /**
   * Takes over a descriptor that somebody else has opened and attached: the kernel is asked what it
   * is. No child inherits it from now on.
   *
   * @throws SystemError  `ENOTTY`, `EBADF`, `EBADFD` when it is no TUN device with an interface,
   *                      `EINVAL` for a TAP device, or one with packet information
   */
  static takeOver(fd: number): TunDevice {
    const { name, flags } = attachedInterface(fd);
    const refuse = (hint: string): never =>
      raise(Errno.EINVAL, 'ioctl(TUNGETIFF)', { device: `fd ${fd}, ${name}`, hint });
    if ((flags & TunFlag.IFF_TAP) !== 0) refuse('it is a TAP device; a TUN device is needed');
    setNonBlocking(fd);
    setCloseOnExec(fd);
    const device = TunDevice.#prepare(fd, name, (flags & TunFlag.IFF_VNET_HDR) !== 0);
    // TUNGETIFF cannot tell: IFF_NOFILTER has the same value. But with packet information in
    // front the probe is too short.
    if (device.#writeProbe() === -Errno.EINVAL) refuse('it was attached without IFF_NO_PI');
    return device;
  }

  /** Takes what the kernel offers. The device may have been somebody else's before. */
  static #prepare(fd: number, name: string, vnetHeader: boolean): TunDevice {
    const device = new TunDevice(fd, { name, vnetHeader, offloads: 0 });
    if (vnetHeader) {
      useVnetHeader(fd, VNET_HEADER_BYTES);
      negotiateOffloads((bits) => device.setOffloads(bits) === 0);
    } else {
      // A persistent device keeps its offloads, and would hand over superpackets that nothing
      // describes.
      device.setOffloads(0);
    }
    return device;
  }

  /** Takes over a descriptor that the parent process opened and described. */
  static adopt(fd: number, facts: TunFacts): TunDevice {
    return new TunDevice(fd, facts);
  }

  /** Bits of `TunOffload` that are in force. */
  get offloads(): number {
    return this.#offloads;
  }

  /**
   * Reads one frame, virtio-net header included.
   *
   * @returns bytes read; 0 when the device would block; else a negative errno: `EBADFD` once the
   *          interface was deleted
   */
  read(address: number, length: number): number {
    const count = libc.read(this.fd, address, length);
    if (count >= 0) return count;
    const errno = lastErrno();
    return errno === Errno.EAGAIN ? 0 : -errno;
  }

  /**
   * Writes one frame, virtio-net header included.
   *
   * @returns bytes written; else a negative errno: `EIO` while the interface is down, `EBADFD` once
   *          it was deleted, `EINVAL` for a header or IP version that the kernel refuses
   */
  write(address: number, length: number): number {
    const count = libc.write(this.fd, address, length);
    return count < 0 ? -lastErrno() : count;
  }

  /** Changes what the kernel may leave unfinished. Returns 0, or a negative errno: no change. */
  setOffloads(bits: number): number {
    if (libc.ioctl(this.fd, TunIoctl.TUNSETOFFLOAD, bits) < 0) return -lastErrno();
    this.#offloads = bits;
    return 0;
  }

  /**
   * Asks for the state of the interface by writing to it. Netlink cannot tell: it sees its own
   * network namespace, and the device may have been moved to another one.
   */
  probe(): 'up' | 'down' | 'gone' {
    const result = this.#writeProbe();
    if (result === -Errno.EIO) return 'down';
    if (result === -Errno.EBADFD || result === -Errno.EBADF) return 'gone';
    return 'up';
  }

  #writeProbe(): number {
    const skip = this.vnetHeader ? 0 : VNET_HEADER_BYTES;
    return this.write(probeFrame.address + skip, VNET_HEADER_BYTES + 1 - skip);
  }

  /**
   * The name as it is now, also after a rename or in another network namespace.
   *
   * @throws SystemError  `EBADFD` once the interface was deleted
   */
  currentName(): string {
    return attachedInterface(this.fd, this.name).name;
  }

  /**
   * Whether the interface stays when its last descriptor is closed.
   *
   * @throws SystemError  `EBADFD` once the interface was deleted
   */
  isPersistent(): boolean {
    return (attachedInterface(this.fd, this.name).flags & TunFlag.IFF_PERSIST) !== 0;
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }
}

/** Tries sets of offloads, best first, until one is accepted. @returns bits of `TunOffload` */
export const negotiateOffloads = (accepts: (bits: number) => boolean): number =>
  OFFLOADS_TO_TRY.find(accepts) ?? 0;

/**
 * TUNSETIFF, again without virtio-net headers where the kernel has none, and with more queues where
 * the device was made for them. @returns whether there are virtio-net headers
 */
function attach(fd: number, { name, offload, multiQueue = false }: TunOptions): boolean {
  const request = interfaceRequest(name);
  const plain = TunFlag.IFF_TUN | TunFlag.IFF_NO_PI;
  for (const header of offload ? [TunFlag.IFF_VNET_HDR, 0] : [0]) {
    for (const queues of multiQueue ? [TunFlag.IFF_MULTI_QUEUE] : [0, TunFlag.IFF_MULTI_QUEUE]) {
      request.view.setUint16(IfReq.FLAGS, plain | header | queues, HOST_ORDER);
      if (libc.ioctl(fd, TunIoctl.TUNSETIFF, request.address) >= 0) return header !== 0;
      const errno = lastErrno();
      if (errno !== Errno.EINVAL) raise(errno, 'ioctl(TUNSETIFF)', { device: name });
    }
  }
  return raise(Errno.EINVAL, 'ioctl(TUNSETIFF)', { device: name });
}

/** A `struct ifreq` for `name`. */
function interfaceRequest(name: string): StructMemory {
  const request = allocateStruct(IfReq.BYTES);
  const bytes = cString(name);
  if (bytes.length > INTERFACE_NAME_BYTES) {
    throw new SystemError(Errno.EINVAL, 'ioctl(TUNSETIFF)', {
      device: name,
      hint: `a name has at most ${INTERFACE_NAME_BYTES - 1} bytes`,
    });
  }
  request.bytes.set(bytes, IfReq.NAME);
  return request;
}
