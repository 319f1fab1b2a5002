import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from '../../support/scratch.ts';
import { culvertIn } from './run-cli.ts';

const folder = scratchFolder('cli');
const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
const culvert = culvertIn(folder);

describe('culvert environ', () => {
  test('says who said it: flag, variable, file of variables, file, default', async () => {
    write('c.yaml', 'device: {name: file0, mtu: 1400}\nadmin: {token: 0123456789abcdef}\n');
    write('env', 'CULVERT_LOG_LEVEL=warn\nCULVERT_MTU=1300\n');
    const run = culvertIn(folder, '', { CULVERT_MTU: '1350', CULVERT_MTTU: '1' });
    const { code, out, err } = await run(
      ...['environ', '--envfile', 'env', '-c', 'c.yaml', '--interface', 'eth7'],
    );
    expect(code).toBe(0);
    const rows = out.split('\n').map((row) => row.split(/ {2,}/));
    const of = (path: string) => rows.find(([name]) => name === path)?.slice(1);
    expect(of('device.name')).toEqual(['file0', 'c.yaml:1:16']);
    expect(of('device.mtu')).toEqual(['1350', 'CULVERT_MTU']);
    expect(of('log.level')).toEqual(['warn', 'CULVERT_LOG_LEVEL']);
    expect(of('egress.interface')).toEqual(['eth7', '--interface']);
    expect(of('timeouts.idle')).toEqual(['1h', 'default']);
    expect(of('admin.token')?.[0]).toBe('***');
    expect(out).not.toContain('0123456789abcdef');
    expect(err).toBe('culvert: CULVERT_MTTU is read by nothing, did you mean CULVERT_MTU?\n');
  });

  test('reads a file of variables that a variable names, and says when it cannot', async () => {
    write('more', 'TUN=tun7\n');
    const named = culvertIn(folder, '', { CULVERT_ENVFILE: 'more' });
    expect((await named('environ', '-c', 'c.yaml', '--json')).out).toContain('"tun7"');
    expect(await culvert('environ', '--envfile', 'nope')).toMatchObject({
      code: 1,
      err: 'culvert: --envfile nope cannot be read: ENOENT\n',
    });
  });
});

describe('culvert check', () => {
  test('--json lists what is wrong, with file, line and column', async () => {
    mkdirSync(join(folder, 'conf.d'), { recursive: true });
    write('conf.d/a.yaml', 'device: {mtu: 1400}\n');
    write('conf.d/b.yaml', 'devise: {}\ndevice: {mtu: 12}\n');
    const { code, out } = await culvert('check', '--json', '-C', 'conf.d');
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      ok: false,
      errors: [{ path: 'device.mtu', file: join(folder, 'conf.d/b.yaml'), line: 2, column: 15 }],
    });
    write('conf.d/b.yaml', 'devise: {}\n');
    expect(JSON.parse((await culvert('validate', '--json', '-C', 'conf.d')).out)).toMatchObject({
      errors: [{ message: 'unknown key, did you mean "device"?', line: 1 }],
    });
    write('conf.d/b.yaml', 'log: {level: warn}\n');
    const fine = await culvert('run', '-t', '-C', 'conf.d');
    expect(fine).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse((await culvert('check', '--json', '-C', 'conf.d')).out)).toEqual({
      ok: true,
      config: join(folder, 'conf.d'),
      scripts: [],
      errors: [],
    });
  });
});

describe('culvert format', () => {
  const UGLY = 'log: {level: "warn"} # loud\ndevice: {mtu: 1400}\n';
  const FINE = 'device: { mtu: 1400 }\nlog: { level: warn } # loud\n';

  test('prints, compares, and writes with the mode that the file had', async () => {
    write('f.yaml', UGLY);
    expect(await culvert('format', 'f.yaml')).toMatchObject({ code: 0, out: FINE });
    expect(await culvert('format', '--check', 'f.yaml')).toMatchObject({
      code: 1,
      out: 'f.yaml\n',
    });
    expect(readFileSync(join(folder, 'f.yaml'), 'utf8')).toBe(UGLY);
    const { mode } = statSync(join(folder, 'f.yaml'));
    expect(await culvert('format', '-w', 'f.yaml')).toMatchObject({ code: 0, out: 'f.yaml\n' });
    expect(readFileSync(join(folder, 'f.yaml'), 'utf8')).toBe(FINE);
    expect(statSync(join(folder, 'f.yaml')).mode).toBe(mode);
    expect(await culvert('format', '-w', '--check', 'f.yaml')).toMatchObject({ code: 0, out: '' });
  });

  test('leaves a file that is no YAML alone', async () => {
    write('bad.yaml', 'a: [1\n');
    const { code, err } = await culvert('format', '-w', 'bad.yaml');
    expect(code).toBe(1);
    expect(err).toContain('bad.yaml:');
    expect(readFileSync(join(folder, 'bad.yaml'), 'utf8')).toBe('a: [1\n');
  });
});

test('help of run names the variable of each flag, short names included', async () => {
  const { out } = await culvert('run', '--help');
  expect(out.replace(/\s+/g, ' ')).toContain('(env: CULVERT_MTU, MTU)');
  expect(out.replace(/\s+/g, ' ')).toContain('(env: CULVERT_READY_FD)');
});
