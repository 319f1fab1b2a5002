import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { applyRoutes, compareRoutes, undoRoutes } from '../../../src/gateway/routes/apply.ts';
import { checkLoops } from '../../../src/gateway/routes/loop-check.ts';
import { ipCommand, planRoutes } from '../../../src/gateway/routes/plan.ts';
import { RouteRecord } from '../../../src/gateway/routes/record.ts';
import { ip, isRoot, NetworkNamespace } from '../../ffi/support/namespace.ts';
import { scratchFolder } from '../../support/scratch.ts';

const DEVICE = 'cvroute0';
const TABLE = '7100';
const AUTO = '{auto: true, exclude: [10.0.0.0/8, fd00::/8]}';
const configOf = (routes: string, more = '') =>
  parseConfig(`device: {name: ${DEVICE}}\nroutes: ${routes}\n${more}`, 'c');
const planOf = (routes: string) => planRoutes(configOf(routes), DEVICE).steps;

/** All that the tests look at, as ip(8) has it, in an order of its own. */
function kernelState(): unknown {
  const json = (...args: string[]): unknown[] => JSON.parse(ip('-j', ...args) || '[]');
  const sorted = (list: unknown[]) => list.map((item) => JSON.stringify(item)).sort();
  return [4, 6].map((family) => ({
    rules: sorted(json(`-${family}`, 'rule', 'show')),
    routes: sorted(json(`-${family}`, 'route', 'show', 'table', 'all')).filter((text) =>
      text.includes(`"table":"${TABLE}"`),
    ),
  }));
}

describe.skipIf(!isRoot)('routes and rules in the kernel', () => {
  let namespace: NetworkNamespace;
  let record: RouteRecord;
  beforeEach(() => {
    namespace = new NetworkNamespace();
    record = new RouteRecord(scratchFolder('routes'), DEVICE);
    for (const [name, peer] of [
      [DEVICE, 'peer0'],
      ['uplink', 'peer1'],
    ] as const) {
      ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peer);
      for (const end of [name, peer]) ip('link', 'set', end, 'up');
    }
    ip('addr', 'add', '192.0.2.1/24', 'dev', 'uplink');
    ip('route', 'add', 'default', 'via', '192.0.2.254');
  });
  afterEach(() => namespace[Symbol.dispose]());

  const apply = (routes: string) => applyRoutes(planOf(routes), DEVICE, record);
  const commandsOf = (routes: string, verb: 'add' | 'del') =>
    planOf(routes).map((step) => ipCommand(step, DEVICE, verb).split(' ').slice(1));

  test.each([
    AUTO,
    '{include: [203.0.113.0/24, 2001:db8::/32], exclude: [203.0.113.9]}',
    '{auto: true, interfaces: [uplink]}',
    '{include: [203.0.113.0/24], table: 7100, priority: 9}',
  ])('are the same as the printed commands make them: %s', (routes) => {
    const before = kernelState();
    apply(routes);
    const applied = kernelState();
    expect(applied).not.toEqual(before);
    undoRoutes(DEVICE, record);
    expect(kernelState()).toEqual(before);
    for (const command of commandsOf(routes, 'add')) ip(...command);
    expect(kernelState()).toEqual(applied);
    // What somebody else has made is found, and left when ours is taken back.
    expect(apply(routes)).toMatchObject({ made: [], kept: { length: planOf(routes).length } });
    expect(undoRoutes(DEVICE, record)).toEqual([]);
    expect(kernelState()).toEqual(applied);
    for (const command of commandsOf(routes, 'del').reverse()) ip(...command);
    expect(kernelState()).toEqual(before);
  });

  test('are not made twice', () => {
    expect(apply(AUTO).made).toHaveLength(10);
    const once = kernelState();
    expect(apply(AUTO)).toMatchObject({ made: [], removed: [], kept: { length: 10 } });
    expect(kernelState()).toEqual(once);
    expect(undoRoutes(DEVICE, record)).toHaveLength(10);
    expect(existsSync(record.file)).toBe(false);
    expect(undoRoutes(DEVICE, record)).toEqual([]);
  });

  test('follow another config, and forget what it does not want', () => {
    apply(AUTO);
    const other = '{include: [203.0.113.0/24], table: 7100}';
    expect(apply(other)).toMatchObject({ made: { length: 1 }, removed: { length: 9 } });
    const followed = kernelState();
    undoRoutes(DEVICE, record);
    apply(other);
    expect(kernelState()).toEqual(followed);
  });

  test('are as before when one of them fails', () => {
    ip('-6', 'route', 'add', 'default', 'dev', 'uplink', 'table', TABLE);
    const before = kernelState();
    expect(() => apply(AUTO)).toThrow('netlink(RTM_NEWROUTE)');
    expect(kernelState()).toEqual(before);
    expect(existsSync(record.file)).toBe(false);
  });

  test('outlive a device that is gone, and are found and taken back then', () => {
    const before = kernelState();
    apply(AUTO);
    ip('link', 'del', DEVICE);
    expect(compareRoutes([], DEVICE, record).removed).toHaveLength(10);
    undoRoutes(DEVICE, record);
    expect(kernelState()).toEqual(before);
  });

  test('need the device, and leave nothing without it', () => {
    ip('link', 'del', DEVICE);
    const before = kernelState();
    expect(() => apply(AUTO)).toThrow(`netlink(RTM_GETLINK) on ${DEVICE}: ENODEV`);
    expect(kernelState()).toEqual(before);
  });

  test('that a process planned before it died are no harm', () => {
    const before = kernelState();
    record.write(planOf(AUTO));
    undoRoutes(DEVICE, record);
    expect(kernelState()).toEqual(before);
    expect(existsSync(record.file)).toBe(false);
  });

  test('lead packets as they say: marked ones around the device, all others into it', () => {
    apply('{auto: true, exclude: [198.51.100.0/24]}');
    const leaves = (...args: string[]) =>
      (JSON.parse(ip('-j', 'route', 'get', ...args)) as { dev: string }[])[0]?.dev;
    expect(leaves('8.8.8.8')).toBe(DEVICE);
    expect(leaves('8.8.8.8', 'mark', '7100')).toBe('uplink');
    expect(leaves('8.8.8.8', 'oif', 'uplink')).toBe('uplink');
    expect(leaves('198.51.100.7')).toBe('uplink');
    // The host knows its own network better than "everything".
    expect(leaves('192.0.2.77')).toBe('uplink');
  });

  describe('the loop detector', () => {
    const LISTENER = 'listeners: [{name: web, action: forward, to: 203.0.113.5}]';
    const about = (config: ReturnType<typeof configOf>) =>
      checkLoops(config, DEVICE).map(({ message }) => message);
    /** What resolv.conf of this machine says is not of this test. */
    const loops = (config: ReturnType<typeof configOf>) =>
      about(config).filter((message) => !message.startsWith('name server'));

    test('finds a target that the main table leads into the device, with the way out', () => {
      ip('route', 'add', '203.0.113.0/24', 'dev', DEVICE);
      const [message, ...more] = loops(configOf('{}', LISTENER));
      expect(message).toBe(
        `listener "web": 203.0.113.5 would come back into ${DEVICE} ` +
          '(set egress.fwmark or egress.interface)',
      );
      expect(more).toEqual([]);
    });

    test('is content with a mark that leads around it, and not with one that does not', () => {
      ip('route', 'add', '203.0.113.0/24', 'dev', DEVICE);
      const config = configOf('{}', `${LISTENER}\negress: {fwmark: 0x22}`);
      expect(loops(config)).toEqual([expect.stringContaining('the mark 0x22 around it')]);
      ip('route', 'add', '203.0.113.0/24', 'dev', 'uplink', 'table', '9');
      ip('rule', 'add', 'fwmark', '0x22', 'lookup', '9');
      expect(loops(config)).toEqual([]);
    });

    test('finds an interface that is the device itself, or none', () => {
      ip('route', 'add', '203.0.113.0/24', 'dev', DEVICE);
      expect(loops(configOf('{}', `${LISTENER}\negress: {interface: ${DEVICE}}`))).toEqual([
        expect.stringContaining(`egress.interface ${DEVICE} does not lead around it`),
      ]);
      expect(loops(configOf('{}', `${LISTENER}\negress: {interface: nope0}`))).toEqual([
        'egress.interface: there is no interface "nope0"',
      ]);
    });

    test('says what a strict reverse path filter does to marked dials', () => {
      const before = readFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', 'utf8');
      apply('{auto: true}');
      Bun.spawnSync(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1']);
      expect(loops(configOf('{auto: true}'))).toEqual([expect.stringContaining('set it to 2')]);
      Bun.spawnSync(['sysctl', '-qw', `net.ipv4.conf.all.rp_filter=${before.trim()}`]);
    });
  });
});
