/**
 * Many flows at once, and a script that changes under them.
 *
 *   client                    gw                        server
 *     2,000 ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── echo
 *                               ▲
 *                               └── PUT /v1/scripts/all, again and again
 */
import { describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { World } from '../support/world.ts';

const PARALLEL_FLOWS = 2000;
const LIVE_FLOWS = 1000;
/** A hundred, each with a canary, are in reloads.e2e.ts. */
const RELOADS = 20;

/** The same verdict, another source: each is a generation of its own. */
const numbered = (n: number): string => `
import { forward } from "culvert";
export const number = ${n};
export default { flow() { return forward(); } };
`;

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  test(`${PARALLEL_FLOWS} flows at once echo every byte`, async () => {
    await using world = await World.start({ config: { limits: { heldSyns: 4096 } } });
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: PARALLEL_FLOWS, blockBytes: 4096, intervalMs: 500 };
    const id = await world.client.call('hold', load);
    expect(await world.client.call('holdLive', { id })).toBe(PARALLEL_FLOWS);
    expect(await world.gateway.metric('culvert_flows_active')).toBe(PARALLEL_FLOWS);
    const report = await world.client.call('holdStop', { id });
    expect(report).toMatchObject({ opened: PARALLEL_FLOWS, errors: {}, wrong: 0 });
    expect(report.fewestRounds).toBeGreaterThan(0);
  });

  test(`${RELOADS} reloads under ${LIVE_FLOWS} live flows: none cut, no byte wrong`, async () => {
    await using world = await World.start({ scripts: { all: numbered(0) } });
    const { client, server, gateway } = world;
    const port = await server.call('echo', { port: 0 });
    const load = { host, port, flows: LIVE_FLOWS, blockBytes: 3001, intervalMs: 200 };
    const id = await client.call('hold', load);
    for (let n = 1; n <= RELOADS; n++) {
      const response = await gateway.putScript('all', numbered(n));
      expect(response.ok).toBe(true);
      // A flow that begins between two reloads is decided by one of them.
      if (n % 10 === 0) {
        const probe = await client.call('connect', { host, port, timeoutMs: 5000 });
        expect(probe).toMatchObject({ open: true });
      }
    }
    expect(await client.call('holdLive', { id })).toBe(LIVE_FLOWS);
    const report = await client.call('holdStop', { id });
    expect(report).toMatchObject({ opened: LIVE_FLOWS, errors: {}, wrong: 0 });
    expect(report.fewestRounds).toBeGreaterThan(1);
    const first = await gateway.waitForLog(
      'a flow of the first generation',
      (line) => line['event'] === 'flow' && line['script_version'] === 1,
    );
    expect(first).toMatchObject({ close_reason: 'eof' });
    const last = (line: Readonly<Record<string, unknown>>) =>
      line['event'] === 'flow' && line['script_version'] === RELOADS + 1;
    await gateway.waitForLog('a flow of the last generation', last);
  });
});
