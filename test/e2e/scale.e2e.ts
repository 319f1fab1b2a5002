/** Many flows at once. Scripts that change under them are in reloads.e2e.ts. */
import { describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const PARALLEL_FLOWS = 2000;

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  test(`${PARALLEL_FLOWS} flows at once echo every byte`, async () => {
    await using world = await World.start({ config: { limits: { heldSyns: 4096 } } });
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: PARALLEL_FLOWS, blockBytes: 4096, intervalMs: 500 };
    const id = await world.client.call('hold', load);
    expect(await world.client.call('holdLive', { id })).toBe(PARALLEL_FLOWS);
    expect(await world.gateway.metric('culvert_flows_active')).toBe(PARALLEL_FLOWS);
    const report = await world.client.call('holdStop', { id });
    expectWhole(report, PARALLEL_FLOWS);
    expect(report.fewestRounds).toBeGreaterThan(0);
  });
});
