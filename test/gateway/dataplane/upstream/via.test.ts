/** Dials by upstreams that have names, over sockets of loopback. */
import { describe, expect, test } from 'bun:test';
import { Stream, streamBytes } from '../../../support/byte-stream.ts';
import { DataPlaneRig } from '../../../support/dataplane-rig.ts';
import { closedPort, ScriptedProxy } from '../../../support/scripted-proxy.ts';

/** What a server says first, as the scripted client knows it. */
const WORDS = streamBytes(Stream.SERVER, 0, 11);
const METHOD_NONE = Uint8Array.of(5, 0);
const OPENED = Uint8Array.of(5, 0, 0, 1, 10, 0, 0, 1, 0, 80);
const QUIET = 'timeouts: {keepalive: 0s}\n';

const configOf = (addresses: readonly string[], more = '') =>
  `${QUIET}upstreams: { web: { addresses: [${addresses.map((one) => `"${one}"`)}]${more} } }`;
const poolOf = (ports: readonly number[], more = '') =>
  configOf(
    ports.map((port) => `127.0.0.1:${port}`),
    more,
  );
const proxyOf = (url: string) => `${QUIET}upstreams: { out: { proxy: "${url}" } }`;

/** An upstream that sends a line to whom it accepts. */
const greeting = (hostname = '127.0.0.1', port = 0) =>
  Bun.listen({
    hostname,
    port,
    socket: { open: (socket) => void socket.write(WORDS), data: () => {} },
  });

describe('a pool', () => {
  test('a flow is dialled to an address of it, and its row says which, and the name', async () => {
    using server = greeting();
    using rig = new DataPlaneRig({ port: 0, via: 'web', config: poolOf([server.port]) });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
    expect(rig.row(row)?.upstream).toEqual({ ip: '127.0.0.1', port: server.port, family: 4 });
    expect(rig.row(row)?.via).toBe(1);
    expect(rig.upstream('web')).toMatchObject({
      connects: 1,
      failures: 0,
      addresses: [{ healthy: true, active: 1 }],
    });
  });

  test('when a dial is refused the next address is tried, before the SYN is answered', async () => {
    using server = greeting();
    const dead = closedPort();
    const config = poolOf([dead, server.port], ', policy: failover');
    using rig = new DataPlaneRig({ port: 0, via: 'web', config });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
    expect(rig.row(row)?.upstream?.port).toBe(server.port);
    const { addresses, ...sums } = rig.upstream('web');
    expect(sums).toMatchObject({ connects: 1, failures: 1 });
    expect(sums.connectBuckets.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(addresses.map(({ active }) => active)).toEqual([0, 1]);
    expect(addresses[0]?.last_error).toBe('ECONNREFUSED');
  });

  test('it goes on to an address of the other family', async () => {
    using server = greeting('::1');
    const addresses = [`127.0.0.1:${closedPort()}`, `[::1]:${server.port}`];
    const config = configOf(addresses, ', policy: failover');
    using rig = new DataPlaneRig({ port: 0, via: 'web', config });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    expect(rig.row(row)?.upstream).toEqual({ ip: '::1', port: server.port, family: 6 });
  });

  test('when all refuse, so is the client', async () => {
    const config = poolOf([closedPort(), closedPort()]);
    using rig = new DataPlaneRig({ port: 0, via: 'web', config });
    rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('R. 0:0(0) ack 1');
    expect(rig.ended).toEqual(['dial-refused']);
    expect(rig.upstream('web')).toMatchObject({ connects: 0, failures: 2 });
  });

  test('no more addresses are tried than `retries` says', async () => {
    using server = greeting();
    const ports = [closedPort(), closedPort(), server.port];
    const config = poolOf(ports, ', policy: failover, retries: 1');
    using rig = new DataPlaneRig({ port: 0, via: 'web', config });
    rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('R. 0:0(0) ack 1');
  });

  test('an address that fails is left out, told of, and tried again later', async () => {
    using server = greeting();
    const dead = closedPort();
    const health = ', policy: failover, health: { after: 2, for: 800ms }';
    using rig = new DataPlaneRig({
      port: 0,
      via: 'web',
      config: poolOf([dead, server.port], health),
    });
    const flow = async (port: number) => {
      const peer = rig.newPeer({ port });
      rig.dial(peer);
      await rig.until(() => rig.frames.length > 0);
      peer.expects('S. 0:0(0) ack 1');
    };
    const failuresOfFirst = () => rig.upstream('web').addresses[0]?.failures;
    await flow(41_001);
    await flow(41_002);
    expect(rig.upstream('web').addresses[0]?.healthy).toBe(false);
    expect(rig.told).toContainEqual({
      kind: 'log',
      level: 'warn',
      event: 'upstream-down',
      fields: {
        upstream: 'web',
        address: `127.0.0.1:${dead}`,
        why: 'ECONNREFUSED',
        for_ms: 800,
      },
    });
    await flow(41_003);
    expect(failuresOfFirst()).toBe(2);
    await Bun.sleep(810);
    using back = greeting('127.0.0.1', dead);
    await flow(41_004);
    expect(back.port).toBe(dead);
    expect(rig.upstream('web').addresses[0]).toMatchObject({ healthy: true, connects: 1 });
    expect(rig.told).toContainEqual(expect.objectContaining({ event: 'upstream-up' }));
  });

  test('a flow that ends leaves its address', async () => {
    using server = greeting();
    using rig = new DataPlaneRig({ port: 0, via: 'web', config: poolOf([server.port]) });
    await rig.connect();
    rig.peer.sends('R 1:1(0) win 0');
    expect(rig.ended).toEqual(['client-reset']);
    expect(rig.upstream('web').addresses[0]?.active).toBe(0);
  });

  test('with an address of its own it is a verdict that does not fit', () => {
    using rig = new DataPlaneRig({ port: 80, via: 'web', config: poolOf([1]) });
    rig.dial();
    expect(rig.ended).toEqual(['verdict-unfit']);
  });

  test('a name that the configuration does not have is one, too', () => {
    using rig = new DataPlaneRig({ port: 80, via: 'nobody' });
    rig.dial();
    expect(rig.ended).toEqual(['verdict-unfit']);
  });

  test('a reload keeps the health and the counts of addresses that stay', async () => {
    using server = greeting();
    const dead = closedPort();
    const health = ', policy: failover, health: { after: 1, for: 1m }';
    using rig = new DataPlaneRig({
      port: 0,
      via: 'web',
      config: poolOf([dead, server.port], health),
    });
    await rig.connect();
    rig.configure(poolOf([dead, 9], health));
    expect(rig.upstream('web')).toMatchObject({
      connects: 1,
      failures: 1,
      addresses: [{ healthy: false }, { active: 0, connects: 0 }],
    });
    rig.peer.sends('R 1:1(0) win 0');
    rig.configure(poolOf([server.port]));
    expect(rig.upstream('web').addresses[0]?.active).toBe(0);
  });
});

describe('a SOCKS5 proxy', () => {
  test('bytes of the target right behind the answer of the proxy are the client’s', async () => {
    using proxy = new ScriptedProxy([METHOD_NONE, Buffer.concat([OPENED, WORDS])]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 8080, ip: '203.0.113.9', via: 'out', config });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.turn();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects(`P. 1:${1 + WORDS.length}(${WORDS.length}) ack 1`);
    expect([...(proxy.connections[0]?.heard[1] ?? [])]).toEqual([
      5, 1, 0, 1, 203, 0, 113, 9, 0x1f, 0x90,
    ]);
    expect(rig.row(row)?.upstream).toEqual({ ip: '203.0.113.9', port: 8080, family: 4 });
    expect(rig.row(row)?.via).toBe(1);
  });

  test('bytes of the client go to the target, and none before the proxy is through', async () => {
    using proxy = new ScriptedProxy([METHOD_NONE, OPENED]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, ip: '2001:db8::9', via: 'out', config });
    await rig.connect();
    rig.peer.sends('P. 1:6(5) ack 1 win 512');
    await rig.until(() => rig.frames.some(({ packet }) => packet.length > 40));
    const [first, second, third] = proxy.connections[0]?.heard ?? [];
    expect([first?.length, second?.[3], third?.length]).toEqual([3, 4, 5]);
  });

  test('an answer that comes byte by byte is one', async () => {
    using proxy = new ScriptedProxy([
      METHOD_NONE,
      async (socket) => {
        for (const byte of [...OPENED, ...WORDS]) {
          socket.write(Uint8Array.of(byte));
          socket.flush();
          await Bun.sleep(2);
        }
      },
    ]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
  });

  test.each([
    [5, 'dial-refused'],
    [4, 'dial-unreachable'],
    [2, 'dial-unreachable'],
    [1, 'dial-failed'],
    [7, 'proxy-failed'],
  ])('reply %i refuses the client, as %s', async (reply, reason) => {
    using proxy = new ScriptedProxy([METHOD_NONE, Uint8Array.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0)]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => rig.ended.length > 0);
    expect(rig.ended).toEqual([reason]);
  });

  test('a proxy that closes in the middle has failed', async () => {
    using proxy = new ScriptedProxy([(socket) => void socket.end(METHOD_NONE.subarray(0, 1))]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => rig.ended.length > 0);
    expect(rig.ended).toEqual(['proxy-failed']);
    expect(rig.upstream('out').addresses[0]?.last_error).toBe('it closed the connection');
  });

  test('a proxy that says nothing is given up after the time for a dial', async () => {
    using proxy = new ScriptedProxy([() => {}]);
    const url = `socks5://127.0.0.1:${proxy.port}`;
    const config = `${QUIET}upstreams: { out: { proxy: "${url}", connectTimeout: 60ms } }`;
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => rig.ended.length > 0);
    expect(rig.ended).toEqual(['dial-timeout']);
  });

  test('a client that goes away meanwhile takes the dial with it', async () => {
    using proxy = new ScriptedProxy([() => {}]);
    const config = proxyOf(`socks5://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => proxy.connections[0]?.heard.length === 1);
    rig.peer.sends('R 1:1(0) win 0');
    expect(rig.ended).toEqual(['client-gone']);
    expect(rig.upstream('out').addresses[0]?.active).toBe(0);
  });

  test('user and password go to the proxy that asks for them', async () => {
    using proxy = new ScriptedProxy([Uint8Array.of(5, 2), Uint8Array.of(1, 0), OPENED]);
    const config = proxyOf(`socks5://ann:p%40ss@127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    await rig.connect();
    const login = Buffer.from(proxy.connections[0]?.heard[1] ?? []);
    expect(login.toString('latin1')).toBe('\x01\x03ann\x04p@ss');
  });
});

describe('an HTTP proxy', () => {
  test('CONNECT, and bytes of the target right behind its answer', async () => {
    using proxy = new ScriptedProxy([
      Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nVia: x\r\n\r\n'), WORDS]),
    ]);
    const config = proxyOf(`http://ann:pw@127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 22, ip: '2001:db8::9', via: 'out', config });
    await rig.connect();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects(`P. 1:${1 + WORDS.length}(${WORDS.length}) ack 1`);
    const request = Buffer.from(proxy.connections[0]?.heard[0] ?? []).toString();
    expect(request).toStartWith('CONNECT [2001:db8::9]:22 HTTP/1.1\r\n');
    expect(request).toContain('Proxy-Authorization: Basic YW5uOnB3\r\n');
  });

  test.each([
    [407, 'proxy-failed'],
    [403, 'dial-unreachable'],
    [502, 'dial-failed'],
    [504, 'dial-timeout'],
  ])('status %i refuses the client, as %s', async (status, reason) => {
    using proxy = new ScriptedProxy([`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`]);
    const config = proxyOf(`http://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', config });
    rig.dial();
    await rig.until(() => rig.ended.length > 0);
    expect(rig.ended).toEqual([reason]);
  });

  test('bytes of a client that was accepted first wait until the proxy is through', async () => {
    using proxy = new ScriptedProxy([
      async (socket) => {
        await Bun.sleep(30);
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
      },
    ]);
    const config = proxyOf(`http://127.0.0.1:${proxy.port}`);
    using rig = new DataPlaneRig({ port: 80, via: 'out', acceptFirst: true, config });
    rig.dial();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('P. 1:6(5) ack 1 win 512');
    await rig.until(() => (proxy.connections[0]?.heard.length ?? 0) > 1);
    expect(proxy.connections[0]?.heard[1]?.length).toBe(5);
  });
});

describe('the default', () => {
  test('what names no upstream goes by that of egress.via', async () => {
    using proxy = new ScriptedProxy([METHOD_NONE, OPENED]);
    const config = `${QUIET}egress: { via: "socks5://127.0.0.1:${proxy.port}" }`;
    using rig = new DataPlaneRig({ port: 80, config });
    await rig.connect();
    expect(proxy.connections).toHaveLength(1);
  });

  test('`direct` does not', async () => {
    using server = greeting();
    using proxy = new ScriptedProxy([]);
    const config = `${QUIET}egress: { via: "socks5://127.0.0.1:${proxy.port}" }`;
    using rig = new DataPlaneRig({ port: server.port, via: 'direct', config });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    rig.peer.expects('S. 0:0(0) ack 1');
    expect(rig.row(row)?.via).toBe(0);
    expect(proxy.connections).toHaveLength(0);
  });
});

describe('an egress', () => {
  test('the socket is bound to its source', async () => {
    const remotes: string[] = [];
    using server = Bun.listen({
      hostname: '127.0.0.1',
      port: 0,
      socket: { open: (socket) => void remotes.push(socket.remoteAddress), data: () => {} },
    });
    const config = `${QUIET}upstreams: { wan: { source: 127.0.0.9 } }`;
    using rig = new DataPlaneRig({ port: server.port, via: 'wan', config });
    const row = rig.dial();
    await rig.until(() => rig.frames.length > 0);
    await Bun.sleep(1);
    expect(remotes).toEqual(['127.0.0.9']);
    expect(rig.row(row)?.via).toBe(1);
  });

  test('a target of the family that it has no source of is refused, and leaves by no other', () => {
    const config = `${QUIET}upstreams: { wan: { source: 127.0.0.9 } }`;
    using rig = new DataPlaneRig({ port: 80, ip: '::1', via: 'wan', config });
    rig.dial();
    expect(rig.ended).toEqual(['dial-failed']);
  });
});
