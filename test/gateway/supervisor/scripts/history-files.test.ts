import { beforeEach, describe, expect, test } from 'bun:test';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Generation } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import {
  type Activator,
  Generations,
} from '../../../../src/gateway/supervisor/scripts/generations.ts';
import { readHashKey } from '../../../../src/gateway/supervisor/scripts/hash-key.ts';
import { HistoryFiles } from '../../../../src/gateway/supervisor/scripts/history-files.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { rememberingLog } from '../support.ts';

const LENGTH = 3;
let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'generations');
});

const generation = (number: number): Generation => ({
  number,
  hash: `h${number}`,
  origin: 'api',
  createdAt: 5,
  scripts: [{ name: 'a', file: 'a.ts', source: `// ${number} ü` }],
  vars: { region: 'eu' },
  limits: DEFAULT_SCRIPT_LIMITS,
});

function open() {
  const { lines, log } = rememberingLog();
  const files = new HistoryFiles(folder, log, LENGTH);
  return { files, lines, stored: files.load() };
}

/** Prepared, and then the one that decides. */
async function write(files: HistoryFiles, ...numbers: number[]): Promise<void> {
  for (const number of numbers) {
    await files.prepare(generation(number));
    await files.commit(generation(number));
  }
}

const pathOf = (number: number): string =>
  join(folder, `${String(number).padStart(8, '0')}.generation`);

describe('a history on disk', () => {
  test('is empty at first, and gives back what was written, newest first', async () => {
    const { files, stored } = open();
    expect(stored).toEqual({ generations: [], lastNumber: 0 });
    await write(files, 1, 2);
    const { stored: again, lines } = open();
    expect(again).toEqual({ generations: [generation(2), generation(1)], lastNumber: 2 });
    expect(lines).toEqual([]);
  });

  test('is for its owner only', async () => {
    await write(open().files, 1);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(pathOf(1)).mode & 0o777).toBe(0o600);
  });

  test('keeps the newest, as many as it may', async () => {
    const { files } = open();
    await write(files, 1, 2, 3, 4, 5);
    expect(open().stored.generations.map(({ number }) => number)).toEqual([5, 4, 3]);
  });

  test.each([
    ['cut', (text: string) => text.slice(0, -3), 'its checksum is wrong'],
    ['changed', (text: string) => text.replace('// 2', '// 3'), 'its checksum is wrong'],
    ['empty', () => '', 'no file of this version of culvert'],
    ['of a later format', (text: string) => text.replace('-1 ', '-9 '), 'no file of this version'],
    ['renamed', () => readFileSync(pathOf(1), 'utf8'), 'it holds generation 1'],
  ])(
    'a file that is %s is named and left out, and its number stays taken',
    async (_, spoil, why) => {
      const { files } = open();
      await write(files, 1, 2);
      writeFileSync(pathOf(2), spoil(readFileSync(pathOf(2), 'utf8')));
      const { stored, lines } = open();
      expect(stored.generations.map(({ number }) => number)).toEqual([1]);
      expect(stored.lastNumber).toBe(2);
      expect(lines).toMatchObject([{ msg: 'history-file-skipped', file: pathOf(2) }]);
      expect(String(lines[0]?.['why'])).toContain(why);
    },
  );

  test('keeps the number of what a crash left, until a higher one is there', async () => {
    await write(open().files, 1);
    writeFileSync(`${pathOf(2)}.new`, 'half');
    // Who starts twice and changes nothing in between must not forget it.
    for (const { stored } of [open(), open()]) {
      expect(stored.lastNumber).toBe(2);
      expect(stored.generations.map(({ number }) => number)).toEqual([1]);
    }
    await write(open().files, 3);
    expect(readdirSync(folder).sort()).toEqual([...['00000001.generation', '00000003.generation']]);
  });

  test('takes a number as soon as it is prepared, and none back', async () => {
    const { files } = open();
    await files.prepare(generation(1));
    expect(open().stored).toEqual({ generations: [], lastNumber: 1 });
    // A trial that comes to nothing while another generation takes over.
    await files.prepare(generation(2));
    await files.commit(generation(1));
    expect(open().stored).toMatchObject({ generations: [{ number: 1 }], lastNumber: 2 });
  });

  test('is not led astray by what has the name of a generation and is none', async () => {
    const { files } = open();
    await write(files, 1, 2);
    mkdirSync(`${pathOf(9)}.new`);
    mkdirSync(pathOf(3));
    writeFileSync(join(folder, `${'9'.repeat(30)}.generation`), 'beyond all numbers');
    const { stored, lines } = open();
    expect(stored.generations.map(({ number }) => number)).toEqual([2, 1]);
    expect(stored.lastNumber).toBe(3);
    expect(lines.map(({ msg }) => msg)).toEqual(['history-file-skipped']);
    await write(files, 4, 5, 6);
    expect(open().stored.generations.map(({ number }) => number)).toEqual([6, 5, 4]);
  });

  test('that cannot be written says so, and throws nothing', async () => {
    writeFileSync(join(folder, '..', 'generations'), 'a file, no folder');
    const { files, lines, stored } = open();
    expect(stored.generations).toEqual([]);
    await write(files, 1);
    expect(lines.map(({ msg }) => msg)).toEqual([
      ...['history-not-read', 'history-not-written', 'history-not-written'],
    ]);
  });
});

describe('generations over a restart of the supervisor', () => {
  const yes: Activator = { check: async () => ({ issues: [] }), activate: async () => [] };
  function start(activator = yes) {
    const { files, stored } = open();
    const store = {
      ...stored,
      hashKey: readHashKey(folder, rememberingLog().log),
      prepare: (entry: Generation) => files.prepare(entry),
      commit: (entry: Generation) => files.commit(entry),
    };
    const generations = new Generations(activator, DEFAULT_SCRIPT_LIMITS, () => 7, { store });
    const put = (source: string, vars = {}) =>
      generations.apply('start', (active) => ({
        ...active,
        vars,
        scripts: [{ name: 'a', file: 'a.ts', source }],
      }));
    return { generations, put };
  }

  test('go on where they were when the scripts are the same', async () => {
    const before = start();
    await before.put('one');
    await before.put('two');
    const after = start();
    await after.put('two');
    expect(after.generations.active.number).toBe(2);
    expect(after.generations.history).toEqual(before.generations.history);
    expect(after.generations.scriptName(2, 0)).toBe('a');
  });

  test('have a new number when the scripts have changed, and can be rolled back', async () => {
    const before = start();
    await before.put('one');
    await before.put('two');
    const after = start();
    await after.put('three');
    expect(after.generations.active.number).toBe(3);
    const { generation: made } = await after.generations.rollback(1);
    expect(made).toMatchObject({ number: 4, copyOf: 1, scripts: [{ source: 'one' }] });
  });

  test('are not written when they are refused', async () => {
    const issue = { script: 'a', file: 'a', line: 0, column: 0, kind: 'load', message: 'no' };
    const { put } = start({ check: async () => ({ issues: [] }), activate: async () => [issue] });
    await expect(put('one')).rejects.toThrow('no');
    expect(open().stored.generations).toEqual([]);
  });

  test('have no number twice when the process dies while one takes over', async () => {
    await start().put('one');
    const child = Bun.spawn([
      process.execPath,
      join(import.meta.dir, 'dying-history-child.ts'),
      folder,
    ]);
    await child.exited;
    expect(child.signalCode).toBe('SIGKILL');
    const after = start();
    expect(after.generations.history.map(({ number }) => number)).toEqual([1]);
    await after.put('three');
    expect(after.generations.active.number).toBe(3);
  });

  test('are on disk when whoever changed something is told', async () => {
    const { put } = start();
    await put('one');
    expect(readdirSync(folder).sort()).toEqual(['00000001.generation', 'hash.key']);
  });

  test('have the hashes that they had, and others with another key', async () => {
    const before = start();
    await before.put('one', { token: 'hush' });
    const { hash } = before.generations.active;
    expect(start().generations.history[0]?.hash).toBe(hash);
    rmSync(join(folder, 'hash.key'));
    const after = start();
    expect(after.generations.history[0]?.hash).not.toBe(hash);
    // It is the same content all the same, and no new generation.
    await after.put('one', { token: 'hush' });
    expect(after.generations.active.number).toBe(1);
  });
});

describe('the key of the hashes', () => {
  test('is made once, for its owner only', () => {
    const { log } = rememberingLog();
    mkdirSync(folder);
    const key = readHashKey(folder, log);
    expect(key).toHaveLength(32);
    expect(readHashKey(folder, log)).toEqual(key);
    expect(statSync(join(folder, 'hash.key')).mode & 0o777).toBe(0o600);
  });

  test('that is cut is made anew; where none can be kept, the log says so', () => {
    const { log, lines } = rememberingLog();
    mkdirSync(folder);
    writeFileSync(join(folder, 'hash.key'), 'short');
    expect(readHashKey(folder, log)).toEqual(readHashKey(folder, log));
    expect(lines).toEqual([]);
    expect(readHashKey('/dev/null', log)).toHaveLength(32);
    expect(lines).toMatchObject([{ msg: 'hash-key-not-kept', file: '/dev/null/hash.key' }]);
  });
});
