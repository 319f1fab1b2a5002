import { expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadConfigFile } from '../../../src/gateway/config/load.ts';
import { readScripts } from '../../../src/gateway/config/scripts.ts';

/** Reads the scripts of a config that lies in a folder with these files. */
function scriptsOf(config: string, files: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  for (const [path, text] of Object.entries({ ...files, 'c.yaml': config })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return readScripts(loadConfigFile(join(folder, 'c.yaml'), []));
}

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

test('the tests of a script belong to it', () => {
  const [script] = scriptsOf('scripts: {load: [route.ts]}', {
    'route.ts': 'one',
    'route.test.ts': 'its test',
    'other.test.ts': 'of another',
  });
  expect(script?.tests).toEqual({ 'route.test.ts': 'its test' });
});
