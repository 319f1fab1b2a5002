import { udpSocket } from '../../../src/ffi/datagram-sockets.ts';
import { addressOf } from '../../../src/ffi/memory.ts';
import { bindAddress, closeFd, connectSocket, localPort } from '../../../src/ffi/sockets.ts';
import { parseAddress } from '../../../src/stack/wire/ip-address.ts';

/** An address as the functions of `src/ffi` take it. */
export function viewOf(text: string): DataView {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return new DataView(bytes.buffer);
}

export const LOOPBACK = { 4: viewOf('127.0.0.1'), 6: viewOf('::1') } as const;

/** Two UDP sockets on loopback that are connected with each other, and memory for the kernel. */
export class DatagramPair {
  readonly sender: number;
  readonly receiver: number;
  readonly bytes = new Uint8Array(new ArrayBuffer(256 * 1024));
  readonly address = addressOf(this.bytes.buffer);

  constructor(family: 4 | 6) {
    this.sender = udpSocket(family);
    this.receiver = udpSocket(family);
    for (const fd of [this.sender, this.receiver]) bindAddress(fd, LOOPBACK[family], 0, family, 0);
    connectSocket(this.sender, LOOPBACK[family], 0, family, localPort(this.receiver));
    connectSocket(this.receiver, LOOPBACK[family], 0, family, localPort(this.sender));
  }

  [Symbol.dispose](): void {
    closeFd(this.sender);
    closeFd(this.receiver);
  }
}
