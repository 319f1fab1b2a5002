/** Datagrams to unix sockets, by which a process tells its service manager how it is. */
import { Errno } from './errno.ts';
import { checked, raise } from './errors.ts';
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { AddressFamily, HOST_ORDER, SockAddrUn } from './structs.ts';

// include/linux/net.h, include/linux/socket.h
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/**
 * Sends one datagram. It comes from this process, whatever it is told: the receiver asks the kernel
 * for the sender's credentials.
 *
 * @param path  of the file system, or `@name` for an abstract socket (unix(7))
 * @throws SystemError  `ENOENT`, `ECONNREFUSED`, `EAGAIN` when the receiver does not keep up,
 *                      `ENAMETOOLONG`
 */
export function sendUnixDatagram(path: string, text: string): void {
  const address = encodeAddress(path);
  const message = new TextEncoder().encode(text);
  // Never empty: nothing has no address.
  const body = allocateStruct(message.length + 1);
  body.bytes.set(message);
  const fd = checked(
    libc.socket(AddressFamily.UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
    'socket(AF_UNIX)',
  );
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const { length } = message;
    checked(
      libc.sendto(fd, body.address, length, flags, address.struct.address, address.length),
      'sendto',
      { device: path },
    );
  } finally {
    libc.close(fd);
  }
}

/** An abstract name begins with NUL and has no end but its length. */
function encodeAddress(path: string) {
  const isAbstract = path.startsWith('@');
  const name = new TextEncoder().encode(isAbstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (name.length > SockAddrUn.BYTES - SockAddrUn.PATH) {
    raise(Errno.ENAMETOOLONG, 'sendto', { device: path });
  }
  const struct = allocateStruct(SockAddrUn.BYTES);
  struct.view.setUint16(SockAddrUn.FAMILY, AddressFamily.UNIX, HOST_ORDER);
  struct.bytes.set(name, SockAddrUn.PATH);
  return { struct, length: SockAddrUn.PATH + name.length };
}
