import { beforeEach, describe, expect, test } from 'bun:test';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Hono } from 'hono';
import { parse } from 'yaml';
import { Errno } from '../../../../src/ffi/errno.ts';
import { SystemError } from '../../../../src/ffi/errors.ts';
import { loadAutosave } from '../../../../src/gateway/config/autosave.ts';
import { ConfigError } from '../../../../src/gateway/config/load.ts';
import { DeviceChangeError } from '../../../../src/gateway/supervisor/device/device-change.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const YAML = 'application/yaml';
const ANY = { 'If-Match': '*' };
type Headers = Record<string, string>;

const get = (headers: Headers = {}) => api.request('/v1/config', { headers });
const send =
  (method: string, type: string) =>
  (body: string, headers: Headers = ANY, query = '') =>
    api.request(`/v1/config${query}`, {
      method,
      body,
      headers: { 'Content-Type': type, ...headers },
    });
const put = send('PUT', YAML);
const patch = send('PATCH', 'application/merge-patch+json');
const file = () => readFileSync(plane.configFile, 'utf8');
const level = () => plane.configState.config.log.level;

describe('the config is shown', () => {
  test('as it was written, without secrets', async () => {
    const answer = await get();
    expect(await answer.json()).toEqual({
      device: { name: 'x0' },
      log: { level: 'info' },
      admin: {
        tokens: [
          { name: 'ci', token: '***', scopes: ['reload'] },
          { name: 'look', token: '***', scopes: ['read'] },
        ],
      },
    });
    const yaml = await get({ Accept: YAML });
    expect(yaml.headers.get('Content-Type')).toStartWith(YAML);
    expect(parse(await yaml.text())).toMatchObject({ log: { level: 'info' } });
  });

  test.each(['SIGNING_KEY', 'AWS_SECRET_ACCESS_KEY', 'DB_PASSWD', 'credentials'])(
    'without the variable %s',
    async (name) => {
      await patch(JSON.stringify({ scripts: { vars: { [name]: 'hush', zone: 'eu' } } }));
      expect(await (await get()).json()).toMatchObject({
        scripts: { vars: { [name]: '***', zone: 'eu' } },
      });
    },
  );

  test('with an ETag by which nobody can try guesses of a secret', async () => {
    const others = await apiOf(fakePlane()).request('/v1/config');
    expect((await get()).headers.get('ETag')).not.toBe(others.headers.get('ETag'));
  });

  test('and not again to who has it', async () => {
    const tag = (await get()).headers.get('ETag') ?? '';
    expect((await get({ 'If-None-Match': tag })).status).toBe(304);
    await patch('{"log":{"level":"warn"}}');
    expect((await get({ 'If-None-Match': tag })).status).toBe(200);
  });
});

describe('a config is put', () => {
  test('with the ETag that was read; what comes back masked stays', async () => {
    const read = await get({ Accept: YAML });
    const text = (await read.text()).replace('level: info', 'level: warn');
    const answer = await put(text, { 'If-Match': read.headers.get('ETag') ?? '' });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      changed: true,
      dry_run: false,
      persisted: false,
      config_generation: 2,
      differences: [{ path: 'log.level', before: 'info', after: 'warn' }],
    });
    expect(level()).toBe('warn');
    const [ci] = plane.configState.config.admin.tokens;
    expect(ci?.token).toBe('a-token-of-some-length');
    expect(answer.headers.get('ETag')).toBe((await get()).headers.get('ETag'));
    expect(file()).toContain('level: info');
  });

  test('and secrets follow their names, not their places', async () => {
    const tokens = [
      { name: 'look', token: '***', scopes: ['read'] },
      { name: 'ci', token: '***', scopes: ['read', 'reload'] },
    ];
    const answer = await put(JSON.stringify({ device: { name: 'x0' }, admin: { tokens } }));
    expect(answer.status).toBe(200);
    expect(plane.configState.config.admin.tokens.map(({ token }) => token)).toEqual([
      'another-token-of-some-length',
      'a-token-of-some-length',
    ]);
    expect(JSON.stringify(await answer.json())).not.toContain('some-length');
  });

  test('but a mask of nothing is no secret', async () => {
    const tokens = [{ name: 'new', token: '***', scopes: ['read'] }];
    const answer = await put(JSON.stringify({ device: { name: 'x0' }, admin: { tokens } }));
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({ errors: [{ path: 'admin.tokens[0].token' }] });
  });

  test.each([
    [
      'of a variable that is new',
      { scripts: { vars: { API_TOKEN: '***' } } },
      'scripts.vars.API_TOKEN',
    ],
    [
      'of a proxy that is another',
      { egress: { via: 'socks5://user:***@10.0.0.4:1080' } },
      'egress.via',
    ],
  ])('and a mask %s does not become the secret', async (_, part, path) => {
    await patch('{"egress":{"via":"socks5://user:pass@10.0.0.3:1080"}}');
    const answer = await patch(JSON.stringify(part));
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({
      errors: [{ path, message: expect.stringContaining('write the secret itself') }],
    });
    const same = await patch('{"egress":{"via":"socks5://user:***@10.0.0.3:1080"}}');
    expect(same.status).toBe(200);
    expect(plane.configState.config.egress.via).toBe('socks5://user:pass@10.0.0.3:1080');
  });

  test('without If-Match is refused with 428, with a stale one with 412', async () => {
    const tag = (await get()).headers.get('ETag') ?? '';
    expect((await put('{}', {})).status).toBe(428);
    expect((await patch('{"log":{"level":"warn"}}', { 'If-Match': tag })).status).toBe(200);
    expect((await patch('{"log":{"level":"error"}}', { 'If-Match': tag })).status).toBe(412);
    expect(level()).toBe('warn');
  });

  test('of two who read the same state, one wins', async () => {
    const tag = (await get()).headers.get('ETag') ?? '';
    const write = (to: string) => patch(`{"log":{"level":"${to}"}}`, { 'If-Match': tag });
    const answers = await Promise.all([write('warn'), write('error')]);
    expect(answers.map(({ status }) => status)).toEqual([200, 412]);
    expect(level()).toBe('warn');
  });
});

describe('a config that is wrong', () => {
  test.each([
    ['is no YAML', 'log: {level: info', 400, [{ path: '', line: 1, column: 18 }]],
    ['is empty', '', 400, undefined],
    ['repeats an alias of nothing', 'log: *none', 400, undefined],
    [
      'has a wrong value',
      'device: {name: x0}\nlog:\n  level: loud\n',
      422,
      [{ path: 'log.level', line: 3, column: 10 }],
    ],
    [
      'has an unknown key',
      'device: {name: x0}\nlog: {colour: red}\n',
      422,
      [{ path: 'log.colour', line: 2 }],
    ],
    ['is a list', '- 1\n', 422, undefined],
    [
      'names a user that nobody knows',
      'device: {name: x0}\nadmin: {allow: [{user: no-such-user, scopes: [read]}]}',
      422,
      [{ path: 'admin.allow[0].user', line: 2 }],
    ],
  ])(
    'because it %s is refused, with the place, and changes nothing',
    async (_, text, status, errors) => {
      const before = (await get()).headers.get('ETag');
      const answer = await put(text);
      expect(answer.status).toBe(status);
      const problem = (await answer.json()) as object;
      if (errors !== undefined) expect(problem).toMatchObject({ errors });
      expect((await get()).headers.get('ETag')).toBe(before);
    },
  );

  test('of another type is refused with 415', async () => {
    expect((await send('PUT', 'application/x-tar')('{}')).status).toBe(415);
    expect((await send('PATCH', YAML)('{}')).status).toBe(415);
    expect((await send('PUT', 'application/json')('level: info')).status).toBe(400);
  });

  test('for want of a restart is refused with the paths, in a dry run too', async () => {
    for (const query of ['', '?dry_run=true']) {
      const answer = await patch('{"device":{"queues":2},"log":{"level":"warn"}}', ANY, query);
      expect(answer.status).toBe(409);
      expect(await answer.json()).toMatchObject({
        errors: [{ path: 'device.queues', message: expect.stringContaining('needs a restart') }],
      });
    }
    expect(level()).toBe('info');
    expect(plane.configHooks.device).toEqual([]);
  });

  test('for want of a restart says where in the body, and not where in the file', async () => {
    const answer = await put('# Two\n# lines\nlog: {level: warn}\ndevice:\n  queues: 2\n');
    expect(answer.status).toBe(409);
    const { detail, errors } = (await answer.json()) as { detail: string; errors: object[] };
    expect(errors).toMatchObject([
      { path: 'device.name', line: 5, column: 3 },
      { path: 'device.queues', line: 5, column: 11 },
    ]);
    expect(detail).toContain('the body:5:11: device.queues: needs a restart');
  });

  test('for what the body does not have has no place, also after another text', async () => {
    const refuse = () => {
      plane.configHooks.follow = () => {
        throw new ConfigError('c', [{ path: 'routes', message: 'EPERM' }]);
      };
      const cause = new SystemError(Errno.ENOMEM, 'netlink(RTM_NEWLINK)', { device: 'x0' });
      plane.configHooks.refusal = new DeviceChangeError(['device', 'mtu'], cause);
    };
    expect((await put('\n\n\nlog: {level: warn}\ndevice: {name: x0}\n')).status).toBe(200);
    refuse();
    const answer = await patch('{"log":{"level":"error"}}');
    const { detail, errors } = (await answer.json()) as { detail: string; errors: object[] };
    expect(errors).toEqual([{ path: 'device.mtu', message: expect.stringContaining('ENOMEM') }]);
    expect(detail).toStartWith('the body: device.mtu: ');
  });

  test('changes the device when all else is known to be right, and not in a dry run', async () => {
    const body = '{"device":{"mtu":9000}}';
    expect((await patch(body, ANY, '?dry_run=true')).status).toBe(200);
    expect(plane.configHooks.device).toEqual([]);
    expect((await patch(body)).status).toBe(200);
    expect(plane.configHooks.device).toEqual(['mtu 9000', 'finish']);
  });

  test('that the kernel refuses is refused with the place, and routes stay', async () => {
    let followed = 0;
    plane.configHooks.follow = () => void followed++;
    const cause = new SystemError(Errno.ENOMEM, 'netlink(RTM_NEWLINK)', { device: 'x0' });
    plane.configHooks.refusal = new DeviceChangeError(['device', 'mtu'], cause);
    const answer = await patch('{"device":{"mtu":9000},"log":{"level":"warn"}}');
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({
      errors: [{ path: 'device.mtu', message: 'netlink(RTM_NEWLINK) on x0: ENOMEM' }],
    });
    expect(level()).toBe('info');
    expect(followed).toBe(0);
  });

  test('that the kernel refuses leaves none of its upstreams, though scripts stay', async () => {
    plane.configHooks.follow = () => {
      throw new ConfigError('c', [{ path: 'routes', message: 'EPERM' }]);
    };
    const answer = await patch('{"upstreams":{"b":{"fwmark":1}}}');
    expect([answer.status, await answer.text()]).toEqual([422, expect.stringContaining('EPERM')]);
    expect(plane.configHooks.announced).toEqual([['b'], []]);
  });

  test('takes the device back when routes are refused after it', async () => {
    plane.configHooks.follow = () => {
      plane.configHooks.follow = () => {};
      throw new ConfigError('c', [{ path: 'routes', message: 'EPERM' }]);
    };
    expect((await patch('{"device":{"mtu":9000}}')).status).toBe(422);
    expect(plane.configHooks.device).toEqual(['mtu 9000', 'undo']);
  });

  test('touches no device for scripts that do not load', async () => {
    const script = join(dirname(plane.configFile), 'bad.ts');
    await Bun.write(script, 'broken');
    const body = JSON.stringify({ scripts: { load: [script] }, device: { mtu: 9000 } });
    expect((await patch(body)).status).toBe(422);
    expect(plane.configHooks.device).toEqual([]);
  });

  test('names a script that does not load: config and scripts stay', async () => {
    const before = plane.etag;
    const script = join(dirname(plane.configFile), 'bad.ts');
    await Bun.write(script, 'broken');
    const answer = await patch(
      JSON.stringify({ scripts: { load: [script] }, log: { level: 'warn' } }),
    );
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({ errors: [{ line: 2, column: 3 }] });
    expect([plane.etag, level()]).toEqual([before, 'info']);
  });
});

describe('a part of a config', () => {
  test('is changed by a merge patch: null takes away, a list is one value', async () => {
    await patch('{"log":{"flows":false},"egress":{"fwmark":7}}');
    const answer = await patch('{"log":{"flows":null},"local":{"addresses":["10.0.0.80"]}}');
    expect(await answer.json()).toMatchObject({
      differences: [
        { path: 'log.flows', before: false },
        { path: 'local', after: { addresses: ['10.0.0.80'] } },
      ],
    });
    expect(await (await get()).json()).toMatchObject({
      log: { level: 'info' },
      egress: { fwmark: 7 },
    });
  });

  test('is shown by a dry run, which needs no If-Match and changes nothing', async () => {
    const answer = await patch('{"log":{"level":"warn"}}', {}, '?dry_run=true');
    expect(await answer.json()).toMatchObject({
      changed: false,
      dry_run: true,
      config_generation: 1,
      differences: [{ path: 'log.level', before: 'info', after: 'warn' }],
    });
    expect(level()).toBe('info');
  });

  test('that says what is there already changes nothing', async () => {
    const tag = (await get()).headers.get('ETag');
    const answer = await patch('{"log":{"level":"info"}}');
    expect(await answer.json()).toMatchObject({ changed: false, differences: [] });
    expect((await get()).headers.get('ETag')).toBe(tag);
  });

  test('leaves scripts as the API has put them, and takes those that it names', async () => {
    await api.request('/v1/scripts/route', {
      method: 'PUT',
      body: 'one',
      headers: { ...ANY, 'Content-Type': 'text/plain' },
    });
    await patch('{"log":{"level":"warn"},"scripts":{"limits":{"cpuSoftMs":7}}}');
    expect(plane.activeGeneration).toMatchObject({
      scripts: [{ name: 'route', source: 'one' }],
      limits: { cpuSoftMs: 7 },
    });
    const script = join(dirname(plane.configFile), 'other.ts');
    await Bun.write(script, 'two');
    await patch(JSON.stringify({ scripts: { load: [script], vars: { zone: 'eu' } } }));
    expect(plane.activeGeneration).toMatchObject({
      scripts: [{ name: 'other', source: 'two' }],
      vars: { zone: 'eu' },
    });
  });
});

describe('the file', () => {
  test('is written when that is asked for; comments, mode and the rest stay', async () => {
    await patch('{"egress":{"fwmark":7}}');
    const answer = await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(await answer.json()).toMatchObject({ persisted: true });
    expect(file()).toBe(
      `# What this is for.
device: {name: x0}
log:
  level: warn # loud enough
admin:
  tokens:
    - {name: ci, token: a-token-of-some-length, scopes: [reload]}
    - {name: look, token: another-token-of-some-length, scopes: [read]}
egress:
  fwmark: 7
`,
    );
    expect(statSync(plane.configFile).mode & 0o777).toBe(0o640);
  });

  test('is not written over what somebody has changed there', async () => {
    appendFileSync(plane.configFile, 'drain: 5s\n');
    const answer = await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(answer.status).toBe(409);
    expect(await answer.text()).toContain('has changed since it was read: reload it first');
    expect(level()).toBe('info');
    expect(file()).toContain('level: info');
  });

  test('is no news where the API has written it, or somebody has only touched it', async () => {
    const isNew = () => plane.configChanges.isNews({ isConfigOnly: true });
    await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(isNew()).toBe(false);
    expect(plane.configChanges.isNews({ isConfigOnly: false })).toBe(true);
    // It runs, and is not what the file says.
    await patch('{"log":{"level":"error"}}');
    expect(isNew()).toBe(false);
    appendFileSync(plane.configFile, '# a remark\n');
    expect(isNew()).toBe(false);
    appendFileSync(plane.configFile, 'drain: 5s\n');
    expect(isNew()).toBe(true);
    appendFileSync(plane.configFile, 'nonsense: [\n');
    expect(isNew()).toBe(true);
  });

  test('is no news while the API still writes', async () => {
    const news: boolean[] = [];
    let isOver = false;
    const writing = (async () => {
      await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
      isOver = true;
    })();
    for (const start = Date.now(); !isOver && Date.now() - start < 5_000; ) {
      news.push(plane.configChanges.isNews({ isConfigOnly: true }));
      await new Promise(setImmediate);
    }
    await writing;
    expect(news).not.toContain(true);
    expect(file()).toContain('level: warn');
  });

  test('is written when the config is in force: a slow disk delays only the answer', async () => {
    const seen: string[] = [];
    plane.configHooks.taken = () => void seen.push(level(), file());
    await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(seen).toEqual(['warn', expect.stringContaining('level: info')]);
    expect(file()).toContain('level: warn');
  });

  test('that cannot be written refuses the change before routes follow it', async () => {
    let followed = 0;
    plane.configHooks.follow = () => void followed++;
    mkdirSync(`${plane.configFile}.${process.pid}.new`);
    const answer = await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(answer.status).toBe(409);
    expect([followed, level()]).toEqual([0, 'info']);
  });

  test('that is lost meanwhile leaves a config that runs, and says so', async () => {
    plane.configHooks.follow = () => {
      rmSync(plane.configFile);
      mkdirSync(plane.configFile);
    };
    const answer = await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(await answer.json()).toMatchObject({ changed: true, persisted: false });
    expect(level()).toBe('warn');
    expect(readdirSync(dirname(plane.configFile)).sort()).toEqual(['autosave.json', 'config.yaml']);
  });

  test('that an editor saves meanwhile is not written over, and the answer says so', async () => {
    plane.configHooks.follow = () => appendFileSync(plane.configFile, 'drain: 5s\n');
    const answer = await patch('{"log":{"level":"warn"}}', ANY, '?persist=true');
    expect(await answer.json()).toMatchObject({ changed: true, persisted: false });
    expect(file()).toContain('level: info');
    expect(file()).toEndWith('drain: 5s\n');
  });

  test('is not written by a dry run', async () => {
    await patch('{"log":{"level":"warn"}}', ANY, '?persist=true&dry_run=true');
    expect(file()).toContain('level: info');
  });

  test('of what runs is kept for the next start', async () => {
    await patch('{"log":{"level":"warn"}}');
    const stateFolder = dirname(plane.configFile);
    const saved = loadAutosave({ stateFolder, overrides: [] });
    expect(saved?.config.log.level).toBe('warn');
    expect(saved).toMatchObject({ file: plane.configFile, folder: stateFolder });
    expect(statSync(join(stateFolder, 'autosave.json')).mode & 0o777).toBe(0o600);
    expect(loadAutosave({ stateFolder: '/nonexistent', overrides: [] })).toBeUndefined();
    await Bun.write(join(stateFolder, 'autosave.json'), '{"config":');
    expect(() => loadAutosave({ stateFolder, overrides: [] })).toThrow(
      'is no config that was saved',
    );
  });
});
