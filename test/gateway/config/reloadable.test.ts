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

test('the page for operators names every key that needs a restart, and no other', async () => {
  const page = await Bun.file(`${import.meta.dir}/../../../docs/operations.md`).text();
  const table = page.slice(page.indexOf('| key | because |')).split('\n\n')[0]!;
  const named = table.split('\n').flatMap((row) => row.split('|')[1]!.match(/[a-z]+\.\w+/gi) ?? []);
  const fixed = Object.entries(CONFIG_KEYS).flatMap(([path, key]) => (key.fixed ? [path] : []));
  expect(named.sort()).toEqual(fixed.sort());
});

describe('a new config', () => {
  test('that changes what is laid out at the start names each such place', () => {
    const running = parseConfig('', 'c');
    const wanted = parseConfig(
      'device: {queues: 2, mtu: 9000}\nlimits: {flows: 65537, claims: 9}\n' +
        'tcp: {congestion: newreno, ecn: false}\n' +
        'timeouts: {idle: 1m}\nconntrack: {buckets: 64, tcpLoose: false}\nnat: {clampMss: 1400}',
      'c',
    );
    expect(restartRequired(running, running)).toEqual([]);
    expect(restartRequired(running, wanted)).toEqual([
      'device.queues',
      'conntrack.buckets',
      'limits.flows',
    ]);
  });

  test('may have as much as memory is laid out for, whatever ran in between', () => {
    const started = parseConfig('limits: {flows: 4096, slabBytes: 64MiB}', 'c');
    const taken = [
      'limits: {flows: 1024, slabBytes: 8MiB}',
      'limits: {flows: 4096, slabBytes: 64MiB}',
    ];
    for (const text of taken) {
      expect(() => assertReloadable(started, loaded(text))).not.toThrow();
    }
    const beyond = loaded('limits: {flows: 4097, slabBytes: 65MiB}');
    expect(restartRequired(started, beyond.config)).toEqual(['limits.flows', 'limits.slabBytes']);
    expect(() => assertReloadable(started, beyond)).toThrow(
      /limits\.flows: needs a restart beyond 4096: memory is laid out for [^\n]+\n.*67108864/,
    );
  });

  test('is refused with the place, the value that runs, and why', () =>
    expect(() => assertReloadable(parseConfig('', 'c'), loaded('device: {queues: 2}'))).toThrow(
      'c.yaml:3:5: device.queues: needs a restart (runs with 1): each has a process',
    ));

  test('is refused without telling a secret', () => {
    const running = parseConfig('state: {folder: "nfs://me:hidden@host/x"}', 'c');
    expect(() => assertReloadable(running, loaded(''))).toThrow('state.folder: needs a restart');
    expect(() => assertReloadable(running, loaded(''))).not.toThrow('hidden');
  });

  test('that changes everything else is taken', () => {
    const wanted = loaded(
      'log: {level: debug, flows: false, format: text, time: epoch}\n' +
        'drain: 1s\negress: {fwmark: 7}\n' +
        'device: {mtu: 1400, addresses: [10.0.0.1/24], routes: [10.2.0.0/16], txQueueLength: 9}\n' +
        'routes: {auto: true, table: 99}\nlocal: {addresses: [10.0.0.9]}\n' +
        'limits: {heldSyns: 9, timeWait: 9, sessions: 9, flowsPerSource: 9, flows: 99, ' +
        'claims: 16384, slabBytes: 4MiB}\ntcp: {congestion: bbr, ecn: false}\n' +
        'listeners: [{name: a, action: drop}]\nnat: {addresses: [10.0.0.7]}\n' +
        'timeouts: {idle: 1s}\nconntrack: {timeouts: {udp: 9s}}\nscripts: {vars: {a: b}}',
    );
    expect(() => assertReloadable(parseConfig('', 'c'), wanted)).not.toThrow();
  });
});
