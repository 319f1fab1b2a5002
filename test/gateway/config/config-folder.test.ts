import { describe, expect, test } from 'bun:test';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasFiles } from '../../../src/gateway/config/documents.ts';
import { loadConfigFiles } from '../../../src/gateway/config/load.ts';

/** A folder with these files. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

describe('a folder of config files', () => {
  test('is merged in the order of names: mappings grow, lists are joined', () => {
    const folder = folderOf({
      '20-more.yaml': 'listeners: [{name: b, action: drop}]\nlog: {level: warn}\n',
      '10-base.json': '{"listeners": [{"name": "a", "action": "reject"}], "log": {"flows": false}}',
      '30-none.yml': '# nothing yet\n',
      '.hidden.yaml': 'nonsense: true',
      'notes.txt': 'nonsense: true',
    });
    const { config, file } = loadConfigFiles({ folder }, []);
    expect(config.listeners.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(config.log).toMatchObject({ level: 'warn', flows: false });
    expect(file).toBe(folder);
  });

  test('stands behind a file that is named as well, from whose folder paths start', () => {
    const folder = folderOf({ 'x.yaml': 'log: {level: warn}' });
    const base = folderOf({ 'c.yaml': 'device: {mtu: 1400}' });
    const loaded = loadConfigFiles({ file: join(base, 'c.yaml'), folder }, []);
    expect(loaded.config).toMatchObject({ device: { mtu: 1400 }, log: { level: 'warn' } });
    expect(loaded.folder).toBe(base);
  });

  test('that says a value in two ways names both places', () => {
    const folder = folderOf({
      'a.yaml': 'device:\n  mtu: 1400\n',
      'b.yaml': 'log: {level: warn}\ndevice: {mtu: 9000}\n',
      'c.yaml': 'device: {mtu: 1400}\n',
    });
    expect(() => loadConfigFiles({ folder }, [])).toThrow(
      `${folder}/b.yaml:2:15: device.mtu: says otherwise than ${folder}/a.yaml:2:8`,
    );
  });

  test('points at the file of an error, also inside of a joined list', () => {
    const folder = folderOf({
      'a.yaml': 'listeners:\n  - {name: a, action: drop}\n',
      'b.yaml': '\nlisteners:\n  - {name: b, action: nope}\n',
    });
    expect(() => loadConfigFiles({ folder }, [])).toThrow(`${folder}/b.yaml:3:23: listeners[1]`);
  });

  test('needs a file, and files that can be read', () => {
    expect(() => loadConfigFiles({ folder: folderOf({}) }, [])).toThrow('has no *.yaml');
    expect(() => loadConfigFiles({ folder: '/nonexistent' }, [])).toThrow('ENOENT');
    const folder = folderOf({});
    mkdirSync(join(folder, 'x.yaml'));
    expect(() => loadConfigFiles({ folder }, [])).toThrow('x.yaml: is no regular file');
  });
});

test('a folder that is not there has no files; what is no folder is for its reader', () => {
  const folder = folderOf({ 'x.yaml': '' });
  expect([hasFiles(folder), hasFiles(folderOf({})), hasFiles('/nonexistent')]).toEqual([
    true,
    false,
    false,
  ]);
  expect(hasFiles(join(folder, 'x.yaml'))).toBe(true);
});
