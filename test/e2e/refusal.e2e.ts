/**
 * The honest handshake: a client finds through the gateway what is really there.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── open ports, closed ports,
 *                               │                              unreachable, black hole
 *                               └─ no route
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES, hostPort } from '../support/netns.ts';
import { World } from '../support/world.ts';

const CONNECT_TIMEOUT_MS = 1500;
const CLOSED_PORT = 9;
const UNREACHABLE = /^E(HOST|NET)UNREACH$/;
const LISTENER_PORTS = { refused: 7001, prohibited: 7002, silent: 7003, elsewhere: 7004 };

let world: World;
beforeAll(async () => {
  world = await World.start({
    config: {
      timeouts: { connect: `${CONNECT_TIMEOUT_MS}ms` },
      listeners: [
        { name: 'refused', ports: LISTENER_PORTS.refused, action: 'reject' },
        { name: 'prohibited', ports: LISTENER_PORTS.prohibited, action: 'reject', with: 'icmp' },
        { name: 'silent', ports: String(LISTENER_PORTS.silent), action: 'drop' },
        ...FAMILIES.map(({ name, server }) => ({
          name: `elsewhere-${name}`,
          destination: server,
          ports: [LISTENER_PORTS.elsewhere],
          action: 'forward' as const,
          to: hostPort(server, 7999),
        })),
      ],
    },
  });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const connect = (host: string, port: number, timeoutMs = 10_000) =>
  world.client.call('connect', { host, port, timeoutMs });

describe.each([...FAMILIES])('$name', (family) => {
  const { server } = family;

  test('a refused upstream refuses the client', async () => {
    expect(await connect(server, CLOSED_PORT)).toMatchObject({ code: 'ECONNREFUSED' });
    await world.gateway.flowLog(server, CLOSED_PORT, 'dial-refused');
  });

  test('an upstream without a route is unreachable for the client', async () => {
    const result = await connect(family.noRoute, CLOSED_PORT);
    expect(result.code).toMatch(UNREACHABLE);
    // At once, not at a second SYN.
    expect(result.ms).toBeLessThan(900);
    await world.gateway.flowLog(family.noRoute, CLOSED_PORT, 'dial-unreachable');
  });

  test('an upstream that a router calls unreachable is so for the client', async () => {
    const result = await connect(family.unreachable, CLOSED_PORT);
    expect(result.code).toMatch(UNREACHABLE);
    await world.gateway.flowLog(family.unreachable, CLOSED_PORT, 'dial-unreachable');
  });

  test('a black hole is never an open port, and ends when the dial times out', async () => {
    const result = await connect(family.blackHole, CLOSED_PORT);
    expect(result.open).toBe(false);
    expect(result.ms).toBeGreaterThan(CONNECT_TIMEOUT_MS * 0.8);
    await world.gateway.flowLog(family.blackHole, CLOSED_PORT, 'dial-timeout');
  });

  test('a port scan sees exactly the open ports', async () => {
    const open = [6003, 6017, 6018, 6059];
    for (const port of open) await world.server.call('echo', { port });
    const scan = await world.client.call('scan', { host: server, from: 6000, to: 6063 });
    for (const port of open) await world.server.call('unlisten', { port });
    expect(scan).toEqual({ open, codes: { ECONNREFUSED: 64 - open.length } });
  });

  test('listeners reject with RST, reject with ICMP, drop, and forward elsewhere', async () => {
    const code = async (port: number) => (await connect(server, port, 1500)).code;
    expect(await code(LISTENER_PORTS.refused)).toBe('ECONNREFUSED');
    // Administratively prohibited, RFC 1812 §5.2.7.1 and RFC 4443 §3.1: what connect() says of it.
    expect(await code(LISTENER_PORTS.prohibited)).toMatch(/^E(HOSTUNREACH|ACCES|CONNREFUSED)$/);
    expect(await code(LISTENER_PORTS.silent)).toBe('PENDING');
    const behind = await world.server.call('http', { port: 7999, text: 'elsewhere' });
    const url = `http://${hostPort(server, LISTENER_PORTS.elsewhere)}/`;
    const curl = await world.topology.run(world.topology.client, 'curl', '-sS', '-m', '5', url);
    await world.server.call('unlisten', { port: behind });
    expect(curl).toMatchObject({ code: 0, stdout: 'elsewhere' });
    await world.gateway.flowLog(server, LISTENER_PORTS.refused, 'rejected');
    await world.gateway.flowLog(server, LISTENER_PORTS.silent, 'dropped');
  });

  test('a ping of a local address is answered', async () => {
    const { client } = world.topology;
    const ping = await world.topology.run(client, 'ping', '-c3', '-i0.2', '-W2', family.gateway);
    expect(ping.stdout).toContain('3 packets transmitted, 3 received');
    const large = await world.topology.run(client, 'ping', '-c1', '-s1400', '-W2', family.gateway);
    expect(large.code).toBe(0);
  });
});

describe('with no script', () => {
  test('an unmatched SYN is refused, and no script host runs', async () => {
    await using bare = await World.start({ scripts: {}, config: { device: { queues: 1 } } });
    expect(bare.gateway.children('__data-plane')).toHaveLength(1);
    expect(bare.gateway.children('__script-host')).toEqual([]);
    for (const { server: host } of FAMILIES) {
      const port = await bare.server.call('echo', { port: 0 });
      const result = await bare.client.call('connect', { host, port, timeoutMs: 5000 });
      expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
      await bare.gateway.flowLog(host, port, 'unclaimed');
    }
    expect(bare.gateway.children('__script-host')).toEqual([]);
  });
});
