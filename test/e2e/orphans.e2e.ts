/**
 * A client of a slow server resets its connection: what the gateway has acknowledged still arrives,
 * and behind it the reset, or the end where the client had sent FIN. A kernel would do the same.
 *
 *   client                        gw                        server
 *     fills, resets ─► culvert0 [ culvert run ] ─► up0 ═══ dn0 reads late
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

/** Less than the first window of a flow, and far more than the kernels below keep. */
const BYTES = 120_000;
const WAITING_BYTES = 32 * 1024;

let world: World;
beforeAll(async () => {
  world = await World.start();
  for (const namespace of [world.topology.gw, world.topology.server]) {
    // What waits shall wait in the gateway.
    for (const side of ['rmem', 'wmem']) {
      const limits = `net.ipv4.tcp_${side}=4096 8192 16384`;
      world.topology.exec(namespace, 'sysctl', '-qw', limits);
    }
  }
});
afterAll(() => world?.[Symbol.asyncDispose]());

describe.each([...FAMILIES])('over $name', ({ server: host }) => {
  test.each([
    ['a reset', false, 'ECONNRESET'],
    ['FIN and a reset', true, 'end'],
  ])('%s', async (_, withEnd, end) => {
    const { client, server, gateway, topology } = world;
    const orphans = () => gateway.metric('culvert_upstream_orphans');
    const port = await server.call('late', { host });
    const id = await client.call('fill', { host, port, bytes: BYTES, withEnd });
    const sendQueue = () => {
      const sockets = topology.exec(topology.client, 'ss', '-Htna', `dport = :${port}`);
      return Number(sockets.trim().split(/\s+/)[2]);
    };
    await waitFor('the gateway to acknowledge everything', () => sendQueue() === 0);
    expect(await gateway.metric('culvert_slab_bytes')).toBeGreaterThan(WAITING_BYTES);
    await client.call('leave', { id });
    await gateway.flowLog(host, port, 'client-reset');
    expect(await orphans()).toBe(1);
    expect(await server.call('lateRead', { port })).toEqual({ bytes: BYTES, end });
    await waitFor('the socket to be closed', async () => (await orphans()) === 0);
    expect(await gateway.metric('culvert_slab_bytes')).toBe(0);
  });
});
