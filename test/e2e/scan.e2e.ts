/**
 * A scan of every TCP port of one address behind the gateway.
 *
 *   client                   gw                       server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── a few open ports
 */
import { expect, test } from 'bun:test';
import { IPV4 } from '../support/netns.ts';
import { World } from '../support/world.ts';

const PORTS = 65_535;
/** Both ends, the edges of the usual ranges of ephemeral ports, and some in the midst of them. */
const OPEN = [1, 22, 80, 1023, 1024, 8443, 32_767, 32_768, 49_151, 49_152, 60_999, 65_535];
/** Ports that one call scans: an agent's answer has to come within two minutes. */
const SHARE = 8192;

test(`a scan of ${PORTS} ports shows exactly what is open behind the gateway`, async () => {
  // A line for each flow would measure the log.
  await using world = await World.start({ config: { log: { flows: false } } });
  const { client, server, gateway } = world;
  const host = IPV4.server;
  for (const port of OPEN) await server.call('echo', { port });
  const open: number[] = [];
  const codes: Record<string, number> = {};
  const started = performance.now();
  for (let from = 1; from <= PORTS; from += SHARE) {
    const to = Math.min(PORTS, from + SHARE - 1);
    const share = await client.call('scan', { host, from, to });
    open.push(...share.open);
    for (const [code, count] of Object.entries(share.codes)) {
      codes[code] = (codes[code] ?? 0) + count;
    }
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(`${PORTS} ports in ${seconds.toFixed(0)} s`);
  expect({ open, codes }).toEqual({
    open: OPEN,
    codes: { ECONNREFUSED: PORTS - OPEN.length },
  });
  // The gateway saw each port once, and refused each as its dial was refused.
  expect(await gateway.metric('culvert_flows_total')).toBe(PORTS);
  const refused = 'culvert_flow_closed_total{reason="dial-refused"}';
  expect(await gateway.metric(refused)).toBe(PORTS - OPEN.length);
});
