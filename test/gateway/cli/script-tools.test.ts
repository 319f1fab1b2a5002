/** The tools of script authors, as commands: no gateway runs here. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { culvertIn } from './run-cli.ts';

/** Each starts processes; a busy machine takes its time. */
setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));

const culvert = culvertIn(folder);

const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

const script = (verdict: string): string =>
  `import { decline, forward, reject } from 'culvert';
export default { flow(f, env) { return ${verdict}; } };
`;

const testOf = (name: string, verdict: string): string =>
  `import { expect, flow, run, test } from 'culvert:test';
import script from './${name}';
test('port 22 is closed', async () => {
  const r = await run(script, flow({ src: '10.0.0.5:1', dst: '192.0.2.1:22' }));
  expect(r.text).toBe('${verdict}');
});
`;

const listed = (dst_port: number) => ({
  ...{ id: 'a', proto: 'tcp', src: '10.0.0.5', src_port: 1, dst: '192.0.2.1', dst_port },
  start: '2026-01-01T00:00:00.000Z',
});

beforeAll(() => {
  mkdirSync(join(folder, 'good'));
  mkdirSync(join(folder, 'bad'));
  write('good/route.ts', script(`f.dst.port === 22 ? reject() : forward(env.vars.to)`));
  write('good/route.test.ts', testOf('route', 'reject'));
  write('bad/strict.ts', script('reject()'));
  write('bad/strict.test.ts', testOf('strict', 'decline'));
  write('flows.json', JSON.stringify({ flows: [listed(22), listed(80)] }));
});

describe('script test', () => {
  test('prints each test and ends with 0 when all pass', async () => {
    const { code, out } = await culvert('script', 'test', 'good/route.ts');
    expect(out).toMatch(/^good\/route\.test\.ts:\n\(pass\) port 22 is closed \[.*ms\]\n/);
    expect(out).toContain('\n 1 pass\n 0 fail\nRan 1 tests across 1 files. [');
    expect(code).toBe(0);
  });

  test('tells what becomes of a flow when its script fails, as a config has it', async () => {
    mkdirSync(join(folder, 'falls'), { recursive: true });
    write('falls/over.ts', script('f.none.at'));
    write('falls/over.test.ts', testOf('over', 'failed error onError=forward'));
    write('forward.yaml', 'scripts: {onError: forward}');
    expect((await culvert('script', 'test', 'falls', '-c', 'forward.yaml')).code).toBe(0);
    write('falls/over.test.ts', testOf('over', 'failed error'));
    expect((await culvert('script', 'test', 'falls')).code).toBe(0);
    rmSync(join(folder, 'falls'), { recursive: true });
  });

  test('finds the tests of a folder, and ends with 1 and the place of what failed', async () => {
    const { code, out } = await culvert('script', 'test');
    expect(code).toBe(1);
    expect(out).toContain(
      'error: bad/strict.test.ts:5:22: ExpectationError: expect(actual).toBe("decline")\n' +
        '  actual: "reject"\n(fail) port 22 is closed',
    );
    expect(out).toContain(' 1 pass\n 1 fail\n');
  });

  test('gives the report as JSON', async () => {
    const { out } = await culvert('script', 'test', '--json', 'good/route.test.ts', '-t', 'port');
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      passed: 1,
      files: [{ script: 'route', tests: [{ path: ['port 22 is closed'], outcome: 'passed' }] }],
    });
  });

  test('prints what a script wrote in a test that failed', async () => {
    mkdirSync(join(folder, 'wordy'), { recursive: true });
    const route = script(`(console.log('asked'), ctx.log.warn({ n: 1 }, 'twice'), decline())`);
    write('wordy/talks.ts', route.replace('flow(f, env)', 'flow(f, env, ctx)'));
    write('wordy/talks.test.ts', testOf('talks', 'reject'));
    const { out } = await culvert('script', 'test', 'wordy');
    expect(out).toContain(
      '\n  actual: "decline"\n  info: asked\n  warn: twice {"n":1}\n(fail) port 22 is closed',
    );
  });

  test('ends with 1 when there is no test, or no such script', async () => {
    write('alone.ts', script('decline()'));
    expect(await culvert('script', 'test', 'alone.ts')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no tests found'),
    });
    expect((await culvert('script', 'test', 'gone.ts')).err).toContain('gone.ts');
  });
});

describe('script replay', () => {
  test('prints a verdict for each flow, and how often each came', async () => {
    const { code, out } = await culvert('script', 'replay', 'flows.json', 'good/route.ts');
    const lines = out.trimEnd().split('\n');
    expect(lines[1]).toMatch(/^tcp {4}10\.0\.0\.5:1 {2}192\.0\.2\.1:22 +route +\d+ {2}reject$/);
    expect(lines[2]).toMatch(/forward$/);
    expect(lines.slice(-3)).toEqual(['FLOWS  VERDICT', '    1  reject', '    1  forward']);
    expect(code).toBe(0);
  });

  test('asks all scripts of a config, with its vars', async () => {
    write(
      'config.yaml',
      'scripts: {load: [{name: r, file: good/route.ts}], vars: {to: "10.9.0.1:1"}}',
    );
    const { out } = await culvert('script', 'replay', '--json', 'flows.json', 'config.yaml');
    expect(JSON.parse(out)).toMatchObject([
      { text: 'reject', script: 'r' },
      { text: 'forward 10.9.0.1:1' },
    ]);
  });

  test('tells what becomes of a flow when scripts fail, as a config has it', async () => {
    write('fails.ts', script(`f.dst.port === 22 ? f.none.at : decline()`));
    const load = 'load: [fails.ts, good/route.ts]';
    const texts = async (onError: string) => {
      write('fails.yaml', `scripts: {onError: ${onError}, ${load}}`);
      const { out } = await culvert('script', 'replay', '--json', 'flows.json', 'fails.yaml');
      return JSON.parse(out).map(({ text }: { text: string }) => text);
    };
    expect(await texts('forward')).toEqual(['failed error onError=forward', 'forward']);
    expect(await texts('decline')).toEqual(['reject', 'forward']);
    expect(await texts('reject')).toEqual(['failed error', 'forward']);
  });

  test('asks with the names that flows were seen with', async () => {
    const flows = [{ ...listed(22), seen_name: 'a.example', dns_name: 'up.example' }, listed(80)];
    write('named.json', JSON.stringify({ flows }));
    write('named.ts', script(`f.dnsName === 'a.example' ? reject() : decline()`));
    const { out } = await culvert('script', 'replay', '--json', 'named.json', 'named.ts');
    expect(JSON.parse(out)).toMatchObject([{ text: 'reject' }, { text: 'decline' }]);
  });

  test('asks with the sets of a config', async () => {
    write('blocked.txt', '192.0.2.0/24\n');
    write('set.ts', script(`env.sets.has('blocked', f.dst.ip) ? reject() : decline()`));
    write(
      'sets.yaml',
      'scripts: {load: [set.ts], sets: {blocked: {type: cidr, file: blocked.txt}}}',
    );
    const { out } = await culvert('script', 'replay', '--json', 'flows.json', 'sets.yaml');
    expect(JSON.parse(out)).toMatchObject([{ text: 'reject' }, { text: 'reject' }]);
  });

  test('says what is wrong with the flows or with a script', async () => {
    write('broken.json', '{"flows": [{}]}');
    const flows = await culvert('script', 'replay', 'broken.json', 'good/route.ts');
    expect(flows).toMatchObject({ code: 1, err: expect.stringContaining('broken.json: ') });
    write('broken.ts', 'export default {');
    const { code, err } = await culvert('script', 'replay', 'flows.json', 'broken.ts');
    expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining('broken.ts:1') });
    const limit = await culvert('script', 'replay', '--limit', 'x', 'flows.json', 'broken.ts');
    expect(limit.code).toBe(2);
  });
});

describe('script diff', () => {
  test('shows what is decided differently; the code tells only when asked for', async () => {
    const args = ['script', 'diff', 'good/route.ts', 'bad/strict.ts', '--flows', 'flows.json'];
    const { code, out } = await culvert(...args);
    expect(code).toBe(0);
    expect(out).toEndWith('\n1 of 2 flows are decided differently\n');
    expect(out).toMatch(/192\.0\.2\.1:80 +forward +reject\n/);
    expect((await culvert(...args, '--exit-code')).code).toBe(1);
    expect(JSON.parse((await culvert(...args, '--json')).out)).toMatchObject({
      flows: 2,
      changed: 1,
      changes: [{ before: { text: 'forward' }, after: { text: 'reject' } }],
    });
  });
});

describe('a script that no limit stops', () => {
  test.each([
    [
      ['script', 'test', 'bomb/bomb.ts', '--timeout', '4s'],
      'bomb/bomb.test.ts > port 22 is closed: ',
    ],
    [['script', 'replay', 'flows.json', 'bomb/bomb.ts', '--timeout', '4s'], 'flows 1 to 2: '],
    [
      [
        'script',
        'diff',
        'good/route.ts',
        'bomb/bomb.ts',
        '--flows',
        'flows.json',
        '--timeout',
        '4s',
      ],
      'flows 1 to 2: ',
    ],
  ])('ends %p with what it was doing', async (args, during) => {
    mkdirSync(join(folder, 'bomb'), { recursive: true });
    const bomb = '[].includes.call({ length: 2 ** 53 - 1 } as any, 1 as never)';
    write('bomb/bomb.ts', script(`${bomb} ? reject() : decline()`));
    write('bomb/bomb.test.ts', testOf('bomb', 'reject'));
    const { code, err } = await culvert(...args);
    expect(err).toStartWith(`culvert: ${during}no `);
    expect(err).toContain('4000 ms');
    expect(code).toBe(1);
  });

  test('takes no time that is none', async () => {
    const { code } = await culvert('script', 'test', 'good', '--timeout', 'soon');
    expect(code).toBe(2);
  });
});

describe('script new', () => {
  test.each(['by-port', 'rate-limit'])(
    'template %s: tests pass and types fit',
    async (template) => {
      const name = `new/my-${template}`;
      const made = await culvert('script', 'new', name, '--template', template);
      expect(made.out).toStartWith(`${name}.ts\n${name}.test.ts\n`);
      expect(made.code).toBe(0);
      const { out, code } = await culvert('script', 'test', `${name}.ts`);
      expect(out).toContain(' 0 fail\n');
      expect(code).toBe(0);
      const tsc = `${import.meta.dir}/../../../node_modules/.bin/tsc`;
      const checked = Bun.spawnSync([tsc, '-p', join(folder, 'new')]);
      expect(checked.stdout.toString()).toBe('');
    },
  );

  test('overwrites nothing', async () => {
    write('kept.ts', 'mine');
    const { code, err } = await culvert('script', 'new', 'kept');
    expect({ code, err }).toEqual({
      code: 1,
      err: 'culvert: kept.ts is there already, and stays as it is\n',
    });
    expect(await Bun.file(join(folder, 'kept.ts')).text()).toBe('mine');
    expect(await Bun.file(join(folder, 'kept.test.ts')).exists()).toBe(false);
  });

  test('takes no name that a gateway would refuse, and no unknown template', async () => {
    expect((await culvert('script', 'new', 'a b')).code).toBe(2);
    expect((await culvert('script', 'new', 'a', '--template', 'x')).code).toBe(2);
  });
});

describe('script check', () => {
  const bin = `${import.meta.dir}/../../../node_modules/.bin`;

  const withTsc = culvertIn(folder, '', { PATH: `${bin}:${process.env['PATH']}` });

  test('finds what types forbid, where there is a tsc', async () => {
    write('typed.ts', script('reject({ with: "nothing" })'));
    const { code, out } = await withTsc('script', 'check', '--json', 'typed.ts');
    expect(JSON.parse(out)).toMatchObject({
      ok: false,
      types_checked: true,
      issues: [{ script: 'typed', file: 'typed.ts', line: 2, column: 49, kind: 'type' }],
    });
    expect(code).toBe(1);
  });

  test('checks types as strictly as the tsconfig.json beside the script wants', async () => {
    expect((await withTsc('script', 'check', 'good/route.ts')).code).toBe(0);
    await culvert('script', 'new', 'strict/made');
    write('strict/loose.ts', script('reject()'));
    expect((await withTsc('script', 'check', 'strict/made.ts')).code).toBe(0);
    expect((await withTsc('script', 'check', 'strict/loose.ts')).err).toContain(
      "strict/loose.ts:2:23: TS7006: Parameter 'f' implicitly has an 'any' type.",
    );
  });

  test('says when there is none', async () => {
    const withoutTsc = culvertIn(folder, '', { PATH: '/nonexistent' });
    write('untyped.ts', script('reject({ with: "rst" })'));
    const { code, out } = await withoutTsc('script', 'check', 'untyped.ts');
    expect({ code, out }).toEqual({
      code: 0,
      out: 'untyped.ts: ok (no tsc found: types unchecked)\n',
    });
  });
});
