/**
 * The host of the gateway routes into it what it hears from the client, and nothing else: the
 * gateway has made the routes itself, and takes them back.
 *
 *   client            gw                                                server
 *     agent ── c0 ═══ g0 ──rules 7100…, table 7100──► culvert0
 *                                                      [ culvert run ]
 *                     up0 ◄──mark 0x1bbc, main table──────┘  ═══ dn0 ── agent
 */
import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { Gateway } from '../support/gateway.ts';
import { FAMILIES, IPV4, type Topology } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { DEVICE, World } from '../support/world.ts';

const device = { addresses: ['10.88.0.1/24', 'fd88::1/64'] };
const TRANSFER = { up: 1_000_000, down: 1_000_000 };
const config = { device, routes: { auto: true } };

/** Priorities of the rules that are not the kernel's own, of both families. */
function rules(topology: Topology): number[] {
  return [4, 6].flatMap((family) => {
    const text = topology.ip(topology.gw, `-j -${family} rule show`);
    const list = JSON.parse(text) as { priority: number }[];
    return list.map(({ priority }) => priority).filter((one) => one > 0 && one < 32_766);
  });
}

function changeConfig(gateway: Gateway, change: (config: Record<string, unknown>) => void): void {
  const file = join(gateway.folder, 'config.yaml');
  const parsed = parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  change(parsed);
  writeFileSync(file, stringify(parsed));
}

describe('with routes.auto', () => {
  test('everything goes through the gateway, whose own dials do not', async () => {
    await using world = await World.startRouted({ config });
    const { topology, client, server, gateway } = world;
    const RULES = [7100, 7101, 7102, 7100, 7101, 7102];
    expect(rules(topology)).toEqual(RULES);
    const flows = await gateway.metric('culvert_flows_total');
    for (const { server: host } of FAMILIES) {
      expect(await transferBetween(client, server, host, TRANSFER)).toMatchObject(intact(TRANSFER));
    }
    expect(await gateway.metric('culvert_flows_total')).toBeGreaterThanOrEqual(flows + 2);
    await gateway.waitForLog('the commands', ({ msg, commands }) => {
      return msg === 'routes-applied' && Array.isArray(commands) && commands.length === 8;
    });
    expect(await gateway.stop()).toBe(0);
    expect(rules(topology)).toEqual([]);
    expect(existsSync(join(gateway.folder, `routes-${DEVICE}.json`))).toBe(false);
  });

  test('a killed gateway leaves rules that harm nobody, and `undo` takes them', async () => {
    await using world = await World.startRouted({ config });
    const { topology, gateway } = world;
    process.kill(gateway.pid, 'SIGKILL');
    await gateway.exited;
    expect(rules(topology)).toHaveLength(6);
    // The data plane follows its supervisor a moment later, and the device goes with it.
    await waitFor('the way past the gateway', () => {
      return topology.ip(topology.gw, `route get ${IPV4.server}`).includes('dev up0');
    });
    const undone = await cli(gateway, 'route', 'undo');
    expect(undone).toMatchObject({ code: 0, stderr: '' });
    expect(undone.stdout.split('\n').filter(Boolean)).toHaveLength(8);
    expect(rules(topology)).toEqual([]);
    expect((await cli(gateway, 'route', 'undo')).stdout).toContain('nothing to do');
  });

  test('a reload makes and takes them', async () => {
    await using world = await World.startRouted({ config: { device } });
    const { topology, gateway } = world;
    const reload = async (routes: unknown, count: number) => {
      changeConfig(gateway, (parsed) => {
        parsed['routes'] = routes;
      });
      gateway.signal('SIGHUP');
      await waitFor('the rules', () => rules(topology).length === count);
    };
    await reload({ auto: true }, 6);
    await reload({ auto: true, include: ['203.0.113.0/24'] }, 1);
    await reload({ auto: false }, 0);
    expect(await gateway.stop()).toBe(0);
  });

  test('they are there again when the device is back, and reloads go on after a swap', async () => {
    await using world = await World.startRouted({ config });
    const { topology, client, server, gateway } = world;
    const table = () =>
      [4, 6].map((family) => topology.ip(topology.gw, `-${family} route show table 7100`)).join();
    const restored = () => waitFor('the routes', () => table().match(/default/g)?.length === 2);
    await restored();
    const swap = await gateway.api('/v1/device/swap', {
      method: 'POST',
      body: '{}',
      headers: { 'Content-Type': 'application/json', 'If-Match': '*' },
    });
    expect(swap.ok).toBe(true);
    expect(await gateway.cli('reload')).toMatchObject({ code: 0 });
    topology.ip(topology.gw, `link set ${DEVICE} down`);
    topology.ip(topology.gw, `link set ${DEVICE} up`);
    await restored();
    topology.ip(topology.gw, `link del ${DEVICE}`);
    await gateway.waitForLog('the device', ({ msg }) => msg === 'device-recreated');
    await restored();
    const transfer = transferBetween(client, server, IPV4.server, TRANSFER);
    expect(await transfer).toMatchObject(intact(TRANSFER));
    expect(await gateway.stop()).toBe(0);
    expect(rules(topology)).toEqual([]);
  });
});

test('plan prints what apply does, and undo takes back only that', async () => {
  const routes = { include: ['198.18.0.0/15', '2001:db8::/32'], exclude: ['198.18.7.0/24'] };
  await using world = await World.startRouted({ config: { device, routes } });
  const { topology, client, server, gateway } = world;
  topology.ip(topology.gw, 'rule add fwmark 0x99 lookup 99 priority 7150');
  topology.ip(topology.gw, 'rule add from 192.0.2.0/24 lookup 7100 priority 7151');
  const planned = await cli(gateway, 'route', 'plan', '--json');
  const plan = JSON.parse(planned.stdout) as { steps: { command: string; present: boolean }[] };
  expect(plan).toMatchObject({ device: DEVICE, table: 7100, mark: 0x1bbc });
  expect(plan.steps.map(({ present }) => present)).toEqual([false, false, false, false, false]);
  const foreign = 'ip -4 rule add from 192.0.2.0/24 lookup 7100 priority 7151';
  expect(plan).toMatchObject({ foreign: [foreign] });
  const text = (await cli(gateway, 'route', 'plan')).stdout;
  expect(text).toContain(`\n# of others, left alone: ${foreign}\n`);
  expect((await cli(gateway, 'route', 'apply', '--dry-run')).code).toBe(0);
  expect(rules(topology)).toEqual([7150, 7151]);
  const applied = await cli(gateway, 'route', 'apply', '--json');
  expect(JSON.parse(applied.stdout)).toMatchObject({
    commands: plan.steps.map(({ command }) => command),
  });
  expect(rules(topology)).toEqual([7102, 7150, 7151, 7102]);
  for (const { server: host } of FAMILIES) {
    expect(await transferBetween(client, server, host, TRANSFER)).toMatchObject(intact(TRANSFER));
  }
  expect((await cli(gateway, 'route', 'apply')).stdout).toContain('nothing to do, 5 are there');
  expect((await cli(gateway, 'route', 'undo')).code).toBe(0);
  expect(rules(topology)).toEqual([7150, 7151]);
});

test('a dial that would come back is told before a flow finds out, and while it runs', async () => {
  const listeners = [{ name: 'web', action: 'forward' as const, to: IPV4.server }];
  const looping = { ...device, routes: ['198.18.0.0/15'] };
  await using world = await World.startRouted({ config: { device: looping, listeners } });
  const line = await world.gateway.waitForLog('loop', ({ msg }) => msg === 'route-loop');
  expect(line['why']).toContain(`listener "web": ${IPV4.server} would come back into ${DEVICE}`);
  const { stderr } = await cli(world.gateway, 'route', 'plan');
  expect(stderr).toContain('warning: listener "web"');
});

/** `culvert route` with the config and the folder of the gateway. */
const cli = (gateway: Gateway, ...args: string[]) =>
  gateway.cli(...args, '-c', join(gateway.folder, 'config.yaml'), '-D', gateway.folder);
