import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig, toPlaneBounds, toStartConfig } from '../../../src/gateway/config/plane.ts';

const CONFIG = `
device: {name: x0, addresses: [10.0.0.1/24]}
local: {addresses: [10.0.0.80]}
listeners:
  - name: web
    destination: [10.1.0.0/16, "fd00::/8"]
    ports: 80
    action: forward
    to: "127.0.0.1:8080"
  - {name: dns, protocol: udp, ports: 53, action: reject}
  - {name: rest, action: reject, protocol: any}
  - {name: end, action: drop}
timeouts: {decision: 500ms}
`;

test('listeners become rules with their defaults', () => {
  const { listeners } = toLiveConfig(parseConfig(CONFIG, 'c'), 7);
  expect(listeners).toEqual([
    {
      name: 'web',
      protocol: 'tcp',
      destinations: ['10.1.0.0/16', 'fd00::/8'],
      ports: [[80, 80]],
      action: { kind: 'forward', to: { ip: '127.0.0.1', port: 8080 } },
    },
    {
      name: 'dns',
      protocol: 'udp',
      destinations: [],
      ports: [[53, 53]],
      action: { kind: 'reject', with: 'rst' },
    },
    {
      name: 'rest',
      protocol: 'any',
      destinations: [],
      ports: [],
      action: { kind: 'reject', with: 'rst' },
    },
    { name: 'end', protocol: 'tcp', destinations: [], ports: [], action: { kind: 'drop' } },
  ]);
});

test('the gateway answers for the addresses of its device and its local ones', () => {
  const live = toLiveConfig(parseConfig(CONFIG, 'c'), 7);
  expect(live.localAddresses).toEqual(['10.0.0.1', '10.0.0.80']);
  expect(live.generation).toBe(7);
  expect(live.timeouts).toMatchObject({ decisionMs: 500, connectMs: 10_000, userMs: 0 });
});

test('the user timeout is one of the timeouts', () => {
  const live = toLiveConfig(parseConfig('timeouts: {user: 1m30s}', 'c'), 1);
  expect(live.timeouts.userMs).toBe(90_000);
});

test('the start names the device as the kernel does', () => {
  const device = { name: 'x1', mtu: 1400, vnetHeader: true, offloads: 7 };
  const start = toStartConfig(parseConfig(CONFIG, 'c'), device);
  expect(start.device).toEqual(device);
  expect(start.limits.flows).toBe(65_536);
});

test('the bounds are those of the config, also those that memory is laid out for', () => {
  const bounds = toPlaneBounds(parseConfig('limits: {flows: 2048}', 'c'));
  expect(bounds.claims).toBe(1024);
  expect(bounds.sessions).toEqual({ limit: 16_384, perSource: 4096 });
  expect(bounds.limits).toMatchObject({ flows: 2048, slabBytes: 256 * 1024 * 1024 });
});

test('how connections begin may change while others live', () => {
  expect(toLiveConfig(parseConfig(CONFIG, 'c'), 1).tcp).toEqual({ congestion: 'cubic', ecn: true });
  const other = parseConfig('tcp: {congestion: bbr, ecn: false}', 'c');
  expect(toLiveConfig(other, 1).tcp).toEqual({ congestion: 'bbr', ecn: false });
});
