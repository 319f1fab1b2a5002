/** The receiving end of sd_notify: a unix datagram socket of the kernel, bound to a name. */
import { checked } from '../../src/ffi/errors.ts';
import { libc } from '../../src/ffi/libc.ts';
import { allocateStruct } from '../../src/ffi/memory.ts';
import { receive } from '../../src/ffi/sockets.ts';
import { AddressFamily, HOST_ORDER, SockAddrUn } from '../../src/ffi/structs.ts';

const SOCK_DGRAM_CLOEXEC = 0o2000002;
const BUFFER_BYTES = 4096;

export class DatagramReceiver implements Disposable {
  readonly #fd: number;
  readonly #buffer = allocateStruct(BUFFER_BYTES);

  /** @param name  a path, or `@name` for an abstract one */
  constructor(name: string) {
    const address = allocateStruct(SockAddrUn.BYTES);
    const bytes = new TextEncoder().encode(name);
    address.view.setUint16(SockAddrUn.FAMILY, AddressFamily.UNIX, HOST_ORDER);
    address.bytes.set(bytes, SockAddrUn.PATH);
    const isAbstract = name.startsWith('@');
    if (isAbstract) address.bytes[SockAddrUn.PATH] = 0;
    const length = SockAddrUn.PATH + bytes.length + (isAbstract ? 0 : 1);
    this.#fd = checked(libc.socket(AddressFamily.UNIX, SOCK_DGRAM_CLOEXEC, 0), 'socket');
    checked(libc.bind(this.#fd, address.address, length), 'bind', { device: name });
  }

  /** The next datagram as text; undefined when there is none yet. */
  next(): string | undefined {
    const count = receive(this.#fd, this.#buffer.address, BUFFER_BYTES);
    if (count < 0) return undefined;
    return new TextDecoder().decode(this.#buffer.bytes.subarray(0, count));
  }

  /** The next datagram as a table of its assignments. */
  take(): Record<string, string> | undefined {
    const pairs = this.next()
      ?.split('\n')
      .map((line): [string, string] => {
        const [name = '', ...value] = line.split('=');
        return [name, value.join('=')];
      });
    return pairs && Object.fromEntries(pairs);
  }

  /** All datagrams so far. */
  all(): Record<string, string>[] {
    const found: Record<string, string>[] = [];
    for (let one = this.take(); one !== undefined; one = this.take()) found.push(one);
    return found;
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd);
  }
}
