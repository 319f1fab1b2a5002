import { describe, expect, test } from 'bun:test';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { maskSecrets } from '../../../src/gateway/config/config-value.ts';
import { type ConfigSource, loadConfig } from '../../../src/gateway/config/default-config.ts';
import { loadEnvFile } from '../../../src/gateway/config/env-file.ts';
import { settingsOf } from '../../../src/gateway/config/environ.ts';
import { collectOverrides } from '../../../src/gateway/config/overrides.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
const file = join(folder, 'c.yaml');

function settings(text: string, flags = {}, env = {}) {
  writeFileSync(file, text);
  const source: ConfigSource = {
    file,
    stateFolder: folder,
    overrides: collectOverrides(flags, env),
  };
  const list = settingsOf(source, loadConfig(source).config);
  return (path: string) => list.find((setting) => setting.path === path);
}

describe('each setting has its value and who said it', () => {
  test('a flag, a variable, a short name, the file, the default', () => {
    const of = settings(
      'device: {name: a0, mtu: 1400}\nlog:\n  flows: false\n',
      { mtu: '9000' },
      { CULVERT_LOG_LEVEL: 'warn', FWMARK: '0x10', TUN_EXCLUDED_ROUTES: '10.0.0.0/8, fd00::/8' },
    );
    expect(of('device.mtu')).toMatchObject({ value: 9000, source: '--mtu' });
    expect(of('log.level')).toMatchObject({ value: 'warn', source: 'CULVERT_LOG_LEVEL' });
    expect(of('egress.fwmark')).toMatchObject({ value: '0x10', source: 'FWMARK' });
    expect(of('routes.exclude')).toMatchObject({ value: ['10.0.0.0/8', 'fd00::/8'] });
    expect(of('device.name')).toMatchObject({ value: 'a0', source: `${file}:1:16` });
    expect(of('log.flows')).toMatchObject({ value: false, source: `${file}:3:10` });
    expect(of('timeouts.idle')).toEqual({ path: 'timeouts.idle', value: '1h', source: 'default' });
  });

  test('a value that follows from another says so', () => {
    const of = settings('routes: {auto: true}\nlimits: {heldSyns: 300}');
    expect(of('egress.fwmark')).toMatchObject({ value: 7100, source: 'derived' });
    expect(of('limits.heldSynsPerSource')).toMatchObject({ value: 200, source: 'derived' });
  });

  test('a secret is masked, and the file that holds one is not', () => {
    const of = settings(
      'admin: {token: 0123456789abcdef}\nscripts: {vars: {API_KEY: x, apiToken: y}}',
    );
    expect(of('admin.token')).toMatchObject({ value: '***' });
    expect(of('scripts.vars')).toMatchObject({ value: { API_KEY: '***', apiToken: '***' } });
    expect(settings('admin: {tokenFile: /x}')('admin.tokenFile')).toMatchObject({ value: '/x' });
  });
});

test('passwords in addresses are masked, users and hosts are not', () =>
  expect(maskSecrets(['socks5://me:pass@10.0.0.1:1080', 'http://h/'])).toEqual([
    'socks5://me:***@10.0.0.1:1080',
    'http://h/',
  ]));

test('variables of a file are added; what is set already wins', () => {
  writeFileSync(
    join(folder, 'env'),
    '# comment\nCULVERT_MTU=1400\nexport TUN="x 0"\nLOGLEVEL=warn\n',
  );
  const env: Record<string, string | undefined> = { LOGLEVEL: 'debug' };
  loadEnvFile(join(folder, 'env'), env);
  expect(env).toEqual({ CULVERT_MTU: '1400', TUN: 'x 0', LOGLEVEL: 'debug' });
  expect(() => loadEnvFile('/nonexistent', env)).toThrow('cannot be read: ENOENT');
});
