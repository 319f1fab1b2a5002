import { type Pointer, ptr, toArrayBuffer } from 'bun:ffi';
import { Errno } from './errno.ts';
import { checked, raise } from './errors.ts';
import { cString, lastErrno, libc } from './libc.ts';

// include/uapi/linux/memfd.h, include/uapi/linux/fcntl.h
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

/** JavaScriptCore's limit for one `ArrayBuffer`. */
const ARRAY_BUFFER_MAX_BYTES = 2 ** 32;

/**
 * The address of a buffer's first byte. It holds as long as the buffer is referenced: its storage
 * does not move, unlike that of a small typed array made without an explicit `ArrayBuffer`.
 */
export const addressOf = (buffer: ArrayBuffer): number => ptr(buffer);

/**
 * Copies `length` bytes between two buffers. `to.set(from.subarray(…))` makes an object for each
 * copy, and beside a mapping of hundreds of megabytes these are not collected for a long time.
 * Nobody checks the bounds.
 */
export function copyBytes(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  libc.memcpy(ptr(to) + toAt, ptr(from) + fromAt, length);
}

/** Memory for one struct of the kernel, made once and kept by whoever calls. */
export interface StructMemory {
  readonly view: DataView<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly address: number;
}

export function allocateStruct(byteLength: number): StructMemory {
  const buffer = new ArrayBuffer(byteLength);
  return {
    view: new DataView(buffer),
    bytes: new Uint8Array(buffer),
    address: addressOf(buffer),
  };
}

/**
 * Memory that several processes see: a `memfd`, mapped. The maker owns the file and hands `fd` to
 * its children at spawn, which clears close-on-exec for them; each child maps what it inherits.
 * Its length is sealed: a child that made it shorter would kill all others, by SIGBUS.
 */
export class SharedMemory {
  readonly fd: number;
  readonly buffer: ArrayBuffer;
  readonly address: number;
  readonly #bytes: number;

  private constructor(fd: number, bytes: number) {
    if (bytes > ARRAY_BUFFER_MAX_BYTES) {
      raise(Errno.EFBIG, 'mmap', { device: `fd ${fd}`, hint: `${bytes} bytes; at most 4 GiB` });
    }
    const address = Number(libc.mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (address < 0) raise(lastErrno(), 'mmap', { device: `fd ${fd}` });
    this.fd = fd;
    this.address = address;
    this.buffer = toArrayBuffer(address as Pointer, 0, bytes);
    this.#bytes = bytes;
  }

  /**
   * Makes zeroed memory. Pages take memory of the machine only when they are first written.
   *
   * @param name   shown in /proc/PID/maps as `/memfd:name`
   * @throws SystemError  `EMFILE`, `ENOMEM`, `EFBIG` above 4 GiB
   */
  static create(name: string, bytes: number): SharedMemory {
    const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const fd = checked(libc.memfd_create(cString(name), flags), 'memfd_create', { device: name });
    try {
      checked(libc.ftruncate(fd, bytes), 'ftruncate', { device: name });
      const seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
      checked(libc.fcntl(fd, F_ADD_SEALS, seals), 'fcntl(F_ADD_SEALS)', { device: name });
      return new SharedMemory(fd, bytes);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /**
   * Maps memory that another process made; takes over `fd`.
   *
   * @param bytes  as it was made: beyond the end of the file an access is SIGBUS
   * @throws SystemError  `EBADF`, `EACCES` when `fd` is not such a file
   */
  static map(fd: number, bytes: number): SharedMemory {
    return new SharedMemory(fd, bytes);
  }

  /** Unmaps and closes. `buffer` must not be touched afterwards: its addresses are gone. */
  [Symbol.dispose](): void {
    libc.munmap(this.address, this.#bytes);
    libc.close(this.fd);
  }
}
