/**
 * A hundred scripts one after the other, each tried as a canary first, under a thousand flows that
 * move bytes all the time: forwarded, claimed and spliced, and echoed by the script itself.
 *
 *   client                     gw                          server
 *     1,000 ── culvert0 ── [ data plane ] ──── up0 ═══ dn0 ── echo
 *                               │
 *                          [ script host ] ◄── PUT ?canary=50, POST /v1/trial/promote
 *
 * All services are echoes, so each byte of the pattern has gone up and come down where it is
 * compared, by its position.
 */
import { expect, test } from 'bun:test';
import type { HeldReport } from '../support/held-flows.ts';
import { FAMILIES } from '../support/netns.ts';
import { type Usage, usageOf } from '../support/process-usage.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const FORWARD_PORT = 7100;
const SPLICE_PORT = 7200;
/** Nobody listens there: the script itself answers. */
const ECHO_PORT = 7300;

/** Flows of each kind in each family: a thousand in all. */
const LIVE: readonly (readonly [port: number, flows: number])[] = [
  [FORWARD_PORT, 250],
  [SPLICE_PORT, 150],
  [ECHO_PORT, 100],
];
const ECHO_FLOWS = 200;
/** Some 2,500 blocks a second in all: a load, and time left for reloads on two processors. */
const LIVE_INTERVAL_MS = 400;
const RELOADS = 100;
/** How long a canary is tried that takes over by itself. */
const CANARY_FOR_MS = 200;

const TEST_TIMEOUT_MS = 900_000;

const PROCESSES = ['supervisor', 'dataPlane', 'scriptHost'] as const;
/**
 * What a process may have taken meanwhile, in MiB: code that was compiled, and garbage that is as
 * large as what lives before the collector looks for it. In a script host, the 16 MiB that each
 * sandbox can use count as living. None of it grows with the number of reloads: four hundred of
 * them end where a hundred and fifty do, and a sandbox that is kept would be seen by its addresses.
 */
const GROWTH_MIB_MAX = { supervisor: 80, dataPlane: 80, scriptHost: 200 } as const;
/** Descriptors beyond those of the start: connections to the API that the test itself keeps. */
const FDS_MORE = [2, 0, 0];
/** Of those that were replaced, so many may wait for the collector. */
const SANDBOXES_MAX = 10;

/** The same behaviour, another source: each is a generation of its own. */
const numbered = (n: number): string => `
import { claim, connect, forward } from "culvert";

export const number = ${n};

const echo = async (conn) => {
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    await conn.write(bytes);
  }
  await conn.closeWrite();
};

export default {
  flow(flow) { return flow.dst.port === ${FORWARD_PORT} ? forward() : claim(); },
  async connect(conn) {
    if (conn.flow.dst.port === ${ECHO_PORT}) return echo(conn);
    await conn.splice(connect(conn.flow.dst.toString()));
  },
};
`;

const hold = (world: World, host: string, port: number, flows: number, intervalMs: number) =>
  world.client.call('hold', { host, port, flows, blockBytes: 3001, intervalMs });

/** Opens flows to each service in each family. */
async function holdAll(world: World): Promise<number[]> {
  const ids: number[] = [];
  for (const { server: host } of FAMILIES) {
    for (const [port, flows] of LIVE)
      ids.push(await hold(world, host, port, flows, LIVE_INTERVAL_MS));
  }
  return ids;
}

const stopAll = (world: World, ids: readonly number[]): Promise<HeldReport[]> =>
  Promise.all(ids.map((id) => world.client.call('holdStop', { id })));

function expectAllWhole(reports: readonly HeldReport[]): void {
  for (const report of reports) {
    expectWhole(report, report.flows);
    expect(report.fewestRounds).toBeGreaterThan(0);
  }
}

/** Tries a script on half of the new flows, and has it take over: when told to, or by itself. */
async function replaceScript(world: World, n: number): Promise<void> {
  const { gateway } = world;
  const isTold = n % 2 === 0;
  const query = `canary=50&canary_for=${isTold ? 0 : CANARY_FOR_MS}ms`;
  const changed = await gateway.json(`/v1/scripts/all?${query}`, {
    method: 'PUT',
    body: numbered(n),
    headers: { 'If-Match': '*', 'Content-Type': 'application/typescript' },
  });
  expect(changed).toMatchObject({ trial: 'canary' });
  const ids = [];
  for (const [i, { server: host }] of FAMILIES.entries()) {
    for (const [port] of LIVE) ids.push(await hold(world, host, port, 2 + i, 1));
  }
  expectAllWhole(await stopAll(world, ids));
  const whatever = { method: 'POST', headers: { 'If-Match': '*' } };
  if (isTold) await gateway.json('/v1/trial/promote', whatever);
  else {
    await waitFor('the canary to take over', async () => {
      return (await gateway.api('/v1/trial')).status === 404;
    });
  }
}

/** What the processes of the gateway hold. */
function usages(world: World): Record<(typeof PROCESSES)[number], Usage> {
  const { gateway } = world;
  const [dataPlane = 0] = gateway.children('__data-plane');
  const [scriptHost = 0, ...others] = gateway.children('__script-host');
  expect(others).toEqual([]);
  return {
    supervisor: usageOf(gateway.pid),
    dataPlane: usageOf(dataPlane),
    scriptHost: usageOf(scriptHost),
  };
}

test(
  `${RELOADS} canaries under 1,000 live flows: none cut, no byte wrong, nothing left behind`,
  async () => {
    await using world = await World.start({
      scripts: { all: numbered(0) },
      // A machine that has other things to do is not what is tested.
      config: { scripts: { limits: { connCpuMs: 60_000 } } },
    });
    const { gateway, server } = world;
    await server.call('echo', { port: FORWARD_PORT });
    await server.call('echo', { port: SPLICE_PORT });
    const generations = () => gateway.metric('culvert_script_generations');
    const base = usages(world);
    const ids = await holdAll(world);
    for (let n = 1; n <= RELOADS; n++) await replaceScript(world, n);
    // The first generation, with which the echoes stay, and the last one.
    expect(await generations()).toBe(2);
    expect(await gateway.metric('culvert_claims_active')).toBe(ECHO_FLOWS);
    expect(await gateway.metric('culvert_script_trials_total{result="promoted"}')).toBe(RELOADS);

    const reports = await stopAll(world, ids);
    expectAllWhole(reports);
    expect(reports.reduce((sum, { opened }) => sum + opened, 0)).toBe(1000);
    await waitFor('the drain', async () => (await generations()) === 1);
    const after = await waitFor('the files to be closed', () => {
      const now = usages(world);
      const more = PROCESSES.map((name) => now[name].fds - base[name].fds);
      return more.every((fds, i) => fds <= (FDS_MORE[i] ?? 0)) && now;
    });
    for (const name of PROCESSES) {
      const grown = (after[name].anonymousKib - base[name].anonymousKib) / 1024;
      console.log(`${name}: ${grown.toFixed(1)} MiB more than at the start`);
      expect(grown).toBeLessThan(GROWTH_MIB_MAX[name]);
    }
    expect(after.scriptHost.sandboxes - base.scriptHost.sandboxes).toBeLessThan(SANDBOXES_MAX);
    const decided = new Set(
      gateway.logs.filter(({ event }) => event === 'flow').map((line) => line['script_version']),
    );
    expect(decided.size).toBe(RELOADS + 1);
  },
  TEST_TIMEOUT_MS,
);
