/**
 * Explicit Congestion Notification with the kernel as the client (RFC 3168). A router between the
 * two is played by rules on the client's device that mark instead of dropping.
 *
 *   client                              gw                    server
 *     agent ── nft marks CE ── culvert0 ── [ culvert run ] ── agent
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { intact, type Transfer, transferBetween } from '../support/transfers.ts';
import { DEVICE, World } from '../support/world.ts';

const BYTES = 20_000_000;
const DOWN: Transfer = { up: 0, down: BYTES };
const UP: Transfer = { up: BYTES, down: 0 };
/** On the way down a packet is what the gateway wrote, up to 64 KiB. */
const MARK_PERCENT = 5;

/** Marks in both directions, and counts segments by their flags: CE set, and CWR without SYN. */
function markCongestion({ topology }: World): void {
  const { client } = topology;
  topology.exec(client, 'sysctl', '-qw', 'net.ipv4.tcp_ecn=1');
  // Single segments: a mark on one of 64 KiB would be a mark on all that it holds.
  topology.ip(client, `link set ${DEVICE} gso_max_segs 1`);
  topology.nft(client, 'add table inet marks');
  for (const [hook, device] of [
    ['input', 'iifname'],
    ['output', 'oifname'],
  ] as const) {
    topology.nft(client, `add chain inet marks ${hook} { type filter hook ${hook} priority 0 ; }`);
    const rule = `add rule inet marks ${hook} ${device} ${DEVICE}`;
    topology.nft(client, `${rule} tcp flags & (cwr | syn) == cwr counter comment "cwr-${hook}"`);
    for (const ip of ['ip', 'ip6']) {
      const chance = `numgen random mod 100 < ${MARK_PERCENT}`;
      topology.nft(
        client,
        `${rule} ${ip} ecn ect0 ${chance} counter ${ip} ecn set ce comment "ce-${hook}"`,
      );
    }
  }
}

/** Packets that the rules with a comment counted. */
function counted({ topology }: World, comment: string): number {
  const rules = topology.exec(topology.client, 'nft', 'list', 'table', 'inet', 'marks');
  return rules
    .split('\n')
    .filter((line) => line.includes(`comment "${comment}"`))
    .reduce((sum, line) => sum + Number(/counter packets (\d+)/.exec(line)?.[1]), 0);
}

describe('with clients that ask for it', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start();
    markCongestion(world);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test.each([...FAMILIES])('marks on the way down cut the window over $name', async (family) => {
    const cutsBefore = await world.gateway.metric('culvert_tcp_ecn_window_cuts_total');
    const repliesBefore = counted(world, 'cwr-input');
    const result = await transferBetween(world.client, world.server, family.server, DOWN);
    expect(result).toMatchObject(intact(DOWN));
    expect(counted(world, 'ce-input')).toBeGreaterThan(0);
    const cuts = (await world.gateway.metric('culvert_tcp_ecn_window_cuts_total')) - cutsBefore;
    expect(cuts).toBeGreaterThan(0);
    // The kernel is told of each cut, or it would say ECE for ever (RFC 3168 §6.1.2).
    expect(counted(world, 'cwr-input') - repliesBefore).toBeGreaterThan(0);
  });

  test.each([...FAMILIES])('marks on the way up reach the kernel over $name', async (family) => {
    const markedBefore = await world.gateway.metric('culvert_tcp_ecn_marked_total');
    const repliesBefore = counted(world, 'cwr-output');
    const result = await transferBetween(world.client, world.server, family.server, UP);
    expect(result).toMatchObject(intact(UP));
    const marked = (await world.gateway.metric('culvert_tcp_ecn_marked_total')) - markedBefore;
    expect(marked).toBeGreaterThan(10);
    expect(counted(world, 'cwr-output') - repliesBefore).toBeGreaterThan(0);
  });
});

test('a gateway that does not want it takes such clients without it', async () => {
  await using world = await World.start({ config: { tcp: { ecn: false } } });
  markCongestion(world);
  for (const family of FAMILIES) {
    const both = { up: BYTES, down: BYTES };
    const result = await transferBetween(world.client, world.server, family.server, both);
    expect(result).toMatchObject(intact(both));
  }
  expect(counted(world, 'ce-input') + counted(world, 'ce-output')).toBe(0);
  expect(await world.gateway.metric('culvert_tcp_ecn_window_cuts_total')).toBe(0);
});
