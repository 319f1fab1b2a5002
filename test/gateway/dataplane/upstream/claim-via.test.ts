/** Dials of scripts by upstreams that have names, over sockets of loopback. */
import { describe, expect, test } from 'bun:test';
import { PeekedFlag } from '../../../../src/gateway/messages/conn.ts';
import type { SocketDial } from '../../../../src/gateway/messages/conn-encode.ts';
import { Counter } from '../../../../src/stack/counters.ts';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import { closedPort, ScriptedProxy } from '../../../support/scripted-proxy.ts';
import { type TcpServer, tcpServer } from '../../../support/tcp-server.ts';

const QUIET = 'timeouts: {keepalive: 0s}\n';
const METHOD_NONE = Uint8Array.of(5, 0);
const OPENED = Uint8Array.of(5, 0, 0, 1, 10, 0, 0, 1, 0, 80);
const WORDS = streamBytes(Stream.SERVER, 0, 11);

const dialBy = (via: string, port = 80, ip = '203.0.113.9'): SocketDial => ({
  to: { ip, port, family: ip.includes(':') ? 6 : 4 },
  isIntoDevice: false,
  timeoutMs: 0,
  via,
});
const poolOf = (ports: readonly number[], more = '') =>
  `${QUIET}upstreams: { web: { policy: failover, addresses: [${ports
    .map((port) => `"127.0.0.1:${port}"`)
    .join(', ')}]${more} } }`;
const proxyOf = (port: number, more = '') =>
  `${QUIET}upstreams: { out: { proxy: "socks5://127.0.0.1:${port}"${more} } }`;

function opened(config: string): DataPlaneRig {
  const rig = new DataPlaneRig({ port: 1, config });
  rig.open();
  rig.host.take();
  return rig;
}

/** Turns until the host has heard it. */
async function said(rig: DataPlaneRig, text: string): Promise<void> {
  await rig.until(() => {
    rig.host.take();
    return rig.host.messages.some((message) => message.text === text);
  });
}

const active = (rig: DataPlaneRig, name: string) =>
  rig.upstream(name).addresses.map((address) => address.active);

async function dialedPool(server: TcpServer): Promise<DataPlaneRig> {
  const rig = opened(poolOf([closedPort(), server.port]));
  rig.host.dial(1, dialBy('web'));
  await said(rig, 'DIALED 1 OK');
  return rig;
}

describe('a pool', () => {
  test('the next address is dialled when one refuses, and the host hears which', async () => {
    using server = await tcpServer();
    using rig = await dialedPool(server);
    expect(rig.host.messages.at(-1)?.remote).toBe(`127.0.0.1:${server.port}`);
    expect(rig.upstream('web')).toMatchObject({ connects: 1, failures: 1 });
    expect(active(rig, 'web')).toEqual([0, 1]);
    expect(rig.counters.get(Counter.DIALS)).toBe(0);
  });

  test('when all refuse the dial has failed', async () => {
    using rig = opened(poolOf([closedPort(), closedPort()]));
    rig.host.dial(1, dialBy('web'));
    await said(rig, 'DIALED 1 REFUSED');
    expect(active(rig, 'web')).toEqual([0, 0]);
    expect(rig.counters.get(Counter.CLAIM_SOCKETS_NOW)).toBe(0);
  });

  test('a socket that the script closes leaves its address', async () => {
    using server = await tcpServer();
    using rig = await dialedPool(server);
    rig.host.abort(1);
    await rig.until(() => active(rig, 'web')[1] === 0);
  });

  test('spliced, the flow has the name and the address, and leaves it at its end', async () => {
    using server = await tcpServer();
    using rig = await dialedPool(server);
    rig.host.splice(1);
    await rig.until(() => rig.row(0)?.via === 1);
    expect(rig.row(0)?.upstream?.port).toBe(server.port);
    expect(active(rig, 'web')).toEqual([0, 1]);
    rig.peer.sends('R 1:1(0) win 0');
    expect(active(rig, 'web')).toEqual([0, 0]);
  });
});

describe('a proxy', () => {
  test('bytes of the target right behind its answer come to the host', async () => {
    using proxy = new ScriptedProxy([METHOD_NONE, Buffer.concat([OPENED, WORDS])]);
    using rig = opened(proxyOf(proxy.port));
    rig.host.dial(1, dialBy('out', 8080));
    await said(rig, 'DIALED 1 OK');
    expect(rig.host.messages.at(-1)?.remote).toBe('203.0.113.9:8080');
    rig.host.want(100, 1);
    await said(rig, `DATA 1 ${WORDS.length}`);
  });

  test.each([
    ['bytes of the target are behind its answer', [OPENED, WORDS]],
    ['nothing is', [OPENED]],
  ])('a peek waits for what is still to come, when %s', async (_name, answer) => {
    using proxy = new ScriptedProxy([METHOD_NONE, Buffer.concat(answer)]);
    using rig = opened(proxyOf(proxy.port));
    rig.host.dial(1, dialBy('out'));
    await said(rig, 'DIALED 1 OK');
    rig.host.peek(1, 100, 200, 60, 1);
    await said(
      rig,
      `PEEKED 1 #1 ${answer.length > 1 ? WORDS.length : 0} flags ${PeekedFlag.TIMED_OUT}`,
    );
  });

  test('a FIN of the target right behind its answer is heard', async () => {
    using proxy = new ScriptedProxy([
      METHOD_NONE,
      (socket) => void socket.end(Buffer.concat([OPENED, WORDS])),
    ]);
    using rig = opened(proxyOf(proxy.port));
    rig.host.dial(1, dialBy('out'));
    await said(rig, 'DIALED 1 OK');
    rig.host.peek(1, 100, 200, 900, 1);
    await said(rig, `PEEKED 1 #1 ${WORDS.length} flags ${PeekedFlag.FIN}`);
    rig.host.want(100, 1);
    await said(rig, 'FIN 1');
  });

  test('spliced, they go to the client', async () => {
    using proxy = new ScriptedProxy([METHOD_NONE, Buffer.concat([OPENED, WORDS])]);
    using rig = opened(proxyOf(proxy.port));
    rig.host.dial(1, dialBy('out'));
    await said(rig, 'DIALED 1 OK');
    rig.host.splice(1);
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects(`P. 1:${1 + WORDS.length}(${WORDS.length}) ack 1`);
  });

  test('what it says of the target is how the dial ended', async () => {
    const reply = Uint8Array.of(5, 4, 0, 1, 0, 0, 0, 0, 0, 0);
    using proxy = new ScriptedProxy([METHOD_NONE, reply]);
    using rig = opened(proxyOf(proxy.port));
    rig.host.dial(1, dialBy('out'));
    await said(rig, 'DIALED 1 UNREACHABLE');
  });

  test('one that says nothing is given up when its own time is over', async () => {
    using proxy = new ScriptedProxy([() => {}]);
    using rig = opened(proxyOf(proxy.port, ', connectTimeout: 50ms'));
    rig.host.dial(1, dialBy('out'));
    await said(rig, 'DIALED 1 TIMEOUT');
    expect(active(rig, 'out')).toEqual([0]);
  });
});

test('a name that is not there fails', async () => {
  using rig = opened(QUIET);
  rig.host.dial(1, dialBy('nobody'));
  await said(rig, 'DIALED 1 FAILED');
});

test('what names none goes by egress.via, and `direct` does not', async () => {
  using server = await tcpServer();
  using proxy = new ScriptedProxy([METHOD_NONE, OPENED]);
  using rig = opened(`${QUIET}egress: { via: "socks5://127.0.0.1:${proxy.port}" }`);
  rig.host.dial(1, dialBy(''));
  await said(rig, 'DIALED 1 OK');
  rig.host.dial(2, dialBy('direct', server.port, '127.0.0.1'));
  await said(rig, 'DIALED 2 OK');
  expect(proxy.connections).toHaveLength(1);
  await rig.until(() => server.sockets.length === 1);
});
