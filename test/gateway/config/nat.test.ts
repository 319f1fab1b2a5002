import { describe, expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig, toStartConfig } from '../../../src/gateway/config/plane.ts';
import { stateLimits } from '../../../src/gateway/config/schema.ts';
import { DEFAULT_TIMEOUTS } from '../../../src/stack/conntrack/timeouts.ts';
import { stateBytes } from '../../../src/stack/layout.ts';

const live = (text: string) => toLiveConfig(parseConfig(text, 'c.yaml'), 1);
const POOL = 'nat: {addresses: [198.51.100.7]}\n';
const DUAL_POOL = 'nat: {addresses: [198.51.100.7, "fd00::7"]}\n';
const rules = (...list: string[]) => `listeners: [${list.join(', ')}]\n`;
const prefix = (parts: string) => rules(`{name: a, protocol: any, action: prefix, ${parts}}`);
const actionOf = (text: string) => live(text).listeners[0]?.action;

describe('a listener', () => {
  test('of the action nat masquerades, goes where the client wanted, and has no idle time', () => {
    expect(live(POOL + rules('{name: out, protocol: any, action: nat}')).listeners).toEqual([
      {
        name: 'out',
        protocol: 'any',
        destinations: [],
        ports: [],
        action: { kind: 'nat', masquerade: true },
      },
    ]);
  });

  test('of the action nat needs no pool where the source stays', () => {
    const rule = '{name: a, action: nat, masquerade: false, to: "10.0.0.5:8080", idle: 1h30m}';
    expect(actionOf(rules(rule))).toEqual({
      kind: 'nat',
      to: { ip: '10.0.0.5', port: 8080 },
      masquerade: false,
      idleTimeoutMs: 5_400_000,
    });
  });

  test.each([
    ['10.0.0.5', '0.0.0.0/0'],
    ['"fd00::5"', '::/0'],
  ])('that rewrites to %s leaves the other family to the rules behind it', (to, destination) => {
    const [rule] = live(DUAL_POOL + rules(`{name: a, action: nat, to: ${to}}`)).listeners;
    expect(rule?.destinations).toEqual([destination]);
    const [forward] = live(rules(`{name: a, action: forward, to: ${to}}`)).listeners;
    expect(forward?.destinations).toEqual([]);
  });

  test('of the action prefix has two prefixes, and is for all protocols', () => {
    const rule =
      '{name: site, protocol: any, action: prefix, inside: "fd01:203:405::/48", ' +
      'outside: "2001:db8:1::/48"}';
    expect(live(rules(rule)).listeners[0]).toEqual({
      name: 'site',
      protocol: 'any',
      destinations: [],
      ports: [],
      action: { kind: 'prefix', inside: 'fd01:203:405::/48', outside: '2001:db8:1::/48' },
    });
  });

  test('of UDP or ICMP is forwarded, with an idle time of its own, or refused by ICMP', () => {
    const { listeners } = live(
      rules(
        '{name: dns, protocol: udp, ports: 53, action: forward, to: 10.0.0.53, idle: 5s}',
        '{name: ping, protocol: icmp, action: forward}',
        '{name: no, protocol: icmp, action: reject}',
      ),
    );
    expect(listeners.map(({ protocol, action }) => [protocol, action])).toEqual([
      ['udp', { kind: 'forward', to: { ip: '10.0.0.53' }, idleTimeoutMs: 5000 }],
      ['icmp', { kind: 'forward' }],
      ['icmp', { kind: 'reject', with: 'icmp' }],
    ]);
  });
});

describe('what cannot be is refused with its place', () => {
  const cases: [name: string, text: string, message: string | RegExp][] = [
    [
      'masquerade without a pool',
      rules('{name: a, action: nat}'),
      /^c\.yaml:1:\d+: listeners\[0\]\.action: needs an address in nat\.addresses, or "masquerade/,
    ],
    [
      'fewer ports than queues',
      'device: {queues: 4}\nnat: {ports: 1024-1026}',
      'nat.ports: are fewer than device.queues',
    ],
    [
      'a pool without the family of a destination',
      POOL + rules('{name: a, action: nat, destination: [10.0.0.0/8, "fd00::/8"]}'),
      'listeners[0].action: needs an IPv6 address in nat.addresses',
    ],
    [
      'a pool without the family of the target',
      `nat: {addresses: ["fd00::7"]}\n${rules('{name: a, action: nat, to: 10.0.0.5}')}`,
      'listeners[0].action: needs an IPv4 address in nat.addresses',
    ],
    [
      'a target of another family',
      DUAL_POOL + rules('{name: a, action: nat, destination: 10.0.0.0/8, to: "fd00::5"}'),
      'listeners[0].to: is IPv6 and a destination is not: NAT does not change the family',
    ],
    [
      'masquerade of a forward',
      rules('{name: a, action: forward, masquerade: true}'),
      'listeners[0].masquerade: is for the action "nat" only',
    ],
    [
      'idle time of a refusal',
      rules('{name: a, action: reject, idle: 5s}'),
      'listeners[0].idle: is for the actions "forward" and "nat" only',
    ],
    [
      'ports of pings',
      rules('{name: a, protocol: icmp, action: drop, ports: 7}'),
      'listeners[0].ports: ICMP has no ports',
    ],
    [
      'a port to send pings to',
      rules('{name: a, protocol: icmp, action: forward, to: "10.0.0.1:7"}'),
      'listeners[0].to: ICMP has no ports',
    ],
    [
      'a pool of the device itself',
      'device: {addresses: [10.0.0.1/24]}\nnat: {addresses: [10.0.0.7, 10.0.0.1]}\n',
      /^c\.yaml:2:\d+: nat\.addresses\[1\]: is an address of the device/,
    ],
    ['a prefix without its other side', prefix('inside: "fd01::/48"'), 'outside: is missing'],
    ['a prefix of IPv4', prefix('inside: 10.0.0.0/8, outside: "fd02::/48"'), 'an IPv6 prefix'],
    ['a long prefix', prefix('inside: "fd01::/65", outside: "fd02::/48"'), 'at most 64 bits'],
    [
      'prefixes that overlap',
      prefix('inside: "fd01::/32", outside: "fd01:0:7::/48"'),
      'overlaps with `inside`',
    ],
    [
      'a prefix rule with ports',
      prefix('inside: "fd01::/48", outside: "fd02::/48", ports: 80'),
      'listeners[0].ports: is not for the action "prefix"',
    ],
    [
      'a prefix rule of one protocol',
      rules('{name: a, action: prefix, inside: "fd01::/48", outside: "fd02::/48"}'),
      'listeners[0].protocol: must be "any"',
    ],
    [
      'a prefix of another action',
      rules('{name: a, action: forward, inside: "fd01::/48"}'),
      'listeners[0].inside: is for the action "prefix" only',
    ],
    ['a pool with one address twice', 'nat: {addresses: ["fd00::7", "FD00:0::7"]}\n', 'twice'],
    ['no range of ports', 'nat: {ports: "80,443"}\n', 'nat.ports: expected a range of ports such'],
    ['ports backwards', 'nat: {ports: "2000-1000"}\n', 'nat.ports: expected a range of ports such'],
    ['a tiny MSS', 'nat: {clampMss: 100}\n', 'nat.clampMss: '],
    [
      'a time-out of nothing',
      'conntrack: {timeouts: {udp: 0s}}\n',
      'timeouts.udp: must be between',
    ],
    ['an unknown time-out', 'conntrack: {timeouts: {sctp: 5s}}\n', 'timeouts.sctp: unknown key'],
    ['too many buckets', 'conntrack: {buckets: 99999999}\n', 'conntrack.buckets: Too big'],
  ];
  test.each(cases)('%s', (_, text, message) =>
    expect(() => parseConfig(text, 'c.yaml')).toThrow(message),
  );
});

describe('the sections nat and conntrack', () => {
  test('have defaults: those of Linux but for established TCP and DNS', () => {
    const { nat, conntrack } = live('');
    expect(nat).toEqual({
      addresses: [],
      ports: [1024, 65_535],
      portsPerSource: 43_008,
      clampMss: 'auto',
    });
    expect(conntrack).toEqual({
      timeouts: {
        tcpSynSent: 120_000,
        tcpSynReceived: 60_000,
        tcpEstablished: 7_440_000,
        tcpFinWait: 120_000,
        tcpCloseWait: 60_000,
        tcpLastAck: 30_000,
        tcpTimeWait: 120_000,
        tcpClose: 10_000,
        tcpUnacknowledged: 300_000,
        udp: 30_000,
        udpStream: 120_000,
        dns: 10_000,
        icmp: 30_000,
        generic: 600_000,
      },
      tcpLiberal: false,
      tcpLoose: true,
      perSource: 43_690,
    });
  });

  test('have the time-outs that connection tracking has by itself', () => {
    const ms = Object.entries(DEFAULT_TIMEOUTS).map(([name, us]) => [name, us / 1000]);
    expect(live('').conntrack.timeouts).toEqual(Object.fromEntries(ms));
  });

  test('are what the data plane gets when they are set', () => {
    const { nat, conntrack } = live(
      'nat: {addresses: ["::ffff:198.51.100.7", "fd00::7"], ports: 20000-29999, clampMss: off}\n' +
        'conntrack: {timeouts: {udpStream: 5m}, tcpLiberal: true, tcpLoose: false, perSource: 9}\n',
    );
    expect(nat).toEqual({
      addresses: ['198.51.100.7', 'fd00::7'],
      ports: [20_000, 29_999],
      portsPerSource: 6666,
      clampMss: 'off',
    });
    expect(conntrack).toMatchObject({ tcpLiberal: true, tcpLoose: false, perSource: 9 });
    expect(conntrack.timeouts).toMatchObject({ udp: 30_000, udpStream: 300_000 });
  });

  test('ports of one source are what is set, and at least one', () => {
    expect(live('nat: {portsPerSource: 1000}\n').nat.portsPerSource).toBe(1000);
    expect(live('nat: {ports: 5000-5000}\n').nat.portsPerSource).toBe(1);
  });

  test('no source may fill a smaller table either', () =>
    expect(live('limits: {flows: 2000}\n').conntrack.perSource).toBe(1333));

  test('the number of buckets is one of the capacities that the memory is laid out for', () => {
    const config = parseConfig('conntrack: {buckets: 4194304}', 'c');
    expect(stateBytes(stateLimits(config))).toBeGreaterThan(stateBytes(config.limits));
    const device = { name: 'x0', mtu: 1500, vnetHeader: true, offloads: 0 };
    expect(toStartConfig(config, device).limits.flowBuckets).toBe(4_194_304);
    expect(toStartConfig(parseConfig('', 'c'), device).limits.flowBuckets).toBeUndefined();
  });
});
