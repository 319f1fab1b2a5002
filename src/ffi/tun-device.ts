/**
 * A Linux TUN device: frames are read from and written to memory at an address. With a virtio-net
 * header in front of each frame the kernel hands over superframes and unfinished checksums.
 * Source: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
 */
import { VNET_HEADER_BYTES } from '../stack/wire/virtio-net.ts';
import { Errno } from './errno.ts';
import { checked, raise, SystemError } from './errors.ts';
import { TunFlag, TunIoctl, TunOffload } from './ioctls.ts';
import { cString, lastErrno, libc, textOf } from './libc.ts';
import { allocateStruct, type StructMemory } from './memory.ts';
import { HOST_ORDER, IfReq, INTERFACE_NAME_BYTES } from './structs.ts';

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
  /** Open one more queue of a device of that name, made with `multiQueue` too. */
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
   * Makes the device, or opens it where it exists as a persistent one. It is down and without
   * addresses, and disappears with its last descriptor.
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
      const device = new TunDevice(fd, { name: interfaceName(fd), vnetHeader, offloads: 0 });
      if (vnetHeader) negotiateOffloads((bits) => device.setOffloads(bits) === 0);
      return device;
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Takes over a descriptor that another process opened. */
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
    const skip = this.vnetHeader ? 0 : VNET_HEADER_BYTES;
    const result = this.write(probeFrame.address + skip, VNET_HEADER_BYTES + 1 - skip);
    if (result === -Errno.EIO) return 'down';
    if (result === -Errno.EBADFD || result === -Errno.EBADF) return 'gone';
    return 'up';
  }

  /**
   * The name as it is now, also after a rename or in another network namespace.
   *
   * @throws SystemError  `EBADFD` once the interface was deleted
   */
  currentName(): string {
    return interfaceName(this.fd, this.name);
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }
}

/** Tries sets of offloads, best first, until one is accepted. @returns bits of `TunOffload` */
export const negotiateOffloads = (accepts: (bits: number) => boolean): number =>
  OFFLOADS_TO_TRY.find(accepts) ?? 0;

/** TUNSETIFF, once more without virtio-net headers where the kernel has none. */
function attach(fd: number, { name, offload, multiQueue = false }: TunOptions): boolean {
  const request = interfaceRequest(name);
  const flags = TunFlag.IFF_TUN | TunFlag.IFF_NO_PI | (multiQueue ? TunFlag.IFF_MULTI_QUEUE : 0);
  if (offload) {
    request.view.setUint16(IfReq.FLAGS, flags | TunFlag.IFF_VNET_HDR, HOST_ORDER);
    if (libc.ioctl(fd, TunIoctl.TUNSETIFF, request.address) >= 0) return true;
    const errno = lastErrno();
    if (errno !== Errno.EINVAL) raise(errno, 'ioctl(TUNSETIFF)', { device: name });
  }
  request.view.setUint16(IfReq.FLAGS, flags, HOST_ORDER);
  checked(libc.ioctl(fd, TunIoctl.TUNSETIFF, request.address), 'ioctl(TUNSETIFF)', {
    device: name,
  });
  return false;
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

function interfaceName(fd: number, device?: string): string {
  const request = allocateStruct(IfReq.BYTES);
  checked(
    libc.ioctl(fd, TunIoctl.TUNGETIFF, request.address),
    'ioctl(TUNGETIFF)',
    device === undefined ? {} : { device },
  );
  return textOf(request.bytes.subarray(IfReq.NAME, IfReq.NAME + INTERFACE_NAME_BYTES));
}
