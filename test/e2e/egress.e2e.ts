/**
 * The TUN stays in gw and the kernel there routes into it what the client sends, so that the dials
 * of the gateway would come back to it, were they not marked or bound to a device.
 *
 *   client            gw                                          server
 *     agent ── c0 ═══ g0 ──route 198.18.0.0/15──► culvert0
 *                                                  [ culvert run ]
 *                     up0 ◄──mark 0x2c or device up0──┘  ═══ dn0 ── agent
 */
import { describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { World } from '../support/world.ts';

const device = {
  addresses: ['10.88.0.1/24', 'fd88::1/64'],
  routes: ['198.18.0.0/15', '2001:db8::/32'],
};
const TRANSFER = { up: 1_000_000, down: 1_000_000 };
const MARK = 0x2c;

test('a dial that would come back into the own TUN is refused, and the log says why', async () => {
  await using world = await World.startRouted({ config: { device } });
  for (const { server: host } of FAMILIES) {
    const port = await world.server.call('echo', { port: 0 });
    const result = await world.client.call('connect', { host, port, timeoutMs: 5000 });
    expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
    expect(result.ms).toBeLessThan(1000);
    await world.gateway.flowLog(host, port, 'dial-loop');
  }
});

describe.each([
  ['a mark', { fwmark: MARK }],
  ['a device', { interface: 'up0' }],
] as const)('with %s on the upstream sockets', (_, egress) => {
  test('the dial leaves by another way, and bytes arrive', async () => {
    await using world = await World.startRouted({ config: { device, egress } });
    const { topology, client, server } = world;
    for (const [ip, gateway] of [
      ['-4', '10.99.0.2'],
      ['-6', 'fd99::2'],
    ]) {
      topology.ip(topology.gw, `${ip} route add default via ${gateway} dev up0 table 44`);
      topology.ip(topology.gw, `${ip} rule add fwmark ${MARK} table 44`);
    }
    for (const { server: host } of FAMILIES) {
      expect(await transferBetween(client, server, host, TRANSFER)).toMatchObject(intact(TRANSFER));
    }
  });
});
