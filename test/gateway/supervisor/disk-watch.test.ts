import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validateConfig } from '../../../src/gateway/config/load.ts';
import { watchedFiles } from '../../../src/gateway/config/watched-files.ts';
import { type DiskChange, DiskWatch } from '../../../src/gateway/supervisor/disk-watch.ts';
import { PATIENT_TEST_MS, rememberingLog, until } from './support.ts';

setDefaultTimeout(PATIENT_TEST_MS);

const SETTLE_MS = 50;
const watches: DiskWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
});

/** As of scripts. */
const all = (folder: string) => [{ folder, kind: 'content' } as const];

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  const file = join(folder, 'a.ts');
  writeFileSync(file, 'one');
  const { log, lines } = rememberingLog();
  const seen = { changes: 0 };
  const watch = new DiskWatch(log, () => seen.changes++, SETTLE_MS);
  watches.push(watch);
  return { folder, file, lines, seen, watch };
}

test('many writes in a row are one change', async () => {
  const { folder, file, seen, watch } = setUp();
  watch.watch(all(folder));
  for (let i = 0; i < 5; i++) writeFileSync(file, `${i}`);
  await until(() => seen.changes > 0, 'the change');
  await Bun.sleep(3 * SETTLE_MS);
  expect(seen.changes).toBe(1);
});

test('a file that is replaced is seen, each time', async () => {
  const { folder, file, seen, watch } = setUp();
  watch.watch(all(folder));
  for (const count of [1, 2]) {
    writeFileSync(join(folder, 'next'), 'two');
    renameSync(join(folder, 'next'), file);
    await until(() => seen.changes === count, 'the change');
  }
});

test('what an editor leaves beside it is not, nor what a reload does', async () => {
  const { folder, seen, watch } = setUp();
  watch.watch(all(folder));
  const scratch = ['.a.ts.swp', 'a.ts~', '4913', '#a.ts#', 'c.yaml.17.new'];
  const written = ['autosave.json', 'routes-culvert0.json', 'routes-culvert0.lock'];
  for (const name of [...scratch, ...written]) writeFileSync(join(folder, name), 'x');
  await Bun.sleep(4 * SETTLE_MS);
  expect(seen.changes).toBe(0);
});

test('a folder that is not watched any more is not; one that is not there is told of', async () => {
  const { folder, file, seen, watch, lines } = setUp();
  watch.watch(all(folder));
  watch.watch(all(join(folder, 'none')));
  expect(lines).toMatchObject([{ msg: 'watch-failed', folder: join(folder, 'none') }]);
  writeFileSync(file, 'two');
  await Bun.sleep(4 * SETTLE_MS);
  expect(seen.changes).toBe(0);
});

describe('of a folder whose name another one has', () => {
  const LOOK_MS = 30;
  /** A folder in one that nobody watches; who looks never finds out by `watch` alone. */
  function setUpInside(lookMs: number) {
    const outside = mkdtempSync(join(tmpdir(), 'culvert-'));
    const folder = join(outside, 'scripts');
    mkdirSync(folder);
    const { log, lines } = rememberingLog();
    const seen = { changes: 0 };
    const watch = new DiskWatch(log, () => seen.changes++, SETTLE_MS, lookMs);
    watches.push(watch);
    const replace = () => {
      mkdirSync(join(outside, 'new'));
      renameSync(folder, `${mkdtempSync(join(outside, 'old-'))}/scripts`);
      renameSync(join(outside, 'new'), folder);
    };
    return { outside, folder, lines, seen, watch, replace };
  }
  const quiet = () => Bun.sleep(4 * SETTLE_MS);

  test('the next reload goes on with the new one', async () => {
    const { folder, seen, watch, replace } = setUpInside(1e6);
    watch.watch(all(folder));
    replace();
    await quiet();
    watch.watch(all(folder));
    seen.changes = 0;
    writeFileSync(join(folder, 'a.ts'), 'x');
    await until(() => seen.changes === 1, 'the change');
  });

  test('without a reload it is found, and is a change', async () => {
    const { outside, folder, lines, seen, watch } = setUpInside(LOOK_MS);
    const link = join(outside, 'current');
    symlinkSync(folder, link);
    mkdirSync(join(outside, 'next'));
    watch.watch(all(link));
    await quiet();
    expect(seen.changes).toBe(0);
    symlinkSync(join(outside, 'next'), join(outside, 'aside'));
    renameSync(join(outside, 'aside'), link);
    await until(() => seen.changes === 1, 'the change');
    expect(lines).toMatchObject([{ msg: 'watch-moved', folder: link }]);
    writeFileSync(join(outside, 'next', 'a.ts'), 'x');
    await until(() => seen.changes === 2, 'the change in the new one');
  });

  test('one that is deleted and made again is, also with the inode that it had', async () => {
    const { folder, seen, watch } = setUpInside(LOOK_MS);
    watch.watch(all(folder));
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await until(() => seen.changes > 0, 'the end of the old one');
    await quiet();
    seen.changes = 0;
    writeFileSync(join(folder, 'a.ts'), 'x');
    await until(() => seen.changes === 1, 'the change');
  });

  test('one that comes later is, and its absence is told once', async () => {
    const { outside, lines, seen, watch } = setUpInside(LOOK_MS);
    const late = join(outside, 'late');
    watch.watch(all(late));
    await Bun.sleep(5 * LOOK_MS);
    expect(lines.map(({ msg }) => msg)).toEqual(['watch-failed']);
    mkdirSync(late);
    await until(() => seen.changes === 1, 'the folder');
    expect(lines.map(({ msg }) => msg)).toEqual(['watch-failed', 'watch-moved']);
  });
});

describe('of a config', () => {
  function watchConfig(config: object, files: object) {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    for (const name of ['scripts', 'conf.d']) mkdirSync(join(folder, name));
    const { log } = rememberingLog();
    const changes: DiskChange[] = [];
    const watch = new DiskWatch(log, (change) => void changes.push(change), SETTLE_MS);
    watches.push(watch);
    const loaded = { config: validateConfig(config, 'c', []), folder };
    const placed = Object.entries(files).map(([key, name]) => [key, join(folder, String(name))]);
    watch.watch(watchedFiles(loaded, Object.fromEntries(placed)));
    /** What is told after these were written. */
    const after = async (...names: string[]) => {
      for (const name of names) writeFileSync(join(folder, name), 'x');
      await Bun.sleep(4 * SETTLE_MS);
      return changes.splice(0);
    };
    return { folder, changes, after };
  }
  const CONFIG = {
    scripts: { files: 'scripts/*.ts', sets: { deny: { type: 'cidr', file: 'deny.txt' } } },
    admin: { tokens: [{ name: 'ci', tokenFile: 'token', scopes: ['read'] }] },
  };

  test('the file is seen, and nothing else that lies beside it', async () => {
    const { after } = watchConfig(CONFIG, { file: 'config.yaml' });
    expect(await after('config.yaml')).toEqual([{ isConfigOnly: true }]);
    expect(await after('other.yaml', 'config.yaml.7.new', 'xconfig.yaml')).toEqual([]);
  });

  test('so are sets, tokens and scripts, which are more than the config', async () => {
    const { after } = watchConfig(CONFIG, { file: 'config.yaml' });
    for (const name of ['deny.txt', 'token', 'scripts/a.ts']) {
      expect(await after(name)).toEqual([{ isConfigOnly: false }]);
    }
    expect(await after('config.yaml', 'deny.txt')).toEqual([{ isConfigOnly: false }]);
    expect(await after('config.yaml')).toEqual([{ isConfigOnly: true }]);
  });

  test('of a folder every config is, also a new one', async () => {
    const { after } = watchConfig({}, { folder: 'conf.d' });
    expect(await after('conf.d/10-new.yaml')).toEqual([{ isConfigOnly: true }]);
    expect(await after('conf.d/README', 'conf.d/.hidden.yaml')).toEqual([]);
  });

  test('among scripts it is still a config', async () => {
    const config = { scripts: { files: '*.ts' } };
    const { after } = watchConfig(config, { file: 'config.yaml' });
    expect(await after('config.yaml')).toEqual([{ isConfigOnly: true }]);
    expect(await after('a.ts')).toEqual([{ isConfigOnly: false }]);
  });

  test('in a volume of Kubernetes the link that is replaced stands for all', async () => {
    const { folder, changes } = watchConfig({}, { file: 'config.yaml' });
    mkdirSync(join(folder, '..2026'));
    symlinkSync('..2026', join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    await until(() => changes.length === 1, 'the change');
    expect(changes).toEqual([{ isConfigOnly: true }]);
  });
});
