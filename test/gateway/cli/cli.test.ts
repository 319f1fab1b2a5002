import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from '../../../src/gateway/supervisor/api/listen.ts';
import type { ApiServer } from '../../../src/gateway/supervisor/api/transport/server.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import { apiOf, type FakePlane, fakePlane } from '../supervisor/api/fake-plane.ts';
import { culvertIn } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
const socket = join(folder, 'admin.sock');
let plane: FakePlane;
let server: ApiServer;

beforeAll(async () => {
  plane = fakePlane();
  server = await listen({ kind: 'unix', path: socket }, (request, env) =>
    apiOf(plane).fetch(request, env),
  );
});
afterAll(() => server.stop());

/** Runs culvert; it finds the API of the fake gateway. */
const culvert = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  culvertIn(folder, '', { CULVERT_ADMIN: socket, ...env })(...args);

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

describe('usage', () => {
  test.each([
    [['frobnicate']],
    [['status', '--nope']],
    [['flows', 'kill']],
    [['flows', 'kill', 'a', '--filter', 'proto=tcp']],
    [['conntrack', 'flush']],
    [['conntrack', 'flush', '--all', 'proto=tcp']],
    [['conntrack', 'list', '-o', 'xml']],
    [['status', '--admin', 'x']],
    [['run', '--ready-fd', 'abc']],
  ])('%p ends with 2 and says why', async (args) => {
    const { code, out, err } = await culvert(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^culvert: /);
  });

  test('a mistyped command is told once, with what was meant and where help is', async () =>
    expect((await culvert(['statsu'])).err).toBe(
      "culvert: unknown command 'statsu' (Did you mean status?)\n" +
        '(culvert --help lists commands and flags)\n',
    ));

  test('no command at all is answered with the help', async () => {
    const { code, err } = await culvert([]);
    expect(code).toBe(2);
    expect(err).toStartWith('Usage: culvert ');
  });

  test('help and version end with 0', async () => {
    expect((await culvert(['--help'])).out).toContain('healthcheck');
    const { code, out } = await culvert(['version', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      bun: Bun.version,
      features: { kernel: expect.any(String) },
    });
  });
});

describe('a gateway that answers', () => {
  test('shows the limits of scripts below their list', async () => {
    const { out } = await culvert(['script', 'list']);
    expect(out).toStartWith('no scripts are loaded\n\nlimits of each script: cpuSoftMs=10 ');
    for (const limit of Object.entries(DEFAULT_SCRIPT_LIMITS))
      expect(out).toContain(limit.join('='));
  });

  test('is shown as a table and as JSON', async () => {
    expect((await culvert(['status'])).out).toContain('device      x0 up, MTU 1500, superpackets');
    expect(JSON.parse((await culvert(['status', '--json'])).out)).toMatchObject({
      state: 'running',
    });
    expect((await culvert(['flows'])).out).toContain('10.0.0.1:1000  10.1.0.1:80');
    expect(JSON.parse((await culvert(['flows', '--json', 'port=443'])).out).flows).toHaveLength(1);
    expect((await culvert(['drops'])).out).toContain('paws');
  });

  test('ends a flow, and refuses one that is gone with 4', async () => {
    expect(await culvert(['flows', 'kill', 'a'])).toMatchObject({
      code: 0,
      out: 'flow a is reset\n',
    });
    expect(await culvert(['flows', 'kill', 'zz'])).toMatchObject({
      code: 4,
      err: 'culvert: not found: no flow "zz" lives\n',
    });
  });

  test('ends the flows of a filter, and shows them only in a dry run', async () => {
    const { out } = await culvert(['flows', 'kill', '--dry-run', '--filter', 'dport in (80, 53)']);
    expect(out).toContain('10.0.0.1:1000  10.1.0.1:80');
    expect(out).toEndWith('\n2 flows would be reset\n');
    expect((await culvert(['flows', 'kill', '--dry-run', 'a'])).out).toBe(
      'flow a would be reset\n',
    );
    plane.killed.length = 0;
    expect((await culvert(['flows', 'kill', '--filter', 'proto = udp'])).out).toBe(
      '1 flow reset\n',
    );
    expect(plane.killed).toEqual([12]);
    const flush = ['conntrack', 'flush', '--all', '-o', 'json'];
    expect(JSON.parse((await culvert(flush)).out)).toEqual({
      dry_run: false,
      matched: 3,
      killed: 2,
    });
  });

  test('says where a filter is wrong, with 4', async () =>
    expect(await culvert(['flows', 'proto=tcp', 'and', 'port=x'])).toMatchObject({
      code: 4,
      err: 'culvert: bad request: filter, column 20: "x" is no port\n',
    }));

  test('lists and counts tracked flows as conntrack does', async () => {
    const list = (await culvert(['conntrack', 'list'])).out.split('\n');
    expect(list).toEqual([
      expect.stringMatching(
        /^tcp {6}6 - ESTABLISHED src=10\.0\.0\.1 dst=10\.1\.0\.1 sport=1000 dport=80 /,
      ),
      expect.stringContaining(' carrier=tcp flow=b'),
      'udp      17 29 src=10.0.0.4 dst=10.1.0.1 sport=1000 dport=53 packets=1 bytes=5 ' +
        '[UNREPLIED] src=10.9.0.1 dst=192.0.2.1 sport=5353 dport=40000 packets=0 bytes=0 ' +
        'carrier=nat flow=c',
      '',
    ]);
    const json = await culvert(['conntrack', 'list', '-o', 'json', 'proto=tcp']);
    expect(JSON.parse(json.out)).toMatchObject([{ id: 'a' }, { id: 'b' }]);
    expect(JSON.parse((await culvert(['conntrack', 'list', '--json', 'id=zz'])).out)).toEqual([]);
    expect((await culvert(['conntrack', 'count', 'carrier', '=', 'nat'])).out).toBe('1\n');
    expect(JSON.parse((await culvert(['conntrack', 'count', '-o', 'json'])).out)).toEqual({
      count: 3,
      limit: 6,
    });
  });

  test('takes scripts and gives them back; what does not load ends with 4 and place', async () => {
    expect((await culvert(['script', 'put', 'route', file('one.ts', 'one')])).code).toBe(0);
    expect((await culvert(['script', 'put', 'route', file('two.ts', 'two')])).out).toStartWith(
      'now generation 2 ',
    );
    expect((await culvert(['script', 'rollback'])).out).toStartWith('now generation 3 ');
    expect(await culvert(['script', 'put', 'route', file('bad.ts', 'broken')])).toMatchObject({
      code: 4,
      err: 'culvert: refused: bad.ts:2:3: unexpected token\n',
    });
    const dry = await culvert(['script', 'put', 'route', file('two.ts', 'two'), '--dry-run']);
    expect(dry.out).toStartWith('would be generation 4 ');
    expect(plane.activeGeneration.number).toBe(3);
  });

  test('reloads, and says whether anything has changed', async () =>
    expect((await culvert(['reload'])).out).toStartWith('nothing changed: still generation'));

  test.each([[['--wait']], [['--wait', '10s']], [['--wait', '--json']]])(
    'waits, with a time or without: %s',
    async (flags) => {
      const { code, out } = await culvert(['reload', ...flags]);
      expect([code, out]).toEqual([0, expect.stringMatching(/^nothing changed|"changed": false/)]);
    },
  );

  test('reloads without waiting, and says where the outcome is', async () => {
    const { code, out } = await culvert(['reload', '--no-wait']);
    const [, id = ''] = /^reload (\S+) is validating: GET \/v1\/reloads\/\1 /.exec(out) ?? [];
    expect(code).toBe(0);
    expect(plane.findReload(id).state).toBe('done');
  });

  test('is healthy only while it is ready', async () => {
    expect((await culvert(['healthcheck'])).code).toBe(0);
    plane.reasons = ['draining'];
    expect(await culvert(['healthcheck'])).toMatchObject({ code: 1, out: 'not ready: draining\n' });
    plane.reasons = [];
  });

  test('changed meanwhile: the change ends with 5', async () => {
    // The fake answers every GET with an ETag that a change has overtaken.
    const stale = Bun.serve({
      unix: join(folder, 'stale.sock'),
      fetch: (request) =>
        request.method === 'GET'
          ? Response.json({}, { headers: { ETag: '"0-old"' } })
          : apiOf(plane).fetch(request),
    });
    const { code, err } = await culvert(['reload'], { CULVERT_ADMIN: join(folder, 'stale.sock') });
    await stale.stop(true);
    expect(code).toBe(5);
    expect(err).toStartWith('culvert: precondition failed: ');
  });
});

describe('a gateway whose config is changed', () => {
  beforeAll(() => {
    plane = fakePlane();
  });

  test('is read, edited and put back; who edited an older state ends with 5', async () => {
    const { out } = await culvert(['config', 'get']);
    expect(out).toMatch(/^# etag: ".*"\n/);
    const edited = file('edited.yaml', out.replace('level: info', 'level: warn'));
    const dry = await culvert(['config', 'put', edited, '--dry-run']);
    expect(dry.out).toBe('would change 1 place\n  log.level: "info" -> "warn"\n');
    expect((await culvert(['config', 'put', edited])).out).toStartWith('now config 2\n');
    expect(plane.configState.config.log.level).toBe('warn');
    expect((await culvert(['config', 'put', edited])).code).toBe(5);
    expect((await culvert(['config', 'put', edited, '--force'])).code).toBe(0);
  });

  test('is changed in part, and written to its file', async () => {
    const patch = ['config', 'patch', '{"log":{"level":"error"}}', '--persist'];
    expect((await culvert(patch)).out).toContain(', written to its file');
    expect(await Bun.file(plane.configFile).text()).toContain('level: error');
    const stale = [...patch, '--if-match', '"0-0"'];
    expect((await culvert(stale)).code).toBe(5);
  });

  test('refuses what is wrong with 4, and a file that is none ends with 2', async () => {
    const { code, err } = await culvert(['config', 'patch', '{"device":{"queues":2}}']);
    expect(code).toBe(4);
    expect(err).toContain('device.queues: needs a restart');
    expect((await culvert(['config', 'put', 'nowhere.yaml'])).code).toBe(2);
  });

  test('logs more for a while', async () => {
    const { out } = await culvert(['log-level', 'debug', '--for', '5m']);
    expect(out).toMatch(/^debug until \d{4}-.*Z, then info\n$/);
    expect((await culvert(['log-level', 'config'])).out).toBe('info, as the config says\n');
    expect((await culvert(['log-level', 'loud'])).code).toBe(4);
  });

  test('is drained and stopped', async () => {
    const { out } = await culvert(['drain', '--deadline', '5s', '--no-wait']);
    expect(out).toBe('draining: 2 flows have 5.0s\n');
    expect((await culvert(['stop', '--no-wait', '--json'])).out).toContain('"stopping"');
    expect(plane.ended).toEqual([
      ['drain', 5000],
      ['stop', 10_000],
    ]);
  });
});

describe('a gateway that does not answer', () => {
  const env = { CULVERT_ADMIN: '/nonexistent/admin.sock' };
  test.each([
    [['status']],
    [['reload']],
    [['flows']],
    [['script', 'list']],
    [['config', 'get']],
    [['stop']],
  ])('%p ends with 6', async (args) => {
    const { code, err } = await culvert(args, env);
    expect(code).toBe(6);
    expect(err).toContain('no culvert answers at /nonexistent/admin.sock');
  });

  test('is not healthy', async () => expect((await culvert(['healthcheck'], env)).code).toBe(1));
});

describe('a config', () => {
  test('that is wrong ends with 1 and each place, in check and in run', async () => {
    const config = file('bad.yaml', 'device:\n  mtu: 1\nnope: 2\n');
    for (const args of [
      ['check', '-c', config],
      ['run', '-t', '-c', config],
      ['run', '-c', config],
    ]) {
      const { code, err } = await culvert(args);
      expect(code).toBe(1);
      expect(err).toContain(`${config}:2:8: device.mtu: `);
      expect(err).toContain(`${config}:3:1: nope: unknown key`);
    }
  });

  test('that is right ends with 0', async () => {
    const { code, out } = await culvert(['check', '-c', file('good.yaml', 'device: {name: x0}')]);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining('ok') });
  });

  test('that is right but for what the flags of run name ends with 1 and their names', async () => {
    const config = file('good.yaml', 'device: {name: x0}');
    const cases: readonly (readonly [flags: readonly string[], message: string])[] = [
      [['--ready-fd', '77'], 'culvert: --ready-fd 77: EBADF\n'],
      [['--pidfile', '/nonexistent/pid'], 'culvert: --pidfile /nonexistent/pid: ENOENT\n'],
      [['--admin', `/${'x'.repeat(200)}`], 'admin.listen: a path of 201 bytes'],
    ];
    for (const [flags, message] of cases) {
      const { code, err } = await culvert(['run', '-c', config, ...flags]);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    }
  });

  test('that a flag makes wrong is wrong', async () => {
    const args = ['check', '-c', file('good.yaml', 'device: {name: x0}'), '--mtu', '12'];
    expect((await culvert(args)).err).toContain('device.mtu');
  });

  test('has a schema', async () =>
    expect(JSON.parse((await culvert(['schema'])).out)).toMatchObject({ type: 'object' }));
});

test('the types of scripts are printed', async () =>
  expect((await culvert(['types'])).out).toContain('GatewayScript'));
