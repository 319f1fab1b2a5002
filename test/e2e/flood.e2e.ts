/**
 * A flood of SYNs from sources that do not exist, through the kernel, and a client beside it.
 *
 *   client                         gw                            server
 *     hping3 ──┐
 *     agent ───┴── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── echo
 *                                 script, dials: the agent's
 */
import { expect, test } from 'bun:test';
import type { ConnectResult } from '../support/agent.ts';
import { IPV4 } from '../support/netns.ts';
import { World } from '../support/world.ts';

const SPOOFED = 200_000;
const CONNECT_INTERVAL_MS = 100;
/** Half of the default of `limits.heldSyns`. */
const THRESHOLD = 512;
/** Of all three processes; a row for each SYN would be 90 MB. */
const MEMORY_BOUND_BYTES = 32 * 1024 * 1024;
/** Some of hping3's random sources are loopback, multicast or reserved, and are refused as such. */
const TAKEN_AT_LEAST = SPOOFED * 0.8;

/** Floods the gateway, and connects to the echo service until the flood is over. */
async function flood({ topology, client, server }: World): Promise<ConnectResult[]> {
  const host = IPV4.server;
  const port = await server.call('echo', { port: 0 });
  let isOver = false;
  const hping = topology
    .run(
      topology.client,
      ...['hping3', '--syn', '--rand-source', '--interval', 'u10', '--count', String(SPOOFED)],
      ...['--quiet', '--destport', String(port), host],
    )
    .finally(() => {
      isOver = true;
    });
  const results: ConnectResult[] = [];
  while (!isOver) {
    results.push(await client.call('connect', { host, port, timeoutMs: 5000 }));
    await Bun.sleep(CONNECT_INTERVAL_MS);
  }
  await hping;
  const slowest = Math.max(...results.map(({ ms }) => ms));
  console.log(
    `${results.length} connections in the flood, the slowest in ${slowest.toFixed(0)} ms`,
  );
  return results;
}

test(`${SPOOFED} spoofed SYNs ask no script, dial nothing, and shut nobody out`, async () => {
  await using world = await World.start({ config: { limits: { synCookiesFrom: 0 } } });
  const { gateway } = world;
  const before = gateway.memory();
  const results = await flood(world);
  expect(results.filter(({ open }) => !open)).toEqual([]);
  expect(results.length).toBeGreaterThan(10);
  const cookies = (result: string) =>
    gateway.metric(`culvert_tcp_syn_cookies_total{result="${result}"}`);
  expect(await cookies('sent')).toBeGreaterThan(TAKEN_AT_LEAST);
  expect(await cookies('received')).toBe(results.length);
  // The client's flows are all that a script was asked about, and all that was dialled.
  expect(await gateway.metric('culvert_flows_total')).toBe(results.length);
  expect(await gateway.metric('culvert_script_decision_seconds_count')).toBe(results.length);
  expect(gateway.memory() - before).toBeLessThan(MEMORY_BOUND_BYTES);
});

test(`by default the first ${THRESHOLD} of them are held, and nobody is shut out`, async () => {
  await using world = await World.start();
  const { gateway } = world;
  const before = gateway.memory();
  const results = await flood(world);
  expect(results.filter(({ open }) => !open)).toEqual([]);
  const flows = await gateway.metric('culvert_flows_total');
  expect(flows).toBeGreaterThan(results.length);
  expect(flows).toBeLessThanOrEqual(results.length + THRESHOLD);
  expect(gateway.memory() - before).toBeLessThan(MEMORY_BOUND_BYTES);
});
