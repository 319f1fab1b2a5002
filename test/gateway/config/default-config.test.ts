import { expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  loadConfig,
  materialiseDefaultScript,
} from '../../../src/gateway/config/default-config.ts';
import { ConfigError } from '../../../src/gateway/config/load.ts';
import { readScripts } from '../../../src/gateway/config/scripts.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'culvert-'));

test('without a config the default script is written to disk and loaded from there', () => {
  const stateFolder = folder();
  const path = materialiseDefaultScript(stateFolder);
  const loaded = loadConfig({ stateFolder, overrides: [] });
  const [script] = readScripts(loaded);
  expect(loaded.file).toBeUndefined();
  expect(script?.source).toBe(readFileSync(path, 'utf8'));
  expect(script?.source).toContain('198.18.0.80');
});

test('an edited default script is left as it is', () => {
  const stateFolder = folder();
  const path = materialiseDefaultScript(stateFolder);
  writeFileSync(path, 'edited');
  materialiseDefaultScript(stateFolder);
  expect(readFileSync(path, 'utf8')).toBe('edited');
});

test('a glob loads scripts by name and leaves tests and declarations out', () => {
  const stateFolder = folder();
  for (const name of ['b.ts', 'a.ts', 'a.test.ts', 'x.d.ts'])
    writeFileSync(join(stateFolder, name), name);
  writeFileSync(join(stateFolder, 'c.yaml'), 'scripts: {files: "*.ts"}');
  const loaded = loadConfig({ file: join(stateFolder, 'c.yaml'), stateFolder, overrides: [] });
  expect(readScripts(loaded).map((script) => script.name)).toEqual(['a', 'b']);
});

test('each script that cannot be read is an issue of its place', () => {
  const stateFolder = folder();
  const file = join(stateFolder, 'c.yaml');
  writeFileSync(file, 'scripts: {load: [{name: a, file: no.ts}, {name: b, file: none.ts}]}');
  const loaded = loadConfig({ file, stateFolder, overrides: [] });
  try {
    readScripts(loaded);
    throw new Error('the scripts were read');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.issues.map((issue) => issue.path)).toEqual([
      'scripts.load[0].file',
      'scripts.load[1].file',
    ]);
    expect(error.message).toContain('no.ts cannot be read: ENOENT');
  }
});

test('a script that is no file is an issue, and not waited for', () => {
  const stateFolder = folder();
  const file = join(stateFolder, 'c.yaml');
  Bun.spawnSync(['mkfifo', join(stateFolder, 'fifo.ts')]);
  symlinkSync('real.ts', join(stateFolder, 'link.ts'));
  writeFileSync(join(stateFolder, 'real.ts'), 'x');
  writeFileSync(file, 'scripts: {load: [{name: a, file: fifo.ts}, {name: b, file: .}]}');
  const loaded = loadConfig({ file, stateFolder, overrides: [] });
  expect(() => readScripts(loaded)).toThrow(/fifo\.ts is no regular file\n.* is no regular file/);
  writeFileSync(file, 'scripts: {load: [{name: c, file: link.ts}]}');
  const linked = loadConfig({ file, stateFolder, overrides: [] });
  expect(readScripts(linked)[0]?.source).toBe('x');
});

test('a bundle has a limit', () => {
  const stateFolder = folder();
  writeFileSync(join(stateFolder, 'big.ts'), '/'.repeat(1024 * 1024 + 1));
  writeFileSync(join(stateFolder, 'c.yaml'), 'scripts: {files: "*.ts"}');
  const loaded = loadConfig({ file: join(stateFolder, 'c.yaml'), stateFolder, overrides: [] });
  expect(() => readScripts(loaded)).toThrow('big.ts has 1048577 bytes, at most 1048576');
  writeFileSync(join(stateFolder, 'big.ts'), '/'.repeat(1024 * 1024));
  writeFileSync(join(stateFolder, 'small.ts'), '//');
  expect(() => readScripts(loaded)).toThrow('1048578 bytes of source in all scripts');
});
