/**
 * One segment in a hundred is lost on each side, in each direction, and still every byte arrives.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── agent
 *              nft drops 1 %                          nft drops 1 %
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { DEVICE, World } from '../support/world.ts';

const LOSS_PERCENT = 1;
const KIB = 1024;
const SIZES = [0, 1, 1447, 1448, 1449, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 10_000_000];

/** Without offload the gateway writes single segments; with it, a lost packet is up to 64 KiB. */
describe.each([false, true])('with offload %p', (offload) => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({ config: { device: { offload } } });
    world.topology.lose(world.topology.client, DEVICE, LOSS_PERCENT);
    world.topology.lose(world.topology.server, 'dn0', LOSS_PERCENT);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test.each([...FAMILIES])('every size arrives up, down and both over $name', async (family) => {
    const transfers = SIZES.flatMap((size) => [
      { up: size, down: 0 },
      { up: 0, down: size },
      { up: size, down: size },
    ]);
    const results = await Promise.all(
      transfers.map((transfer) =>
        transferBetween(world.client, world.server, family.server, transfer),
      ),
    );
    for (const [i, transfer] of transfers.entries()) {
      expect(results[i]).toMatchObject(intact(transfer));
    }
    const slowest = Math.max(...results.map(({ client }) => client.ms));
    console.log(`${family.name}, offload ${offload}: the slowest took ${slowest.toFixed(0)} ms`);
  });

  test('segments were lost on both sides, and sent again', async () => {
    expect(world.topology.lost(world.topology.client)).toBeGreaterThan(20);
    expect(world.topology.lost(world.topology.server)).toBeGreaterThan(20);
    expect(await world.gateway.metric('culvert_tcp_retransmits_total')).toBeGreaterThan(5);
  });
});
