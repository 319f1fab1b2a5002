/**
 * What the log and the list of flows know of a flow beyond its addresses: what its client speaks,
 * the name that its upstream was dialled by, and when its handshake was answered.
 *
 *   client                    gw                                       server
 *     curl ── culvert0 ── [ data plane ── script host ]  up0 ═══ dn0 ── agent: HTTP
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES, hostPort } from '../support/netns.ts';
import { World } from '../support/world.ts';

/** Nobody listens there, at the server or in gw. */
const NAMED_PORT = 82;
const ACCEPTED_PORT = 83;

const SCRIPT = `
import { claim, connect, forward } from "culvert";
export default {
  flow({ dst }) {
    if (dst.port === ${NAMED_PORT}) return forward("localhost:${NAMED_PORT}");
    const handshake = "accept-first";
    if (dst.port === ${ACCEPTED_PORT}) return forward(dst.toString(), { handshake });
    return claim({ sniff: true });
  },
  async connect(conn) {
    const sniffed = await conn.sniff();
    if (sniffed.proto === "http") await conn.splice(connect(conn.flow.dst.toString()));
  },
};
`;

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({ scripts: { all: SCRIPT } });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test('what a client speaks, of a flow that was claimed', async () => {
    const port = await world.server.call('http', { port: 0, text: 'hello' });
    const { topology } = world;
    const url = `http://${hostPort(host, port)}/`;
    const header = ['-H', 'Host: www.example.com:8080'];
    const { stdout } = await topology.run(topology.client, 'curl', '-s', ...header, url);
    expect(stdout).toBe('hello');
    expect(await world.gateway.flowLog(host, port)).toMatchObject({
      sniff: { proto: 'http', host: 'www.example.com' },
      handshake: 'accept-first',
      verdict: 'claim',
      upstream_addr: hostPort(host, port),
    });
  });

  test('the name of an upstream, and that the client was refused as it was', async () => {
    const result = await world.client.call('connect', { host, port: NAMED_PORT, timeoutMs: 5000 });
    expect(result.code).toBe('ECONNREFUSED');
    expect(await world.gateway.flowLog(host, NAMED_PORT)).toMatchObject({
      dns_name: 'localhost',
      handshake: 'dial-first',
      close_reason: 'dial-refused',
    });
  });

  test('that a client was answered before the dial', async () => {
    await world.client.call('connect', { host, port: ACCEPTED_PORT, timeoutMs: 5000 });
    expect(await world.gateway.flowLog(host, ACCEPTED_PORT)).toMatchObject({
      handshake: 'accept-first',
    });
  });

  test('live flows are listed and found with it', async () => {
    const port = await world.server.call('http', { port: 0, text: 'x'.repeat(10_000_000) });
    const { topology } = world;
    const url = `http://${hostPort(host, port)}/`;
    const slowly = ['-s', '-o', '/dev/null', '--limit-rate', '1M'];
    const slow = topology.run(topology.client, 'curl', ...slowly, url);
    const filter = encodeURIComponent(
      `sniff = http and handshake = accept-first and dport=${port}`,
    );
    let found: unknown[] = [];
    for (let i = 0; i < 50 && found.length === 0; i++) {
      await Bun.sleep(50);
      const { flows } = await world.gateway.json<{ flows: unknown[] }>(
        `/v1/flows?filter=${filter}`,
      );
      found = flows;
    }
    expect(found).toMatchObject([{ sniff: { proto: 'http' }, handshake: 'accept-first' }]);
    await world.gateway.api(`/v1/flows?filter=${filter}`, { method: 'DELETE' });
    await slow;
  });
});

test('that a client was answered with a cookie', async () => {
  await using world = await World.start({ config: { limits: { synCookiesFrom: 0 } } });
  const host = FAMILIES[0]?.server ?? '';
  const port = await world.server.call('echo', { port: 0 });
  await world.client.call('connect', { host, port, timeoutMs: 5000 });
  expect(await world.gateway.flowLog(host, port)).toMatchObject({ handshake: 'cookie' });
});
