/** Sockets that a script dials for its connection: how dials end, their bytes, and their ends. */
import { dlopen } from 'bun:ffi';
import { describe, expect, test } from 'bun:test';
import net from 'node:net';
import { bindAddress, closeFd, localPort, tcpSocket } from '../../../../src/ffi/sockets.ts';
import { PeekedFlag } from '../../../../src/gateway/messages/conn.ts';
import type { SocketDial } from '../../../../src/gateway/messages/conn-encode.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import { type TcpServer, tcpServer } from '../../../support/tcp-server.ts';

const to = (port: number, ip = '127.0.0.1'): SocketDial => ({
  to: { ip, port, family: ip.includes(':') ? 6 : 4 },
  isIntoDevice: false,
  timeoutMs: 0,
});

function opened(options = {}): DataPlaneRig {
  const rig = new DataPlaneRig({ port: 1, ...options });
  rig.open();
  rig.host.take();
  return rig;
}

/** A conn with socket 1, connected. */
async function dialed(server: TcpServer, options = {}): Promise<DataPlaneRig> {
  const rig = opened(options);
  rig.host.dial(1, to(server.port));
  await said(rig, 'DIALED 1 OK');
  await rig.until(() => server.sockets.length > 0);
  return rig;
}

/** Turns until the host has heard it. */
async function said(rig: DataPlaneRig, text: string): Promise<void> {
  await rig.until(() => {
    rig.host.take();
    return rig.host.messages.some((message) => message.text === text);
  });
}

describe('a dial', () => {
  test('that succeeds tells both ends of the socket', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    const { local, remote } = rig.host.messages.at(-1)!;
    expect(remote).toBe(`127.0.0.1:${server.port}`);
    expect(local).toBe(`127.0.0.1:${server.sockets[0]?.remotePort}`);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(1);
    expect(rig.counters.get(Counter.DIALS)).toBe(1);
  });

  test('of an IPv4 address in IPv6 clothes is one of IPv4', async () => {
    using server = await tcpServer();
    using rig = opened();
    rig.host.dial(1, to(server.port, '::ffff:127.0.0.1'));
    await said(rig, 'DIALED 1 OK');
    expect(rig.host.messages.at(-1)?.remote).toBe(`127.0.0.1:${server.port}`);
  });

  test('that is refused says so, and its number is free again', async () => {
    const { port } = await closedPort();
    using rig = opened();
    rig.host.dial(1, to(port));
    await said(rig, 'DIALED 1 REFUSED');
    expect(rig.counters.get(Counter.DIALS_FAILED)).toBe(1);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    using server = await tcpServer();
    rig.host.dial(1, to(server.port));
    await said(rig, 'DIALED 1 OK');
  });

  test('from an address that is not ours fails', async () => {
    using rig = opened();
    rig.host.dial(1, { ...to(1), bind: '192.0.2.1' });
    await said(rig, 'DIALED 1 FAILED');
    rig.host.dial(2, { ...to(1), bind: 'fd00::1' });
    await said(rig, 'DIALED 2 FAILED');
  });

  test('binds to the address that it asks for', async () => {
    using server = await tcpServer();
    using rig = opened();
    rig.host.dial(1, { ...to(server.port), bind: '127.0.0.9' });
    await said(rig, 'DIALED 1 OK');
    await rig.until(() => server.sockets.length > 0);
    expect(server.sockets[0]?.remoteAddress).toBe('127.0.0.9');
  });

  test('that nobody answers ends with its time', async () => {
    using full = await fullServer();
    using rig = opened();
    rig.host.dial(1, { ...to(full.port), timeoutMs: 30 });
    await said(rig, 'DIALED 1 TIMEOUT');
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  });

  test('is one of four at most, of a conn', async () => {
    using server = await tcpServer();
    using rig = opened();
    for (let socket = 1; socket <= 5; socket++) rig.host.dial(socket, to(server.port));
    await said(rig, 'DIALED 5 LIMIT');
    for (let socket = 1; socket <= 4; socket++) await said(rig, `DIALED ${socket} OK`);
    rig.host.abort(2);
    await said(rig, 'CLOSED 2 aborted');
    rig.host.dial(6, to(server.port));
    await said(rig, 'DIALED 6 OK');
  });

  test('beyond the sockets that there may be fails, for all conns together', async () => {
    using server = await tcpServer();
    using rig = opened({ sockets: 1 });
    rig.host.dial(1, to(server.port));
    rig.host.dial(2, to(server.port));
    await said(rig, 'DIALED 2 LIMIT');
    await said(rig, 'DIALED 1 OK');
    rig.host.abort(1);
    await said(rig, 'CLOSED 1 aborted');
    rig.host.dial(3, to(server.port));
    await said(rig, 'DIALED 3 OK');
  });

  test('with a number that is taken is against the rules', async () => {
    using server = await tcpServer();
    using rig = opened();
    rig.host.dial(1, to(server.port));
    rig.host.dial(1, to(server.port));
    rig.turn();
    expect(rig.ended).toEqual(['script-failed']);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  });

  test('begins with a PROXY header, in front of what was written before it was done', async () => {
    using server = await tcpServer();
    using rig = opened();
    rig.host.dial(1, { ...to(server.port), proxyProtocol: 1 });
    rig.host.write('hello', 1);
    await rig.until(() => server.received().endsWith('hello'));
    expect(server.received()).toBe('PROXY TCP4 198.18.0.1 198.18.0.80 40000 443\r\nhello');
    await said(rig, 'ROOM 1 5');
    expect(rig.host.messages.filter(({ kind }) => kind === 'ROOM')).toHaveLength(1);
  });
});

describe('bytes', () => {
  test('of a socket wait in the kernel until the host wants them', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.write('abcdefghij');
    await Bun.sleep(10);
    for (let i = 0; i < 5; i++) rig.turn();
    expect(rig.host.take()).toEqual([]);
    rig.host.want(4, 1);
    await said(rig, 'DATA 1 4');
    rig.host.want(100, 1);
    await said(rig, 'DATA 1 6');
    expect(rig.host.data(1).toString()).toBe('abcdefghij');
    server.sockets[0]?.write('klm');
    await said(rig, 'DATA 1 3');
  });

  test('go to a socket as it takes them, with the rest in slabs', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.pause();
    const sent = streamBytes(Stream.CLIENT, 0, 30_000_000);
    let at = 0;
    const pump = () => {
      rig.host.take();
      const rooms = rig.host.messages.filter((m) => m.kind === 'ROOM' && m.end === 1);
      const room = rooms.reduce((sum, { raw }) => sum + raw.bytes, 0);
      while (at < sent.length && at + 16_384 - room <= 65_536) {
        if (!rig.host.write(sent.subarray(at, at + 16_384), 1)) return;
        at = Math.min(at + 16_384, sent.length);
      }
    };
    for (let i = 0; i < 500; i++) {
      pump();
      rig.turn();
    }
    // The socket is full and four writes wait here: no more was ever taken.
    expect(at).toBeLessThan(sent.length);
    expect(rig.stack.slabs.bytesUsed).toBeGreaterThan(0);
    server.sockets[0]?.resume();
    for (let i = 0; i < 20_000 && server.length() < sent.length; i++) {
      pump();
      rig.turn();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(Buffer.compare(server.bytes(), sent)).toBe(0);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  }, 20_000);

  test('are looked at where they are, and the FIN behind them', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.peek(1, 1, 3, 60_000, 1);
    rig.turn();
    expect(rig.host.take()).toEqual([]);
    server.sockets[0]?.write('SSH-2.0');
    await said(rig, 'PEEKED 1 #1 3 flags 0');
    rig.host.peek(2, 100, 200, 60_000, 1);
    rig.turn();
    expect(rig.host.take()).toEqual([]);
    server.sockets[0]?.end();
    await said(rig, `PEEKED 1 #2 7 flags ${PeekedFlag.FIN}`);
    rig.host.want(100, 1);
    await said(rig, 'FIN 1');
    expect(rig.host.data(1).toString()).toBe('SSH-2.0');
  });

  test('a look that is early enough sees the first byte of a server', async () => {
    using server = await tcpServer();
    using rig = opened();
    rig.host.dial(1, to(server.port));
    rig.host.peek(1, 1, 100, 60_000, 1);
    await said(rig, 'DIALED 1 OK');
    await rig.until(() => server.sockets.length > 0);
    server.sockets[0]?.write('220 ready');
    await said(rig, 'PEEKED 1 #1 9 flags 0');
  });
});

describe('the end of a socket', () => {
  test('comes with both FINs', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.write('bye', 1);
    rig.host.fin(1);
    await rig.until(() => server.ended === 1);
    expect(server.received()).toBe('bye');
    server.sockets[0]?.end('ciao');
    rig.host.want(100, 1);
    await said(rig, 'CLOSED 1 eof');
    expect(rig.host.take()).toEqual([]);
    const texts = rig.host.messages.map(({ text }) => text).slice(-3);
    expect(texts).toEqual(['DATA 1 4', 'FIN 1', 'CLOSED 1 eof']);
    expect(rig.host.messages.at(-1)?.raw).toMatchObject({ bytesUp: 3, bytesDown: 4 });
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.ended).toEqual([]);
  });

  test('by its FIN is told, though nobody wants to read', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.end();
    await said(rig, 'FIN 1');
  });

  test('by a reset of the far end is told, though nobody wants to read', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.resetAndDestroy();
    await said(rig, 'CLOSED 1 upstream-reset');
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.ended).toEqual([]);
  });

  test('by close throws away what still comes', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    server.sockets[0]?.write('x'.repeat(200_000));
    rig.host.write('last', 1);
    rig.host.close(1);
    await rig.until(() => server.ended === 1);
    expect(server.received()).toBe('last');
    server.sockets[0]?.end();
    await said(rig, 'CLOSED 1 eof');
    expect(rig.host.messages.at(-1)?.raw.bytesDown).toBe(200_000);
  });

  test('by abort is a reset for the far end', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.abort(1);
    await said(rig, 'CLOSED 1 aborted');
    await rig.until(() => server.errors.includes('ECONNRESET'));
  });

  test('comes with that of its conn: a reset when the client sent one', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.turn(() => rig.peer.sends('R 1:1(0)'));
    await rig.until(() => server.errors.includes('ECONNRESET'));
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.host.take()).toEqual(['CLOSED 0 client-reset']);
  });

  test('comes with that of its conn: orderly when that was', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.write('all of it', 1);
    rig.host.fin();
    rig.turn(() => rig.peer.sends('F. 1:1(0) ack 1 win 512'));
    rig.turn(() => rig.peer.sends('. 2:2(0) ack 2 win 512'));
    expect(rig.ended).toEqual(['eof']);
    await rig.until(() => server.ended === 1);
    expect(server.received()).toBe('all of it');
    expect(server.errors).toEqual([]);
  });

  test('comes with that of the script host', async () => {
    using server = await tcpServer();
    using rig = await dialed(server);
    rig.host.dial(2, to(server.port));
    rig.host.write('x', 2);
    rig.turn();
    rig.setHost(undefined);
    await rig.until(() => server.errors.includes('ECONNRESET'));
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    rig.turn();
    expect(rig.flows).toBe(0);
  });
});

test('no descriptor is left of a hundred sockets, however they ended', async () => {
  using server = await tcpServer();
  const { port } = await closedPort();
  using rig = new DataPlaneRig({ port: 1 });
  rig.turn();
  const fds = () => [...new Bun.Glob('*').scanSync({ cwd: '/proc/self/fd', onlyFiles: false })];
  for (const socket of server.sockets) socket.destroy();
  const before = fds().length;
  for (let i = 0; i < 25; i++) {
    const peer = rig.newPeer({ port: 1000 + i });
    rig.open(peer, i + 1);
    rig.host.take();
    for (let socket = 1; socket <= 3; socket++) rig.host.dial(socket, to(server.port));
    rig.host.dial(4, to(port));
    await said(rig, 'DIALED 4 REFUSED');
    rig.host.messages.length = 0;
    if (i % 3 === 0) rig.host.abort(1);
    if (i % 3 === 1) rig.host.close(2);
    rig.turn(() => peer.sends('R 1:1(0)'));
    rig.turn();
  }
  expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  expect(rig.stack.slabs.bytesUsed).toBe(0);
  for (const socket of server.sockets) socket.destroy();
  await Bun.sleep(50);
  expect(fds().length).toBeLessThanOrEqual(before + 1);
}, 20_000);

/** A port where nobody listens. */
async function closedPort(): Promise<{ readonly port: number }> {
  using server = await tcpServer();
  return { port: server.port };
}

/** A server that never accepts, and whose queue is full: SYNs to it are not answered. */
async function fullServer(): Promise<{ readonly port: number } & Disposable> {
  const { symbols: libc } = dlopen('libc.so.6', {
    listen: { args: ['i32', 'i32'], returns: 'i32' },
  });
  const fd = tcpSocket(4);
  const loopback = new DataView(Uint8Array.of(127, 0, 0, 1).buffer);
  bindAddress(fd, loopback, 0, 4, 0);
  libc.listen(fd, 0);
  const port = localPort(fd);
  const clients = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1'));
  for (const client of clients) client.on('error', () => {});
  await Bun.sleep(50);
  return {
    port,
    [Symbol.dispose]: () => {
      for (const client of clients) client.destroy();
      closeFd(fd);
    },
  };
}
