/**
 * Requests of `ioctl`, composed as include/uapi/asm-generic/ioctl.h does: direction (2 bits), size
 * of the argument (14), type (8), number (8). Holds for x86-64 and arm64.
 */
const DIRECTION_SHIFT = 30;
const SIZE_SHIFT = 16;
const TYPE_SHIFT = 8;
const WRITE = 1;
const READ = 2;
const INT_BYTES = 4;

/** Unsigned: a direction of READ sets the highest bit. */
const compose = (direction: number, type: string, number: number, size: number): number =>
  ((direction << DIRECTION_SHIFT) |
    (size << SIZE_SHIFT) |
    (type.charCodeAt(0) << TYPE_SHIFT) |
    number) >>>
  0;

/** `_IOW`: the caller writes to the kernel. */
const iow = (type: string, number: number): number => compose(WRITE, type, number, INT_BYTES);

/** `_IOR`: the caller reads from the kernel. */
const ior = (type: string, number: number): number => compose(READ, type, number, INT_BYTES);

/** `_IO`: no argument. */
const io = (type: string, number: number): number => compose(0, type, number, 0);

/** Requests of include/uapi/linux/if_tun.h; most declare an `int`, whatever they really take. */
export const TunIoctl = {
  /** Takes a `struct ifreq`: name and flags; the kernel writes the final name back. */
  TUNSETIFF: iow('T', 202),
  TUNGETFEATURES: ior('T', 207),
  /** Takes the bits of `TunOffload` by value. */
  TUNSETOFFLOAD: iow('T', 208),
  /** Fills a `struct ifreq` with the present name and flags. */
  TUNGETIFF: ior('T', 210),
  /** Take the address of an `int`. */
  TUNGETVNETHDRSZ: ior('T', 215),
  TUNSETVNETHDRSZ: iow('T', 216),
  /** Gives a descriptor of the network namespace that the device is in now. Linux 5.2. */
  TUNGETDEVNETNS: io('T', 227),
} as const;

/** Flags of TUNSETIFF and TUNGETIFF. */
export const TunFlag = {
  IFF_TUN: 0x0001,
  /** Frames of Ethernet, not packets of IP. */
  IFF_TAP: 0x0002,
  IFF_MULTI_QUEUE: 0x0100,
  /** Told by TUNGETIFF: the interface outlives its last descriptor. */
  IFF_PERSIST: 0x0800,
  /** No four bytes of packet information in front of each frame. */
  IFF_NO_PI: 0x1000,
  /** A virtio-net header in front of each frame. */
  IFF_VNET_HDR: 0x4000,
} as const;

/** What our side of the device accepts unfinished: bits of TUNSETOFFLOAD. */
export const TunOffload = {
  CSUM: 0x01,
  TSO4: 0x02,
  TSO6: 0x04,
  /** Superpackets with CWR; goes with one of the two above only. */
  TSO_ECN: 0x08,
  USO4: 0x20,
  USO6: 0x40,
} as const;
