import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, loadConfigFile, parseConfig } from '../../../src/gateway/config/load.ts';
import { collectOverrides } from '../../../src/gateway/config/overrides.ts';
import { configJsonSchema, stateLimits } from '../../../src/gateway/config/schema.ts';
import { stateBytes } from '../../../src/stack/layout.ts';

/** Some of these configs are as large as a config can be. */
setDefaultTimeout(30_000);

function failure(text: string): ConfigError {
  try {
    parseConfig(text, 'c.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the config was taken');
}

const ALIAS_BOMB = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b', 'c: &c', 'd: &d', 'e: &e']
  .map((line, n) => {
    const repeated = 'abcd'[n - 1];
    return repeated === undefined ? line : `${line} [${`*${repeated},`.repeat(9)}]`;
  })
  .join('\n');

const TOO_MANY_LISTENERS = `listeners: [${Array.from(
  { length: 28 },
  (_, n) =>
    `{name: n${n}, action: drop, ports: ${n === 0 ? `&p [${'80,'.repeat(20_000)}]` : '*p'}}`,
).join()}]`;

describe('a config that is wrong names place and reason', () => {
  const cases: [name: string, text: string, message: string | RegExp][] = [
    [
      'unknown key',
      'device:\n  nmae: x\n',
      /^c\.yaml:2:3: device\.nmae: unknown key, did you mean "name"\?$/,
    ],
    [
      'unknown section',
      'drain: 1s\ndevcie:\n  name: x\n',
      /^c\.yaml:2:1: devcie: unknown key, did you mean "device"\?$/,
    ],
    ['bad YAML', 'device: {name: x\n', /^c\.yaml:\d+:\d+: /],
    ['no object', '- 1\n', /^c\.yaml:1:1: Invalid input: expected object/],
    ['MTU too small', 'device: {mtu: 576}\n', 'c.yaml:1:15: device.mtu: Too small'],
    ['name too long', 'device: {name: abcdefghijklmnop}\n', /device\.name: Too big/],
    [
      'bad network',
      'device:\n  addresses:\n    - 10.0.0.0/99\n',
      'c.yaml:3:7: device.addresses[0]: expected an address',
    ],
    ['bad duration', 'drain: soon\n', 'c.yaml:1:8: drain: expected a duration'],
    ['bad size', 'limits: {slabBytes: 1MB}\n', 'c.yaml:1:21: limits.slabBytes: expected a size'],
    [
      'flow cap over budget',
      'limits: {slabBytes: 1MiB, slabBytesPerFlow: 2MiB}\n',
      'limits.slabBytesPerFlow: is larger than slabBytes',
    ],
    ['bad mark', 'egress: {fwmark: "0xzz"}\n', 'egress.fwmark: expected a mark'],
    [
      'bad ports',
      'listeners: [{name: a, action: drop, ports: "80-"}]\n',
      'listeners[0].ports: expected ports',
    ],
    [
      'bad action',
      'listeners: [{name: a, action: accept}]\n',
      'listeners[0].action: Invalid option',
    ],
    [
      'target of a reject',
      'listeners: [{name: a, action: reject, to: 10.0.0.1}]\n',
      'listeners[0].to: is for the actions "forward" and "nat" only',
    ],
    [
      'answer of a forward',
      'listeners: [{name: a, action: forward, with: rst}]\n',
      'listeners[0].with: is for the action "reject" only',
    ],
    [
      'a tarpit for all protocols',
      'listeners: [{name: a, protocol: any, action: reject, with: tarpit}]\n',
      'listeners[0].with: "tarpit" is for the protocol "tcp" only',
    ],
    [
      'a listener with the name of a page',
      'listeners: [{name: welcome, action: drop}]\n',
      'listeners[0].name: is the name of a page of the gateway, for redirect() of scripts',
    ],
    [
      'a tarpit for UDP',
      'listeners: [{name: a, protocol: udp, action: reject, with: tarpit}]\n',
      'listeners[0].with: "tarpit" is for the protocol "tcp" only',
    ],
    [
      'two of a name',
      'listeners: [{name: a, action: drop}, {name: a, action: drop}]\n',
      'listeners: two listeners have the same name',
    ],
    [
      'two sources of scripts',
      'scripts: {load: [], files: "*.ts"}\n',
      '"load" and "files" exclude each other',
    ],
    ['idle too long for a row', 'timeouts: {idle: 1001h}\n', 'must be between 0s and 1000h'],
    ['an endless duration', `timeouts: {connect: ${'9'.repeat(400)}h}\n`, 'between 1ms and 1h'],
    ['no time to decide', 'timeouts: {decision: 0s}\n', 'timeouts.decision: must be between'],
    ['drain beyond a timer', 'drain: 600h\n', 'c.yaml:1:8: drain: must be between 0s and 24h'],
    ['load beyond a timer', 'scripts: {limits: {loadMs: 3000000000}}\n', 'limits.loadMs: Too big'],
    ['no memory', 'scripts: {limits: {memoryBytes: 0}}\n', 'must be between 1MiB and 1GiB'],
    ['memory of no engine', 'scripts: {limits: {memoryBytes: 4GiB}}\n', 'between 1MiB and 1GiB'],
    ['no stack', 'scripts: {limits: {stackBytes: 0}}\n', 'must be between 64KiB and 1MiB'],
    ['too many listeners', TOO_MANY_LISTENERS, /^c\.yaml:1:\d+: listeners: are more than/],
    ['alias of nothing', 'device:\n  name: *nope\n', /^c\.yaml:2:9: .*nope/],
    ['alias of too much', ALIAS_BOMB, /^c\.yaml:5:\d+: .*[Aa]lias/],
    ['alias of itself', 'listeners: &a [*a]\n', /^c\.yaml:1:\d+: listeners\[0\]/],
    ['short token', 'admin: {token: secret}\n', 'admin.token: Too small'],
    ['unknown limit', 'scripts: {limits: {cpuMs: 5}}\n', 'scripts.limits.cpuMs: unknown key'],
  ];
  test.each(cases)('%s', (_, text, message) => expect(failure(text).message).toMatch(message));

  test('every unknown key is an issue of its own', () =>
    expect(failure('a: 1\nb: 2\n').issues.map((issue) => [issue.path, issue.line])).toEqual([
      ['a', 1],
      ['b', 2],
    ]));

  test('a value of a flag or a variable is laid to its charge, not to the file', () => {
    const text = 'device: {mtu: 1500}\n';
    const mtu = (flags: object, env: Record<string, string>) => () =>
      parseConfig(text, 'c.yaml', collectOverrides({ ...flags }, env));
    expect(mtu({ mtu: '68' }, {})).toThrow(/^--mtu: device\.mtu: Too small/);
    expect(mtu({}, { CULVERT_MTU: '68' })).toThrow(/^CULVERT_MTU: device\.mtu: Too small/);
    expect(mtu({ logLevel: 'loud' }, {})).toThrow(/^--log-level: log\.level: /);
  });

  test('a file that is none, or a huge one, is not waited for', () => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    const load = (name: string) => () => loadConfigFile(join(folder, name), []);
    Bun.spawnSync(['mkfifo', join(folder, 'fifo')]);
    writeFileSync(join(folder, 'huge'), '#'.repeat(5 * 1024 * 1024));
    writeFileSync(join(folder, 'binary'), new Uint8Array([0xff, 0xfe]));
    expect(load('fifo')).toThrow('fifo: is no regular file');
    expect(load('.')).toThrow(/: is no regular file$/);
    expect(load('huge')).toThrow('huge: has 5242880 bytes, at most 4194304');
    expect(load('binary')).toThrow('binary: is not UTF-8');
  });

  test('a file that is not there is an error with its path', () =>
    expect(() => loadConfigFile('/nonexistent/c.yaml', [])).toThrow(
      '/nonexistent/c.yaml: cannot be read: ENOENT',
    ));
});

describe('a config that is right', () => {
  test('an empty one has every default', () => {
    const config = parseConfig('', 'c.yaml');
    expect(config.device).toMatchObject({ name: 'culvert0', mtu: 1500, offload: true });
    expect(config.limits).toMatchObject({
      heldSyns: 1024,
      flowsPerSource: 43_690,
      heldSynsPerSource: 682,
      synCookiesFrom: 512,
      slabBytes: 256 * 1024 ** 2,
    });
    expect(config.drain).toBe(10_000);
    expect(config.admin.listen).toBe('unix:///run/culvert/admin.sock');
  });

  test('the bounds themselves are taken', () => {
    const text = 'timeouts: {idle: 1000h, connect: 1ms}\ndrain: 24h\nlimits: {flows: 2097152}';
    expect(parseConfig(text, 'c').timeouts.idle).toBeLessThan(2 ** 32);
  });

  test.each(['flows: 2097152, slabBytes: 1GiB', 'flows: 1572864, slabBytes: 2GiB'])(
    'the limits %s fit into one mapping of the data plane',
    (text) => {
      const { limits } = parseConfig(`limits: {${text}}`, 'c');
      expect(stateBytes(limits)).toBeLessThan(2 ** 32);
    },
  );

  test('limits that one mapping cannot hold are refused, whatever the buckets', () => {
    const parse = (text: string) => () => parseConfig(text, 'c');
    const largest = 'limits: {flows: 1800000, slabBytes: 2GiB}';
    expect(parse('limits: {flows: 2097152, slabBytes: 2GiB}')).toThrow(
      'c:1:9: limits: flows and slabBytes together need more than 4 GiB of memory',
    );
    const config = parseConfig(`${largest}\nconntrack: {buckets: 4194304}`, 'c');
    expect(stateBytes(stateLimits(config))).toBeLessThan(2 ** 32);
  });

  test('an alias of something is what it stands for', () => {
    const text = 'local: {addresses: &a [10.0.0.1]}\ndevice: {addresses: *a}';
    expect(parseConfig(text, 'c').device.addresses[0]?.ip).toBe('10.0.0.1');
  });

  test('JSON is YAML', () =>
    expect(parseConfig('{"device":{"mtu":9000}}', 'c.json').device.mtu).toBe(9000));

  test('ports are a number, a text, or a list of both', () => {
    const ports = (text: string) =>
      parseConfig(`listeners: [{name: a, action: drop, ports: ${text}}]`, 'c').listeners[0]?.ports;
    expect(ports('80')).toEqual([[80, 80]]);
    expect(ports('"80,443"')).toEqual([
      [80, 80],
      [443, 443],
    ]);
    expect(ports('[80, "8000-8100"]')).toEqual([
      [80, 80],
      [8000, 8100],
    ]);
  });

  test('paths start from the folder of the file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    writeFileSync(join(folder, 'c.yaml'), 'device: {name: x0}\n');
    const loaded = loadConfigFile(join(folder, 'c.yaml'), []);
    expect(loaded).toMatchObject({ folder, file: join(folder, 'c.yaml') });
  });

  test('the schema of a config is JSON Schema', () => {
    const schema = configJsonSchema();
    expect(schema.$schema).toContain('json-schema.org');
    expect(Object.keys(schema.properties ?? {})).toContain('listeners');
    expect(schema.additionalProperties).toBe(false);
  });
});
