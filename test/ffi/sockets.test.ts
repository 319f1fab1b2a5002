import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { closeSync, openSync } from 'node:fs';
import { Epoll, EpollEvent } from '../../src/ffi/epoll.ts';
import { Errno } from '../../src/ffi/errno.ts';
import { addressOf, allocateStruct } from '../../src/ffi/memory.ts';
import * as sockets from '../../src/ffi/sockets.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { descriptorCount } from './support/descriptors.ts';
import { isRoot, NetworkNamespace } from './support/namespace.ts';

const LOOPBACK = { 4: viewOf('127.0.0.1'), 6: viewOf('::1') } as const;

const outgoing = new Uint8Array(new ArrayBuffer(4096));
const incoming = new Uint8Array(new ArrayBuffer(4096));
const outgoingAddress = addressOf(outgoing.buffer);
const incomingAddress = addressOf(incoming.buffer);

function viewOf(text: string): DataView {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return new DataView(bytes.buffer);
}

/** Waits until the connection is decided, and gives its error. */
function settle(fd: number): number {
  using epoll = new Epoll();
  epoll.add(fd, EpollEvent.OUT, 0);
  expect(epoll.wait(2000)).toBe(1);
  return sockets.takeError(fd);
}

/** Fills a socket; gives the bytes it took and the result that ended it. */
function sendUntilRefused(fd: number): { taken: number; refusal: number } {
  for (let taken = 0; ; ) {
    const result = sockets.send(fd, outgoingAddress, outgoing.length);
    if (result <= 0) return { taken, refusal: result };
    taken += result;
  }
}

/** A server that keeps what it receives. */
class Server {
  readonly received: string[] = [];
  readonly ended = Promise.withResolvers<void>();
  readonly failed = Promise.withResolvers<string>();
  readonly #connected = Promise.withResolvers<Bun.Socket<unknown>>();
  readonly #listener: Bun.TCPSocketListener;

  constructor(hostname: string) {
    this.#listener = Bun.listen({
      hostname,
      port: 0,
      allowHalfOpen: true,
      socket: {
        open: (socket) => this.#connected.resolve(socket),
        data: (_, bytes) => {
          this.received.push(bytes.toString());
        },
        end: () => this.ended.resolve(),
        close: (_, error) => this.failed.resolve(String(error)),
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  connected(): Promise<Bun.Socket<unknown>> {
    return this.#connected.promise;
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
  }
}

describe.each([4, 6] as const)('TCP over IPv%d', (family) => {
  let server: Server;
  let fd: number;

  beforeEach(() => {
    server = new Server(family === 4 ? '127.0.0.1' : '::1');
    fd = sockets.tcpSocket(family);
  });

  afterEach(() => {
    sockets.closeFd(fd);
    server[Symbol.dispose]();
  });

  const connect = (port: number): number =>
    sockets.connectSocket(fd, LOOPBACK[family], 0, family, port);

  test('a connection is made, and bytes go both ways with a half-close', async () => {
    expect(connect(server.port)).toBe(-Errno.EINPROGRESS);
    expect(settle(fd)).toBe(0);
    const peer = await server.connected();
    expect(peer.remotePort).toBe(sockets.localPort(fd));
    expect(sockets.setNoDelay(fd)).toBe(0);

    outgoing.set(new TextEncoder().encode('hello'));
    expect(sockets.sendMore(fd, outgoingAddress, 2)).toBe(2);
    expect(sockets.send(fd, outgoingAddress + 2, 3)).toBe(3);
    expect(sockets.shutdownWrite(fd)).toBe(0);
    await server.ended.promise;
    expect(server.received.join('')).toBe('hello');

    expect(sockets.receive(fd, incomingAddress, incoming.length)).toBe(-Errno.EAGAIN);
    peer.end('bye');
    using epoll = new Epoll();
    epoll.add(fd, EpollEvent.IN, 0);
    expect(epoll.wait(2000)).toBe(1);
    expect(sockets.receive(fd, incomingAddress, incoming.length)).toBe(3);
    expect(new TextDecoder().decode(incoming.subarray(0, 3))).toBe('bye');
    expect(epoll.wait(2000)).toBe(1);
    expect(sockets.receive(fd, incomingAddress, incoming.length)).toBe(0);
  });

  test('a refused connection is taken off the socket once', () => {
    const { port } = server;
    server[Symbol.dispose]();
    expect(connect(port)).toBe(-Errno.EINPROGRESS);
    expect(settle(fd)).toBe(Errno.ECONNREFUSED);
    expect(sockets.takeError(fd)).toBe(0);
  });

  test('resetOnClose makes the close a RST', async () => {
    connect(server.port);
    settle(fd);
    await server.connected();
    expect(sockets.resetOnClose(fd)).toBe(0);
    sockets.closeFd(fd);
    fd = -1;
    expect(await server.failed.promise).toContain('ECONNRESET');
  });

  test('bindAddress chooses the source', async () => {
    expect(sockets.localPort(fd)).toBe(0);
    expect(sockets.bindAddress(fd, LOOPBACK[family], 0, family, 0)).toBe(0);
    const port = sockets.localPort(fd);
    expect(port).toBeGreaterThan(0);
    connect(server.port);
    expect(settle(fd)).toBe(0);
    expect((await server.connected()).remotePort).toBe(port);
  });

  test('a full socket takes a part, then nothing', async () => {
    connect(server.port);
    settle(fd);
    (await server.connected()).pause();
    const { taken, refusal } = sendUntilRefused(fd);
    expect(refusal).toBe(-Errno.EAGAIN);
    expect(taken).toBeGreaterThan(0);
  });
});

describe('sockets', () => {
  test('are non-blocking', () => {
    const fd = sockets.tcpSocket(4);
    expect(sockets.isNonBlocking(fd)).toBe(true);
    sockets.closeFd(fd);
  });

  test('mistakes are negative errnos, and sending to nobody is no signal', () => {
    const fd = sockets.tcpSocket(4);
    expect(sockets.send(fd, outgoingAddress, 1)).toBe(-Errno.EPIPE);
    expect(sockets.receive(fd, incomingAddress, 1)).toBe(-Errno.ENOTCONN);
    expect(sockets.shutdownWrite(fd)).toBe(-Errno.ENOTCONN);
    expect(sockets.bindAddress(fd, viewOf('192.0.2.1'), 0, 4, 0)).toBe(-Errno.EADDRNOTAVAIL);
    sockets.closeFd(fd);
    expect(sockets.closeFd(fd)).toBe(-Errno.EBADF);
    expect(sockets.takeError(fd)).toBe(-Errno.EBADF);
    expect(sockets.localPort(fd)).toBe(-Errno.EBADF);
    expect(sockets.setNoDelay(fd)).toBe(-Errno.EBADF);
    expect(sockets.resetOnClose(fd)).toBe(-Errno.EBADF);
  });

  test('leave no descriptor behind', () => {
    const before = descriptorCount('socket:');
    for (let i = 0; i < 10; i++) {
      sockets.closeFd(sockets.tcpSocket(6));
      for (const fd of sockets.socketPair('stream')) sockets.closeFd(fd);
    }
    expect(descriptorCount('socket:')).toBe(before);
  });

  test('bindToDevice knows an interface from none', () => {
    const fd = sockets.tcpSocket(4);
    expect(sockets.bindToDevice(fd, 'cv-no-such-dev')).toBe(-Errno.ENODEV);
    expect(sockets.bindToDevice(fd, 'a-name-longer-than-fifteen')).toBe(-Errno.ENODEV);
    expect(sockets.bindToDevice(fd, 'lo')).toBe(0);
    sockets.closeFd(fd);
  });

  test.skipIf(!isRoot)('the unreachable is a negative errno at once', () => {
    using _namespace = new NetworkNamespace();
    const four = sockets.tcpSocket(4);
    const six = sockets.tcpSocket(6);
    expect(sockets.connectSocket(four, viewOf('192.0.2.1'), 0, 4, 80)).toBe(-Errno.ENETUNREACH);
    expect(sockets.connectSocket(six, viewOf('2001:db8::1'), 0, 6, 80)).toBe(-Errno.ENETUNREACH);
    sockets.closeFd(four);
    sockets.closeFd(six);
  });

  test.skipIf(!isRoot)('setMark is accepted from root', () => {
    const fd = sockets.tcpSocket(4);
    expect(sockets.setMark(fd, 0xc0de)).toBe(0);
    sockets.closeFd(fd);
  });
});

describe('socketPair', () => {
  test('seqpacket keeps the bounds of messages, also of 128 KiB', () => {
    const [left, right] = sockets.socketPair('seqpacket');
    const large = new ArrayBuffer(128 * 1024);
    expect(sockets.send(left, addressOf(large), large.byteLength)).toBe(large.byteLength);
    expect(sockets.send(left, outgoingAddress, 3)).toBe(3);
    expect(sockets.receive(right, addressOf(large), large.byteLength)).toBe(large.byteLength);
    expect(sockets.receive(right, incomingAddress, incoming.length)).toBe(3);
    expect(sockets.receive(right, incomingAddress, incoming.length)).toBe(-Errno.EAGAIN);
    sockets.closeFd(left);
    expect(sockets.receive(right, incomingAddress, incoming.length)).toBe(0);
    sockets.closeFd(right);
  });

  test('receiveVector fills one buffer after the other, and says when there is nothing', () => {
    const [left, right] = sockets.socketPair('stream');
    const into = allocateStruct(16);
    const vector = new sockets.ReceiveVector(3);
    vector.set(0, into.address, 4);
    vector.set(1, into.address + 8, 4);
    vector.set(2, into.address + 12, 4);
    const text = Buffer.from('abcdefghijkl');
    const from = allocateStruct(text.length);
    from.bytes.set(text);
    expect(sockets.receiveVector(right, vector, 3)).toBe(-Errno.EAGAIN);
    sockets.send(left, from.address, 12);
    expect(sockets.receiveVector(right, vector, 2)).toBe(8);
    expect(Buffer.from(into.bytes).toString()).toBe('abcd\0\0\0\0efgh\0\0\0\0');
    expect(sockets.receiveVector(right, vector, 3)).toBe(4);
    sockets.closeFd(left);
    expect(sockets.receiveVector(right, vector, 3)).toBe(0);
    sockets.closeFd(right);
  });

  test('stream joins messages', () => {
    const [left, right] = sockets.socketPair('stream');
    sockets.send(left, outgoingAddress, 3);
    sockets.send(left, outgoingAddress, 4);
    expect(sockets.receive(right, incomingAddress, incoming.length)).toBe(7);
    sockets.closeFd(left);
    sockets.closeFd(right);
  });

  test('a full one is -EAGAIN, and a closed peer -EPIPE without a signal', () => {
    const [left, right] = sockets.socketPair('seqpacket');
    const { taken, refusal } = sendUntilRefused(left);
    expect(refusal).toBe(-Errno.EAGAIN);
    if (isRoot) expect(taken).toBeGreaterThanOrEqual(512 * 1024);
    sockets.closeFd(right);
    // What the peer left unread is told first, once.
    expect(sockets.send(left, outgoingAddress, 1)).toBe(-Errno.ECONNRESET);
    expect(sockets.send(left, outgoingAddress, 1)).toBe(-Errno.EPIPE);
    sockets.closeFd(left);
  });
});

test('setNonBlocking changes a blocking descriptor', () => {
  const fd = openSync('/dev/zero', 'r');
  expect(sockets.isNonBlocking(fd)).toBe(false);
  sockets.setNonBlocking(fd);
  expect(sockets.isNonBlocking(fd)).toBe(true);
  closeSync(fd);
  expect(() => sockets.setNonBlocking(-1)).toThrow('fcntl(F_GETFL) on fd -1: EBADF');
});
