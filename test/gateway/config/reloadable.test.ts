import { describe, expect, test } from 'bun:test';
import { CONFIG_KEYS } from '../../../src/gateway/config/keys.ts';
import { type LoadedConfig, parseConfig } from '../../../src/gateway/config/load.ts';
import { assertReloadable, restartRequired } from '../../../src/gateway/config/reloadable.ts';
import { configJsonSchema } from '../../../src/gateway/config/schema.ts';
import { type SchemaNode, walkSchema } from '../../../src/gateway/config/schema-tree.ts';

const loaded = (text: string): LoadedConfig => ({
  config: parseConfig(text, 'c.yaml'),
  file: 'c.yaml',
  folder: '/',
  placeOf: () => ({ line: 3, column: 5 }),
});

test('every key of the schema has a row that describes it, and every row is of a key', () => {
  const paths: string[] = [];
  const nameless: string[] = [];
  walkSchema(configJsonSchema() as SchemaNode, (path, { description }) => {
    paths.push(path);
    if (description === undefined) nameless.push(path);
  });
  expect(nameless).toEqual([]);
  expect([...new Set(paths)].sort()).toEqual(Object.keys(CONFIG_KEYS).sort());
});

describe('a new config', () => {
  test('that changes what is laid out at the start names each such place', () => {
    const running = parseConfig('', 'c');
    const wanted = parseConfig(
      'device: {mtu: 9000}\nlimits: {flows: 2048}\ntcp: {congestion: newreno, ecn: false}\n' +
        'timeouts: {idle: 1m}\nconntrack: {buckets: 64, tcpLoose: false}\nnat: {clampMss: 1400}',
      'c',
    );
    expect(restartRequired(running, running)).toEqual([]);
    expect(restartRequired(running, wanted)).toEqual([
      'device.mtu',
      'conntrack.buckets',
      'limits.flows',
      'limits.flowsPerSource',
      'tcp.congestion',
      'tcp.ecn',
    ]);
  });

  test('is refused with the place, and with the value that runs', () =>
    expect(() => assertReloadable(parseConfig('', 'c'), loaded('device: {mtu: 9000}'))).toThrow(
      'c.yaml:3:5: device.mtu: needs a restart (runs with 1500)',
    ));

  test('is refused without telling a secret', () => {
    const running = parseConfig('state: {folder: "nfs://me:hidden@host/x"}', 'c');
    expect(() => assertReloadable(running, loaded(''))).toThrow('state.folder: needs a restart');
    expect(() => assertReloadable(running, loaded(''))).not.toThrow('hidden');
  });

  test('that changes everything else is taken', () => {
    const wanted = loaded(
      'log: {level: debug, flows: false}\ndrain: 1s\negress: {fwmark: 7}\n' +
        'routes: {auto: true, table: 99}\nlocal: {addresses: [10.0.0.9]}\n' +
        'listeners: [{name: a, action: drop}]\nnat: {addresses: [10.0.0.7]}\n' +
        'timeouts: {idle: 1s}\nconntrack: {timeouts: {udp: 9s}}\nscripts: {vars: {a: b}}',
    );
    expect(() => assertReloadable(parseConfig('', 'c'), wanted)).not.toThrow();
  });
});
