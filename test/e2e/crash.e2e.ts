/**
 * Processes die, and nobody hangs: each is replaced, and what it held ends visibly.
 *
 *   client                    gw                              server
 *     agent ── culvert0 ── [ supervisor ]        up0 ═══ dn0 ── echo
 *                            ├─ data plane   ✗ kill -9
 *                            └─ script host  ✗ kill -9
 */
import { describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const CLOSED_OR_REFUSED = /^ECONNREFUSED$/;

/** The only process of a kind; waits for it. */
function onlyChild(world: World, kind: '__data-plane' | '__script-host'): Promise<number> {
  return waitFor(`one ${kind}`, () => {
    const pids = world.gateway.children(kind);
    return pids.length === 1 && pids[0];
  });
}

/** Connects until it works; what the attempts before answered. */
async function connectUntilOpen(world: World, host: string, port: number): Promise<string[]> {
  const codes: string[] = [];
  await waitFor('new flows to work', async () => {
    const { open, code } = await world.client.call('connect', { host, port, timeoutMs: 3000 });
    if (!open) codes.push(code);
    return open;
  });
  return codes;
}

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  test('kill -9 of the script host: live flows stay, new ones fail closed, then work', async () => {
    await using world = await World.start();
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 50, blockBytes: 1000, intervalMs: 10 };
    const id = await world.client.call('hold', load);
    for (let round = 0; round < 3; round++) {
      const pid = await onlyChild(world, '__script-host');
      process.kill(pid, 'SIGKILL');
      const codes = await connectUntilOpen(world, host, port);
      for (const code of codes) expect(code).toMatch(CLOSED_OR_REFUSED);
      expect(await onlyChild(world, '__script-host')).not.toBe(pid);
    }
    const report = await world.client.call('holdStop', { id });
    expectWhole(report, load.flows);
  });

  test('kill -9 of the data plane: clients see a reset, never a hang; new flows work', async () => {
    await using world = await World.start({ config: { device: { queues: 1 } } });
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 200, blockBytes: 1000, intervalMs: 50 };
    const id = await world.client.call('hold', load);
    const pid = await onlyChild(world, '__data-plane');
    const killedAt = performance.now();
    process.kill(pid, 'SIGKILL');
    const report = await world.client.call('holdEnded', { id });
    console.log(`all flows were reset ${(performance.now() - killedAt).toFixed(0)} ms after`);
    expect(report.errors).toEqual({ ECONNRESET: load.flows });
    expect(report.wrong).toBe(0);
    await connectUntilOpen(world, host, port);
    expect(await onlyChild(world, '__data-plane')).not.toBe(pid);
    await world.gateway.flowLog(host, port, 'restart');
  });

  test('SIGTERM: no new flow, the live one finishes, exit code 0', async () => {
    await using world = await World.start({ config: { drain: '10s' } });
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 10, blockBytes: 1000, intervalMs: 20 };
    const id = await world.client.call('hold', load);
    world.gateway.signal('SIGTERM');
    await waitFor('new flows to be refused', async () => {
      const probe = await world.client.call('connect', { host, port, timeoutMs: 1000 });
      return !probe.open;
    });
    expect(await world.client.call('holdLive', { id })).toBe(load.flows);
    const report = await world.client.call('holdStop', { id });
    expectWhole(report, load.flows);
    expect(await world.gateway.exited).toBe(0);
  });

  test('SIGTERM with a flow that does not end: it is reset at the deadline, exit 3', async () => {
    await using world = await World.start({ config: { drain: '1s' } });
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 3, blockBytes: 1000, intervalMs: 20 };
    const id = await world.client.call('hold', load);
    world.gateway.signal('SIGTERM');
    const report = await world.client.call('holdEnded', { id });
    expect(report.errors).toEqual({ ECONNRESET: load.flows });
    expect(await world.gateway.exited).toBe(3);
  });
});

test('SIGTERM soon after a datagram: nobody waits for it, and it is reported', async () => {
  const port = 7000;
  const listeners = [{ name: 'udp', protocol: 'udp', action: 'forward' }] as const;
  await using world = await World.start({ config: { drain: '1m', listeners: [...listeners] } });
  for (const { server: host, version } of FAMILIES) {
    await world.client.call('udpAsk', { host, port, family: version, timeoutMs: 300 });
  }
  const askedAt = performance.now();
  world.gateway.signal('SIGTERM');
  expect(await world.gateway.exited).toBe(0);
  expect(performance.now() - askedAt).toBeLessThan(10_000);
  for (const { server: host } of FAMILIES) await world.gateway.flowLog(host, port, 'drain');
});

test('a second signal ends it at once with exit code 2', async () => {
  await using world = await World.start({ config: { drain: '1m' } });
  const port = await world.server.call('echo', { port: 0 });
  const load = { host: FAMILIES[0]?.server ?? '', port, flows: 1, blockBytes: 10, intervalMs: 20 };
  await world.client.call('hold', load);
  world.gateway.signal('SIGINT');
  await waitFor('the drain', async () => !(await world.gateway.api('/readyz')).ok);
  world.gateway.signal('SIGINT');
  expect(await world.gateway.exited).toBe(2);
});

test('kill -9 of the supervisor takes its children along', async () => {
  await using world = await World.start({ config: { device: { queues: 1 } } });
  const children = [
    await onlyChild(world, '__data-plane'),
    await onlyChild(world, '__script-host'),
  ];
  process.kill(world.gateway.pid, 'SIGKILL');
  await waitFor('the children to end', async () => {
    const running = world.topology.pids(world.topology.gw);
    return children.every((pid) => !running.includes(pid));
  });
});
