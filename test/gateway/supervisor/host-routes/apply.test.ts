import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import {
  applyRoutes,
  compareRoutes,
  undoRoutes,
} from '../../../../src/gateway/supervisor/host-routes/apply.ts';
import { checkLoops } from '../../../../src/gateway/supervisor/host-routes/loop-check.ts';
import { ipCommand, planRoutes } from '../../../../src/gateway/supervisor/host-routes/plan.ts';
import { RouteRecord } from '../../../../src/gateway/supervisor/host-routes/record.ts';
import { ip, isRoot, NetworkNamespace } from '../../../ffi/support/namespace.ts';
import { scratchFolder } from '../../../support/scratch.ts';

const DEVICE = 'cvroute0';
const TABLE = '7100';
const NETWORK = '{include: [203.0.113.0/24]}';
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

  test('are written to the record when it changes, and not when nothing does', () => {
    apply(AUTO);
    const written = () => statSync(record.file, { bigint: true }).ctimeNs;
    const before = written();
    apply(AUTO);
    expect(written()).toBe(before);
    // What the kernel has lost is ours already.
    ip('route', 'flush', 'table', TABLE);
    expect(apply(AUTO).made.length).toBeGreaterThan(0);
    expect(written()).toBe(before);
    expect(record.read()).toHaveLength(10);
  });

  test('that cannot be made for want of the device leave the record as it was', () => {
    apply(AUTO);
    ip('link', 'del', DEVICE);
    expect(() => apply(AUTO)).toThrow(`netlink(RTM_GETLINK) on ${DEVICE}: ENODEV`);
    expect(record.read()).toHaveLength(10);
  });

  test('that fail and cannot be taken back stay in the record, which says why they failed', () => {
    const { steps } = planRoutes(configOf(NETWORK, 'egress: {interface: uplink}'), DEVICE);
    const words = ['uidrange', '1000-1001', 'protocol', 'static'];
    ip('rule', 'add', ...words, 'lookup', TABLE, 'priority', '7102');
    const [route, rule] = steps;
    // The kernel refuses the third step; the second then cannot be told from the rule of others.
    const refused = planOf('{include: [198.51.100.0/24], table: 7101}').at(0);
    ip('route', 'add', '198.51.100.0/24', 'dev', 'uplink', 'table', '7101');
    const failing = () => applyRoutes([route!, rule!, refused!], DEVICE, record);
    expect(failing).toThrow('netlink(RTM_NEWROUTE)');
    expect(record.read()).toEqual([rule!]);
  });

  test('are as before when one of them fails', () => {
    ip('-6', 'route', 'add', 'default', 'dev', 'uplink', 'table', TABLE);
    const before = kernelState();
    expect(() => apply(AUTO)).toThrow('netlink(RTM_NEWROUTE)');
    expect(kernelState()).toEqual(before);
    expect(existsSync(record.file)).toBe(false);
  });

  /** Of our priority and table, and not ours. */
  const FOREIGN = [
    'from 198.51.100.0/24',
    'to 198.51.100.0/24',
    'fwmark 0x1/0xff',
    'oif uplink',
    'uidrange 1000-1001',
    'ipproto 6 dport 80-90',
    'tos 0x10',
  ];
  const rules4 = () => ip('-4', 'rule', 'show');
  const foreignOf = (routes: string) => compareRoutes(planOf(routes), DEVICE, record).foreign;

  test.each(FOREIGN)('are not mistaken for a rule of others: %s', (words) => {
    ip('rule', 'add', ...words.split(' '), 'lookup', TABLE, 'priority', '7102');
    const before = kernelState();
    const [command = '', ...more] = foreignOf(NETWORK);
    expect(more).toEqual([]);
    expect(compareRoutes(planOf(NETWORK), DEVICE, record).made).toHaveLength(2);
    // What is printed is that rule: `ip` takes it away by it.
    ip(...command.replace(' add ', ' del ').split(' ').slice(1));
    expect(rules4()).not.toContain('7102:');
    ip(...command.split(' ').slice(1));
    expect(kernelState()).toEqual(before);
  });

  const BEFORE = ['oif uplink', 'uidrange 1000-1001', 'not fwmark 0x99'];
  test.each(BEFORE)('are known from a rule of others before them by who made it: %s', (text) => {
    const { steps } = planRoutes(configOf(NETWORK, 'egress: {interface: uplink}'), DEVICE);
    ip('rule', 'add', ...text.split(' '), 'lookup', TABLE, 'priority', '7102');
    const before = kernelState();
    applyRoutes(steps, DEVICE, record);
    undoRoutes(DEVICE, record);
    expect(kernelState()).toEqual(before);
  });

  test.each(BEFORE)('are left with one that the kernel would take in their place: %s', (text) => {
    const words = [...text.split(' '), 'protocol', 'static'];
    const { steps } = planRoutes(configOf(NETWORK, 'egress: {interface: uplink}'), DEVICE);
    ip('rule', 'add', ...words, 'lookup', TABLE, 'priority', '7102');
    const before = kernelState();
    applyRoutes(steps, DEVICE, record);
    expect(rules4().match(/^7102:/gm)).toHaveLength(2);
    const undo = () => undoRoutes(DEVICE, record);
    expect(undo).toThrow('netlink(RTM_DELRULE) on rule 7102: EEXIST (one of others stands');
    expect(rules4().match(/^7102:/gm)).toHaveLength(2);
    // All else was taken back, and the record has what was not.
    expect(record.read()).toHaveLength(1);
    ip('rule', 'del', ...words, 'lookup', TABLE, 'priority', '7102');
    ip('rule', 'add', ...words, 'lookup', TABLE, 'priority', '7102');
    undo();
    expect(kernelState()).toEqual(before);
    expect(record.read()).toEqual([]);
  });

  test('that the kernel takes for one of others say what to do', () => {
    const mark = ['fwmark', '7100', 'lookup', TABLE, 'priority', '7102', 'protocol', 'static'];
    ip('rule', 'add', 'not', 'from', '198.51.100.0/24', ...mark);
    const before = kernelState();
    expect(() => apply(NETWORK)).toThrow('a rule of others has this priority and table');
    expect(kernelState()).toEqual(before);
  });

  test('are not mistaken for routes of others to the same network', () => {
    ip('route', 'add', '203.0.113.0/24', 'dev', DEVICE, 'metric', '9', 'table', TABLE);
    expect(apply(NETWORK).made).toHaveLength(2);
    undoRoutes(DEVICE, record);
    expect(ip('route', 'show', 'table', TABLE)).toContain('metric 9');
  });

  test('are changed by one process at a time', async () => {
    await using holder = Bun.spawn(['flock', record.lockFile, 'sh', '-c', 'echo; exec cat'], {
      stdin: 'pipe',
      stdout: 'pipe',
    });
    await holder.stdout.getReader().read();
    expect(() => apply(NETWORK)).toThrow('another culvert is changing the routes');
    expect(record.read()).toEqual([]);
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
