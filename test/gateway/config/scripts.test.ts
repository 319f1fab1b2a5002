import { describe, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadConfigFile } from '../../../src/gateway/config/load.ts';
import { readScripts } from '../../../src/gateway/config/scripts.ts';
import { readSets } from '../../../src/gateway/config/sets.ts';

/** A config that lies in a folder with these files. */
function configIn(
  config: string,
  files: Readonly<Record<string, string>>,
  folder = mkdtempSync(join(tmpdir(), 'culvert-')),
) {
  for (const [path, text] of Object.entries({ ...files, 'c.yaml': config })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return loadConfigFile(join(folder, 'c.yaml'), []);
}

const scriptsOf = (...args: Parameters<typeof configIn>) => readScripts(configIn(...args));

test('a script is a path, or a file with what it may do', () => {
  const config = `
scripts:
  load:
    - scripts/first.ts
    - file: scripts/second.js
      name: renamed
      allow: ['10.0.0.0/8:443', '*.corp.example:*']
      schedule:
        probe: { every: 30s }
        night: { cron: '0 3 * * *' }
`;
  const [first, second, ...more] = scriptsOf(config, {
    'scripts/first.ts': 'one',
    'scripts/second.js': 'two',
  });
  expect(more).toBeEmpty();
  expect(first).toEqual({ name: 'first', file: expect.any(String), source: 'one' });
  expect(second).toEqual({
    name: 'renamed',
    file: expect.stringMatching(/scripts\/second\.js$/),
    source: 'two',
    allow: ['10.0.0.0/8:443', '*.corp.example:*'],
    schedule: { probe: { everyMs: 30_000 }, night: { cron: '0 3 * * *' } },
  });
});

test.each([
  [
    'a name that no script can have',
    "[' .ts']",
    'cannot be the name of a script: give it a "name"',
  ],
  ['two of one name', '[a/x.ts, b/x.ts]', 'two scripts have the same name'],
  ['a time that is none', '[{file: x.ts, schedule: {a: {every: 10ms}}}]', 'between 1s and 24h'],
  ['no time', '[{file: x.ts, schedule: {a: {}}}]', 'expected either "every" or "cron"'],
  ['an unknown setting', '[{file: x.ts, permit: []}]', 'scripts.load[0].permit: unknown key'],
])('%s is an error', (_, load, message) => {
  expect(() => scriptsOf(`scripts: {load: ${load}}`, {})).toThrow(message);
});

test('a script that cannot be read is named with its place in the config', () =>
  expect(() => scriptsOf('drain: 1s\nscripts:\n  load:\n    - nope.ts\n', {})).toThrow(
    /c\.yaml:4:7: scripts\.load\[0\]\.file: .* cannot be read: ENOENT$/,
  ));

test('the tests of a script belong to it', () => {
  const [script] = scriptsOf('scripts: {load: [route.ts]}', {
    'route.ts': 'one',
    'route.test.ts': 'its test',
    'other.test.ts': 'of another',
  });
  expect(script?.tests).toEqual({ 'route.test.ts': 'its test' });
});

describe('what a script imports', () => {
  const ROUTE = "import { a } from './lib/a';\nimport names from './names.json';\n";

  test('is read with it, and what only its tests import is read with them', () => {
    const files = {
      'route.ts': ROUTE,
      'lib/a.ts': "import '../route'; import './b.js';",
      'lib/b.js': 'b',
      'names.json': '{}',
      'lib/unused.ts': 'unused',
      'route.test.ts': "import route from './route'; import flows from './flows.json'; './lib/a'",
      'flows.json': '[]',
    };
    const [script] = scriptsOf('scripts: {load: [route.ts]}', files);
    const { 'route.ts': source, 'lib/unused.ts': _, ...rest } = files;
    const { 'route.test.ts': test, 'flows.json': flows, ...modules } = rest;
    expect(script).toMatchObject({ source, modules });
    expect(script?.modules).not.toHaveProperty('lib/unused.ts');
    expect(script?.tests).toEqual({ 'route.test.ts': test, 'flows.json': flows });
  });

  test('lies below its folder, or below scripts.root', () => {
    const files = {
      'scripts/edge/route.ts': "import '../shared/a.ts';\nimport '../../secret.ts';",
      'scripts/shared/a.ts': "import '../../secret.ts';",
      'secret.ts': 'secret',
    };
    const [alone] = scriptsOf('scripts: {load: [scripts/edge/route.ts]}', files);
    expect(alone?.modules).toBeUndefined();
    const [rooted] = scriptsOf('scripts: {root: scripts, load: [scripts/edge/route.ts]}', files);
    expect(rooted?.modules).toEqual({ '../shared/a.ts': files['scripts/shared/a.ts'] });
  });

  test('is not read through a link that leads out of there', () => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    mkdirSync(join(folder, 'scripts/inner'), { recursive: true });
    writeFileSync(join(folder, 'secret.ts'), 'secret');
    writeFileSync(join(folder, 'scripts/inner/kept.ts'), 'kept');
    symlinkSync(join(folder, 'secret.ts'), join(folder, 'scripts/out.ts'));
    symlinkSync(folder, join(folder, 'scripts/up'));
    symlinkSync('inner/kept.ts', join(folder, 'scripts/in.ts'));
    const source = "import './out'; import './up/secret'; import './in';";
    const [script] = scriptsOf(
      'scripts: {load: [scripts/route.ts]}',
      { 'scripts/route.ts': source },
      folder,
    );
    expect(script?.modules).toEqual({ 'in.ts': 'kept' });
  });

  test('is at most 64 files, each of which can be read', () => {
    const many = Object.fromEntries(
      Array.from({ length: 70 }, (_, i) => [`f${i}.ts`, `import './f${i + 1}';`]),
    );
    const config = 'scripts: {load: [f0.ts]}';
    expect(() => scriptsOf(config, many)).toThrow('"f0" has more than 64 files');
    const few = { 'f0.ts': "import './f1'", 'f1.ts/x': '' };
    expect(() => scriptsOf(config, few)).toThrow('f1.ts is no regular file');
  });
});

describe('a set', () => {
  const config = `
scripts:
  sets:
    blocked: { type: cidr, file: sets/blocked.txt }
    corp: { type: domain, file: sets/corp.txt }
`;
  test('is a file of one entry a line', () => {
    const loaded = configIn(config, {
      'sets/blocked.txt': '# nobody\n192.0.2.0/24\nfd00::/8\n',
      'sets/corp.txt': '.corp.example # all\n',
    });
    expect(readSets(loaded)).toEqual({
      blocked: { type: 'cidr', text: '192.0.2.0/24\nfd00::/8' },
      corp: { type: 'domain', text: '.corp.example' },
    });
  });

  test('that cannot be used is an error with file and line', () => {
    const loaded = configIn(config, { 'sets/blocked.txt': '::1\n\nexample.com\n' });
    expect(() => readSets(loaded)).toThrow(/sets\/blocked\.txt:3: "example\.com" is neither/);
    expect(() => readSets(loaded)).toThrow(/sets\/corp\.txt cannot be read: ENOENT/);
  });
});
