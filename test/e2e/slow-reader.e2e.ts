/**
 * One side reads slowly for half a minute: the other side waits, the gateway holds little, and no
 * byte is lost. All four at once, over one gateway.
 *
 *   client                    gw                        server
 *     slow ◄── culvert0 ◄── [ culvert run ] ◄── up0 ═══ dn0 ◄── fast
 *     fast ──►              [             ] ──►             ──► slow
 */
import { expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { World } from '../support/world.ts';

const MIB = 1024 ** 2;
/** More than all buffers of both kernels and of the gateway together. */
const SIZE = 64 * MIB;
const SLOW = { bytesPerSecond: 0.2 * MIB, forMs: 30_000 };
/** Configured below; four flows may hold that much each. */
const PER_FLOW = 2 * MIB;
const SAMPLE_MS = 250;

test('slow readers for 30 s: memory stays bounded and every byte arrives', async () => {
  await using world = await World.start({ config: { limits: { slabBytesPerFlow: PER_FLOW } } });
  const { client, server, gateway } = world;
  const before = gateway.memory();
  let peak = before;
  let peakSlabs = 0;
  let ended = false;
  const sample = async () => {
    while (!ended) {
      peak = Math.max(peak, gateway.memory());
      peakSlabs = Math.max(peakSlabs, await gateway.metric('culvert_slab_bytes'));
      await Bun.sleep(SAMPLE_MS);
    }
  };
  const sampling = sample();
  try {
    const transfers = FAMILIES.flatMap((family) => [
      { host: family.server, up: 0, down: SIZE, slowClient: SLOW },
      { host: family.server, up: SIZE, down: 0, slowServer: SLOW },
    ]);
    const results = await Promise.all(
      transfers.map(({ host, ...transfer }) => transferBetween(client, server, host, transfer)),
    );
    for (const [i, transfer] of transfers.entries()) {
      expect(results[i]).toMatchObject(intact(transfer));
      expect(results[i]?.client.ms).toBeGreaterThan(SLOW.forMs);
    }
  } finally {
    ended = true;
    await sampling;
  }
  const grown = peak - before;
  console.log(`grew by ${(grown / MIB).toFixed(1)} MiB, slabs ${(peakSlabs / MIB).toFixed(1)} MiB`);
  expect(peakSlabs).toBeLessThanOrEqual(4 * PER_FLOW);
  // The slabs, and what the engine of JavaScript takes to warm up.
  expect(grown).toBeLessThan(4 * PER_FLOW + 64 * MIB);
});
