/** Sockets that a script host dials without a client: in conns that it has named itself. */
import { expect, test } from 'bun:test';
import { ClaimPhase } from '../../../../src/gateway/dataplane/claims/claim.ts';
import {
  ClaimSockets,
  type ClaimSocketsParts,
} from '../../../../src/gateway/dataplane/claims/claim-sockets.ts';
import { ClaimTable } from '../../../../src/gateway/dataplane/claims/claim-table.ts';
import { FIRST_OWN_CONN } from '../../../../src/gateway/messages/conn.ts';
import type { SocketDial } from '../../../../src/gateway/messages/conn-encode.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../../src/stack/counters.ts';
import type { Stack } from '../../../../src/stack/stack.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import { type TcpServer, tcpServer } from '../../../support/tcp-server.ts';

const CONN = FIRST_OWN_CONN + 5;

const to = (port: number): SocketDial => ({
  to: { ip: '127.0.0.1', port, family: 4 },
  isIntoDevice: false,
  timeoutMs: 0,
});

function started(options = {}): DataPlaneRig {
  const rig = new DataPlaneRig({ port: 1, ...options });
  rig.turn();
  expect(rig.host.take()).toEqual(['STARTED']);
  rig.host.conn = CONN;
  return rig;
}

/** Turns until the host has heard it. */
async function said(rig: DataPlaneRig, text: string): Promise<void> {
  await rig.until(() => {
    rig.host.take();
    return rig.host.messages.some((message) => message.text === text);
  });
}

async function dialed(server: TcpServer, options = {}): Promise<DataPlaneRig> {
  const rig = started(options);
  rig.host.dial(1, to(server.port));
  await said(rig, 'DIALED 1 OK');
  await rig.until(() => server.sockets.length > 0);
  return rig;
}

test('a socket without a flow: bytes both ways, and both ends in order', async () => {
  using server = await tcpServer();
  using rig = await dialed(server);
  expect(rig.flows).toBe(0);
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(1);
  expect(rig.counters.get(Counter.OWN_DIALS)).toBe(1);
  expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  rig.host.write('ping', 1);
  await rig.until(() => server.received() === 'ping');
  server.sockets[0]?.end('pong');
  rig.host.want(100, 1);
  await said(rig, 'FIN 1');
  expect(rig.host.data(1).toString()).toBe('pong');
  rig.host.fin(1);
  await said(rig, 'CLOSED 1 eof');
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(0);
  expect(server.ended).toBe(1);
  expect(server.errors).toEqual([]);
});

test('it has no limit of four, and its number can be used again when it is over', async () => {
  using server = await tcpServer();
  using rig = started();
  for (let socket = 1; socket <= 9; socket++) rig.host.dial(socket, to(server.port));
  for (let socket = 1; socket <= 9; socket++) await said(rig, `DIALED ${socket} OK`);
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(9);
  rig.host.abort();
  await said(rig, 'CLOSED 0 aborted');
  await rig.until(() => server.errors.length === 9);
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(0);
  rig.host.dial(10, to(server.port));
  await said(rig, 'DIALED 10 OK');
});

test('what was written before CLOSE arrives, though the far side says nothing more', async () => {
  using server = await tcpServer();
  using rig = await dialed(server);
  rig.host.write('x'.repeat(10_000), 1);
  rig.host.close(1);
  await rig.until(() => server.ended === 1);
  expect(server.length()).toBe(10_000);
  expect(server.errors).toEqual([]);
  server.sockets[0]?.end();
  await said(rig, 'CLOSED 1 eof');
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(0);
});

test('what needs a client is against the rules, and ends it', async () => {
  using server = await tcpServer();
  for (const wrong of [{ proxyProtocol: 1 } as const, { isIntoDevice: true }]) {
    using rig = await dialed(server);
    rig.host.dial(2, { ...to(server.port), ...wrong });
    await said(rig, 'CLOSED 0 script-failed');
    expect(rig.counters.get(Counter.CONN_MESSAGES_REFUSED)).toBe(1);
    expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(0);
  }
  using rig = await dialed(server);
  rig.host.splice(1);
  await said(rig, 'CLOSED 0 script-failed');
});

test('only a dial makes one; a number of a claim stays unknown', () => {
  using rig = started();
  rig.host.want(10, 1);
  rig.host.abort();
  rig.host.conn = 7;
  rig.host.dial(1, to(9));
  rig.turn();
  expect(rig.counters.get(Counter.CONN_MESSAGES_LATE)).toBe(3);
  expect(rig.counters.get(Counter.OWN_DIALS)).toBe(0);
});

test('a host that does not listen is not listened to: its dials would pile up here', () => {
  using rig = started({ sockets: 0 });
  let isTaken = true;
  for (let i = 0; i < 40_000 && isTaken; i++) {
    rig.host.conn = FIRST_OWN_CONN + i;
    isTaken = rig.host.tryDial(1, to(9));
    if (i % 32 === 0) rig.turn();
  }
  expect(isTaken).toBe(false);
  // It waits for nothing else meanwhile, and goes on when the host does.
  expect(rig.patienceMs).toBe(Number.POSITIVE_INFINITY);
  const dials = rig.counters.get(Counter.OWN_DIALS);
  rig.host.take();
  rig.turn();
  rig.turn();
  expect(rig.counters.get(Counter.OWN_DIALS)).toBeGreaterThan(dials);
});

test('what the data plane before had of them is not counted any more', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const gauges = [Counter.CLAIMS_NOW, Counter.CLAIM_SOCKETS_NOW, Counter.OWN_SOCKETS_NOW];
  for (const gauge of gauges) counters.set(gauge, 7);
  new ClaimTable({ flows: { capacity: 1 } } as Stack, counters);
  new ClaimSockets({ counters } as ClaimSocketsParts, 4);
  expect(gauges.map((gauge) => counters.get(gauge))).toEqual([0, 0, 0]);
});

test('claims are never given its numbers', () => {
  const flows = { capacity: 1 };
  const stack = { flows } as Stack;
  const table = new ClaimTable(stack, new Counters(new ArrayBuffer(COUNTERS_BYTES)));
  const conns = Array.from({ length: 600 }, (_, i) => {
    const claim = table.add(0, 1, i);
    table.retire(claim, ClaimPhase.OVER);
    return claim.conn;
  });
  expect(Math.max(...conns)).toBe(FIRST_OWN_CONN - 2 ** 24);
  expect(new Set(conns).size).toBe(255);
});

test('no descriptor is left, whatever ended the sockets, and whoever the script host', async () => {
  using server = await tcpServer();
  using rig = started({ sockets: 64 });
  const fds = () =>
    [...new Bun.Glob('*').scanSync({ cwd: '/proc/self/fd', onlyFiles: false })].length;
  const before = fds();
  for (let i = 0; i < 20; i++) {
    rig.host.conn = FIRST_OWN_CONN + i;
    rig.host.messages.length = 0;
    for (let socket = 1; socket <= 3; socket++) rig.host.dial(socket, to(server.port));
    await said(rig, 'DIALED 3 OK');
    rig.host.dial(4, to(1));
    await said(rig, 'DIALED 4 REFUSED');
    if (i % 4 === 0) rig.host.abort();
    if (i % 4 === 1) for (let socket = 1; socket <= 3; socket++) rig.host.abort(socket);
    if (i % 4 === 2) for (const socket of server.sockets) socket.destroy();
    if (i % 4 === 3) rig.setHost(i + 2);
    await rig.until(() => rig.counters.get(Counter.OWN_SOCKETS_NOW) === 0 || i % 4 === 2);
    if (i % 4 === 2) rig.host.abort();
    rig.turn();
    rig.host.take();
  }
  rig.setHost(undefined);
  rig.turn();
  for (const socket of server.sockets) socket.destroy();
  await Bun.sleep(50);
  expect(rig.counters.get(Counter.OWN_SOCKETS_NOW)).toBe(0);
  expect(rig.stack.slabs.bytesUsed).toBe(0);
  expect(fds()).toBeLessThanOrEqual(before + 1);
}, 20_000);
