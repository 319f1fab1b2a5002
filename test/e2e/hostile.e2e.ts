/**
 * Scripts that misbehave fail their own flows and nobody else's: flows that live lose nothing,
 * static listeners go on, and the script beside them decides again as soon as there is a host.
 * What all that does to latency, `npm run bench:scripts -- -t hostile` measures.
 *
 *   client                       gw                            server
 *     live flows ─── culvert0 ── [ data plane ] ── up0 ═══ dn0 ── echo
 *     victims    ───                │
 *                                [ script host ]  ◄─ hangs, swallows memory, never answers, or
 *                                                    has been taken over and shuts its sockets
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { queueFds } from '../../src/gateway/messages/script-control.ts';
import { Shut, shutForeignSockets } from '../support/foreign-socket.ts';
import { HOSTILE_SCRIPTS, hostileScript } from '../support/hostile-scripts.ts';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

/** The hostile script decides about this port by misbehaving, and about no other. */
const BAIT_PORT = 666;
const LISTENER_PORT = 6200;
const FORWARD_PORT = 6250;

const SPLICE_PORT = 6300;
/** Of each kind and family. */
const FLOWS = 10;
/** Time to a refusal: far above what is measured. */
const FAIL_CLOSED_BOUND_MS = 6000;
const CLAIMS = 'culvert_claims_active';

/** Comes after the hostile script, and shares its host. */
const GOOD = `
import { claim, connect, forward } from "culvert";
export default {
  flow(flow) { return flow.dst.port === ${SPLICE_PORT} ? claim() : forward(); },
  async connect(conn) { await conn.splice(connect(conn.flow.dst.toString())); },
};
`;
const HARMLESS = hostileScript('return decline();', BAIT_PORT);

let world: World;
beforeAll(async () => {
  world = await World.start({
    config: {
      listeners: [{ name: 'static', ports: LISTENER_PORT, action: 'forward' }],
      // No script is set aside here, whatever it does: each case must fail by itself.
      scripts: { limits: { breakerHits: 1000 } },
    },
    scripts: { hostile: HARMLESS, good: GOOD },
  });
  for (const port of [BAIT_PORT, LISTENER_PORT, FORWARD_PORT, SPLICE_PORT]) {
    await world.server.call('echo', { port });
  }
});
afterAll(() => world?.[Symbol.asyncDispose]());

/** Flows that live: of the listener, of the script beside the hostile one, and past all scripts. */
async function holdOthers(): Promise<number[]> {
  const ids: number[] = [];
  for (const { server: host } of FAMILIES) {
    for (const port of [LISTENER_PORT, FORWARD_PORT, SPLICE_PORT]) {
      const load = { host, port, flows: FLOWS, blockBytes: 512, intervalMs: 5 };
      ids.push(await world.client.call('hold', load));
    }
  }
  await waitFor('the splices', async () => (await world.gateway.metric(CLAIMS)) === 0);
  return ids;
}

/** Opens a flow to a port in each family, `count` times at once. */
const connects = (port: number, count: number, timeoutMs: number) =>
  Promise.all(
    FAMILIES.flatMap(({ server: host }) =>
      Array.from({ length: count }, () => world.client.call('connect', { host, port, timeoutMs })),
    ),
  );

test.each(Object.entries(HOSTILE_SCRIPTS))(
  '%s: its flows fail closed, and nobody else notices',
  async (name, body) => {
    const { client, gateway } = world;
    // The lines of the case before say nothing about this one.
    gateway.logs.length = 0;
    const ids = await holdOthers();
    expect((await gateway.putScript('hostile', hostileScript(body, BAIT_PORT))).ok).toBe(true);

    const attack = connects(BAIT_PORT, 5, FAIL_CLOSED_BOUND_MS);
    const beside = connects(FORWARD_PORT, 5, FAIL_CLOSED_BOUND_MS);
    for (const probe of await connects(LISTENER_PORT, 5, FAIL_CLOSED_BOUND_MS)) {
      expect(probe).toMatchObject({ open: true });
    }
    const victims = await attack;
    for (const victim of victims)
      expect(victim).toMatchObject({ open: false, code: 'ECONNREFUSED' });
    // Who waits for a host that is killed is refused with it; nobody is left without an answer.
    const answers = new Set((await beside).map(({ open, code }) => (open ? 'open' : code)));
    expect(['open', 'ECONNREFUSED']).toEqual(expect.arrayContaining([...answers]));

    expect((await gateway.putScript('hostile', HARMLESS)).ok).toBe(true);
    for (const port of [BAIT_PORT, FORWARD_PORT, SPLICE_PORT]) {
      await waitFor('the scripts that behave to decide', async () => {
        const probes = await connects(port, 1, 1000);
        return probes.every(({ open }) => open);
      });
    }
    // A machine that was busy with the attack may not have let each of them have a turn.
    await Bun.sleep(500);
    const reports = [];
    for (const id of ids) reports.push(await client.call('holdStop', { id }));
    const slowest = Math.max(...victims.map(({ ms }) => ms)).toFixed(0);
    const p99 = Math.max(...reports.map(({ p99Ms }) => p99Ms)).toFixed(1);
    console.log(`${name}: refused after ${slowest} ms, p99 of live flows ${p99} ms`);
    for (const report of reports) {
      expectWhole(report, FLOWS);
      expect(report.fewestRounds).toBeGreaterThan(0);
    }
    await gateway.flowLog(FAMILIES[0]?.server ?? '', BAIT_PORT, 'script-failed');
  },
);

test.each([
  ['decisions', 'WRITE', FORWARD_PORT],
  ['decisions', 'READ', FORWARD_PORT],
  ['conns', 'WRITE', SPLICE_PORT],
  ['conns', 'READ', SPLICE_PORT],
] as const)(
  'a host that shuts %s for %s is replaced, and scripts decide',
  async (socket, half, port) => {
    const { client, gateway } = world;
    gateway.logs.length = 0;
    const restarts = () => gateway.metric('culvert_script_restarts_total{script="",kind="socket"}');
    const before = await restarts();
    const ids = await holdOthers();
    const [pid = 0] = gateway.children('__script-host');
    const fds = gateway.children('__data-plane').map((_, queue) => queueFds(queue)[socket]);
    shutForeignSockets(pid, fds, Shut[half]);
    // What cannot be told to a host shows when there is something to tell.
    await waitFor('the host to be ended', async () => {
      await connects(port, 1, 1000);
      return (await restarts()) > before;
    });
    await waitFor('the scripts to decide', async () => {
      const probes = await connects(FORWARD_PORT, 1, 1000);
      return probes.every(({ open }) => open);
    });
    await gateway.waitForLog('the socket', ({ msg }) => msg === 'script-socket-shut');
    await gateway.waitForLog('the host', ({ msg }) => msg === 'script-host-killed');
    ids.push(...(await holdOthers()));
    expect(await restarts()).toBe(before + 1);
    for (const id of ids) expectWhole(await client.call('holdStop', { id }), FLOWS);
  },
);

test('a script that keeps breaking its limits is set aside, and the metrics say so', async () => {
  await using other = await World.start({
    scripts: { all: hostileScript('for (;;);', BAIT_PORT) },
    config: { scripts: { limits: { breakerHits: 3 } } },
  });
  const host = FAMILIES[0]?.server ?? '';
  // While the host comes back, a flow is refused without asking: that breaks no limit.
  await waitFor('the script to be disabled', async () => {
    const victim = await other.client.call('connect', { host, port: BAIT_PORT, timeoutMs: 6000 });
    expect(victim).toMatchObject({ open: false });
    return (await other.gateway.metric('culvert_script_disabled{script="all"}')) === 1;
  });
  // Set aside, it is not asked again: the answer comes at once.
  const refused = await other.client.call('connect', { host, port: BAIT_PORT, timeoutMs: 6000 });
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  expect(refused.ms).toBeLessThan(1000);
});
