import { afterEach, beforeEach, describe, expect, spyOn, test } from 'bun:test';
import { Errno } from '../../../../src/ffi/errno.ts';
import { SystemError } from '../../../../src/ffi/errors.ts';
import { Netlink } from '../../../../src/ffi/netlink.ts';
import {
  ConfigError,
  type LoadedConfig,
  parseConfig,
} from '../../../../src/gateway/config/load.ts';
import { applyRoutes } from '../../../../src/gateway/supervisor/host-routes/apply.ts';
import { HostRoutes } from '../../../../src/gateway/supervisor/host-routes/host-routes.ts';
import { planRoutes } from '../../../../src/gateway/supervisor/host-routes/plan.ts';
import { RouteRecord } from '../../../../src/gateway/supervisor/host-routes/record.ts';
import { ip, isRoot, NetworkNamespace } from '../../../ffi/support/namespace.ts';
import { scratchFolder } from '../../../support/scratch.ts';
import { rememberingLog } from '../support.ts';

const DEVICE = 'cvhost0';
const loadedOf = (routes: string): LoadedConfig => ({
  config: parseConfig(`device: {name: ${DEVICE}}\nroutes: ${routes}`, 'c'),
  folder: '/',
});
const MANUAL = loadedOf('{include: [203.0.113.0/24]}');
const AUTO = loadedOf('{auto: true, include: [203.0.113.0/24]}');
const OTHER = loadedOf('{auto: true, include: [198.51.100.0/24]}');

test('a record that cannot be kept refuses the config, not the gateway', async () => {
  // Not a folder: no record can be read or written there.
  const record = new RouteRecord('/dev/null', 'none0');
  using routes = new HostRoutes(MANUAL, () => 'none0', record, rememberingLog().log);
  const refused = routes.follow(AUTO);
  expect(refused).rejects.toThrow(ConfigError);
  expect(refused).rejects.toThrow('routes: /dev/null/routes-none0.lock: ENOTDIR');
});

describe.skipIf(!isRoot)('the routes of a gateway', () => {
  let namespace: NetworkNamespace;
  let record: RouteRecord;
  let device: string;
  let lines: ReturnType<typeof rememberingLog>['lines'];

  beforeEach(() => {
    namespace = new NetworkNamespace();
    record = new RouteRecord(scratchFolder('routes'), DEVICE);
    device = DEVICE;
    makeLink();
  });
  afterEach(() => namespace[Symbol.dispose]());

  function makeLink(): void {
    ip('link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', 'peer0');
    for (const end of [DEVICE, 'peer0']) ip('link', 'set', end, 'up');
  }

  function routesOf(loaded: LoadedConfig): HostRoutes {
    const remembered = rememberingLog();
    lines = remembered.lines;
    return new HostRoutes(loaded, () => device, record, remembered.log);
  }

  const present = () =>
    ip('rule').includes('7102:') ? ip('route', 'show', 'table', '7100').trim() : 'no rule';
  const here = (name = DEVICE) => expect.stringContaining(`203.0.113.0/24 dev ${name}`);
  const logged = () => lines.map(({ msg }) => msg);

  test('come with the start, and go with the end', async () => {
    const routes = routesOf(AUTO);
    await routes.begin();
    expect(present()).toEqual(here());
    routes[Symbol.dispose]();
    expect(present()).toBe('no rule');
  });

  test('are those of a reload that was taken before the start was over', async () => {
    using routes = routesOf(AUTO);
    await routes.follow(OTHER);
    await routes.begin();
    expect(present()).toContain('198.51.100.0/24');
    expect(present()).not.toContain('203.0.113.0/24');
  });

  test.each(['down', 'deleted'])('are made again when the device is back: %s', async (how) => {
    using routes = routesOf(AUTO);
    await routes.begin();
    if (how === 'down') for (const to of ['down', 'up']) ip('link', 'set', DEVICE, to);
    else {
      ip('link', 'del', DEVICE);
      makeLink();
    }
    expect(present()).toBe('');
    await routes.restore();
    expect(present()).toEqual(here());
  });

  test('that cannot be made again yet are told of once', async () => {
    using routes = routesOf(AUTO);
    await routes.begin();
    ip('link', 'set', DEVICE, 'down');
    lines.length = 0;
    for (let i = 0; i < 2; i++) await routes.restore();
    expect(logged()).toEqual(['routes-not-restored']);
  });

  test.each([MANUAL, loadedOf('{}')])('are left to the hand without auto', async (loaded) => {
    using routes = routesOf(loaded);
    await routes.begin();
    await routes.restore();
    expect(present()).toBe('no rule');
  });

  test('of a config that is refused then are what they were', async () => {
    using routes = routesOf(AUTO);
    await routes.begin();
    const before = present();
    const takeBack = await routes.follow(OTHER);
    expect(present()).not.toBe(before);
    await takeBack();
    expect(present()).toBe(before);
    // The config that runs is that one again.
    for (const to of ['down', 'up']) ip('link', 'set', DEVICE, to);
    await routes.restore();
    expect(present()).toBe(before);
  });

  test('that were made by hand stay when auto comes and is refused', async () => {
    using routes = routesOf(MANUAL);
    await routes.begin();
    applyRoutes(planRoutes(MANUAL.config, DEVICE).steps, DEVICE, record);
    const before = present();
    const takeBack = await routes.follow(OTHER);
    expect(present()).toContain('198.51.100.0/24');
    await takeBack();
    expect(present()).toBe(before);
    expect(record.read()).toHaveLength(2);
  });

  test('that cannot be taken away are left with a warning, and the config is taken', async () => {
    const auto = loadedOf('{auto: true, include: [203.0.113.0/24], interfaces: [peer0]}');
    using routes = routesOf(auto);
    await routes.begin();
    const words = ['iif', 'peer0', 'uidrange', '1-2', 'protocol', 'static', 'priority', '7102'];
    ip('rule', 'del', 'iif', 'peer0', 'lookup', '7100', 'priority', '7102');
    ip('rule', 'add', ...words, 'lookup', '7100');
    ip('rule', 'add', 'iif', 'peer0', 'lookup', '7100', 'priority', '7102', 'protocol', 'static');
    lines.length = 0;
    await routes.follow(MANUAL);
    expect(logged()).toEqual(['route-not-removed', 'routes-undone']);
    expect(record.read()).toHaveLength(1);
  });

  test('wait for the lock without holding up the process', async () => {
    await using holder = Bun.spawn(['flock', record.lockFile, 'sh', '-c', 'echo; exec cat'], {
      stdin: 'pipe',
      stdout: 'pipe',
    });
    await holder.stdout.getReader().read();
    using routes = routesOf(AUTO);
    let turns = 0;
    const ticking = setInterval(() => turns++, 10);
    const refused = routes.begin();
    await expect(refused).rejects.toThrow('another culvert is changing the routes');
    clearInterval(ticking);
    expect(turns).toBeGreaterThan(10);
    const before = performance.now();
    routes[Symbol.dispose]();
    expect(performance.now() - before).toBeLessThan(500);
    expect(logged()).toContain('routes-left');
  });

  test('without a descriptor for a look are no reason to end, and that is told once', async () => {
    using routes = routesOf(MANUAL);
    const look = spyOn(Netlink.prototype, 'linkIndex').mockImplementation(() => {
      throw new SystemError(Errno.EMFILE, 'socket(AF_NETLINK)');
    });
    try {
      for (let i = 0; i < 2; i++) await routes.follow(MANUAL);
    } finally {
      look.mockRestore();
    }
    expect(logged()).toEqual(['route-loops-not-seen']);
  });
});
