/** What the kernel tells of the interface behind a descriptor of /dev/net/tun. */
import { checked } from './errors.ts';
import { TunIoctl } from './ioctls.ts';
import { libc, textOf } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER, IfReq, INTERFACE_NAME_BYTES } from './structs.ts';

export interface AttachedInterface {
  /** As it is now, also after a rename or in another network namespace. */
  readonly name: string;
  /** Bits of `TunFlag`. */
  readonly flags: number;
}

/**
 * @param device  for the error, where more is known than the descriptor
 * @throws SystemError  `ENOTTY` and `EBADF` when it is no such descriptor, `EBADFD` when no
 *                      interface is attached, or once it was deleted
 */
export function attachedInterface(fd: number, device = `fd ${fd}`): AttachedInterface {
  const request = allocateStruct(IfReq.BYTES);
  checked(libc.ioctl(fd, TunIoctl.TUNGETIFF, request.address), 'ioctl(TUNGETIFF)', { device });
  return {
    name: textOf(request.bytes.subarray(IfReq.NAME, IfReq.NAME + INTERFACE_NAME_BYTES)),
    flags: request.view.getUint16(IfReq.FLAGS, HOST_ORDER),
  };
}

/**
 * Has each frame start with a header of that many bytes: whoever had the device before may have
 * chosen the longer one of virtio 1.0.
 *
 * @throws SystemError  `EBADFD` once the interface was deleted
 */
export function useVnetHeader(fd: number, bytes: number): void {
  const size = allocateStruct(4);
  size.view.setInt32(0, bytes, HOST_ORDER);
  checked(libc.ioctl(fd, TunIoctl.TUNSETVNETHDRSZ, size.address), 'ioctl(TUNSETVNETHDRSZ)', {
    device: `fd ${fd}`,
  });
}
