import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readAuthorities } from '../../../src/gateway/config/authorities.ts';
import { type LoadedConfig, parseConfig } from '../../../src/gateway/config/load.ts';
import { Authority } from '../../support/certificates.ts';

/** A config beside the files of an authority. */
function loadedWith(folder: string, ca?: string): LoadedConfig {
  const text = ca === undefined ? '{}' : `scripts: { tls: { ca: ${ca} } }`;
  return { config: parseConfig(text, 'c.yaml'), folder, file: 'c.yaml' } as LoadedConfig;
}

test('certificates are read, and nothing of what stands between them', () => {
  const { folder, pem } = new Authority();
  const block = pem.trim();
  writeFileSync(join(folder, 'two.pem'), `# ours\n${pem}\n# theirs\n${pem}`);
  expect(readAuthorities(loadedWith(folder, 'two.pem'))).toBe(`${block}\n${block}`);
  expect(readAuthorities(loadedWith(folder))).toBeUndefined();
});

test('what is no certificate is told with its place', () => {
  const { folder } = new Authority();
  const wrong = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  writeFileSync(join(folder, 'wrong.pem'), wrong);
  writeFileSync(join(folder, 'empty.pem'), 'nothing');
  const read = (ca: string) => () => readAuthorities(loadedWith(folder, ca));
  expect(read('wrong.pem')).toThrow(/scripts\.tls\.ca.*wrong\.pem.*certificate 1 is none/s);
  expect(read('empty.pem')).toThrow(/empty\.pem has no certificate in PEM/);
  expect(read('none.pem')).toThrow(/none\.pem cannot be read: ENOENT/);
});
