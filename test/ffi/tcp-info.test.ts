import { expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { closeFd, socketPair } from '../../src/ffi/sockets.ts';
import { tcpInfo } from '../../src/ffi/tcp-info.ts';

test('a connected socket tells its state, its MSS and its round trip', async () => {
  const server = createServer((peer) => peer.end('x')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  const before = new Set(openSockets());
  const socket = connect(address.port, '127.0.0.1');
  await once(socket, 'data');
  const infos = openSockets()
    .filter((fd) => !before.has(fd))
    .map(tcpInfo)
    .filter((info) => info !== undefined);
  expect(infos.length).toBeGreaterThan(0);
  for (const info of infos) {
    expect(info.state).toBeGreaterThan(0);
    expect(info.mss).toBeGreaterThan(500);
    expect(info.pmtu).toBeGreaterThan(info.mss);
    expect(info.cwnd).toBeGreaterThan(0);
    expect(info.rtoUs).toBeGreaterThan(100_000);
  }
  socket.destroy();
  server.close();
});

test('a socket that is none of TCP tells nothing', () => {
  const pair = socketPair('seqpacket');
  expect(tcpInfo(pair[0])).toBeUndefined();
  expect(tcpInfo(-1)).toBeUndefined();
  for (const fd of pair) closeFd(fd);
});

/** Numbers of descriptors of this process that are sockets. */
function openSockets(): number[] {
  const fds = [...new Bun.Glob('*').scanSync({ cwd: '/proc/self/fd', onlyFiles: false })];
  return fds.map(Number).filter((fd) => Number.isInteger(fd));
}
