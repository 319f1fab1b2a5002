import { beforeEach, describe, expect, test } from 'bun:test';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Activator,
  type Generation,
  Generations,
} from '../../../../src/gateway/supervisor/scripts/generations.ts';
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

const pathOf = (number: number): string =>
  join(folder, `${String(number).padStart(8, '0')}.generation`);

describe('a history on disk', () => {
  test('is empty at first, and gives back what was written, newest first', () => {
    const { files, stored } = open();
    expect(stored).toEqual({ generations: [], lastNumber: 0 });
    files.write(generation(1));
    files.write(generation(2));
    const { stored: again, lines } = open();
    expect(again).toEqual({ generations: [generation(2), generation(1)], lastNumber: 2 });
    expect(lines).toEqual([]);
  });

  test('is for its owner only', () => {
    open().files.write(generation(1));
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(pathOf(1)).mode & 0o777).toBe(0o600);
  });

  test('keeps the newest, as many as it may', () => {
    const { files } = open();
    for (let number = 1; number <= 5; number++) files.write(generation(number));
    expect(open().stored.generations.map(({ number }) => number)).toEqual([5, 4, 3]);
  });

  test.each([
    ['cut', (text: string) => text.slice(0, -3), 'its checksum is wrong'],
    ['changed', (text: string) => text.replace('// 2', '// 3'), 'its checksum is wrong'],
    ['empty', () => '', 'no file of this version of culvert'],
    ['of a later format', (text: string) => text.replace('-1 ', '-9 '), 'no file of this version'],
    ['renamed', () => readFileSync(pathOf(1), 'utf8'), 'it holds generation 1'],
  ])('a file that is %s is named and left out, and its number stays taken', (_, spoil, why) => {
    const { files } = open();
    for (const number of [1, 2]) files.write(generation(number));
    writeFileSync(pathOf(2), spoil(readFileSync(pathOf(2), 'utf8')));
    const { stored, lines } = open();
    expect(stored.generations.map(({ number }) => number)).toEqual([1]);
    expect(stored.lastNumber).toBe(2);
    expect(lines).toMatchObject([{ msg: 'history-file-skipped', file: pathOf(2) }]);
    expect(String(lines[0]?.['why'])).toContain(why);
  });

  test('clears away what a crash left unfinished', () => {
    open().files.write(generation(1));
    writeFileSync(`${pathOf(2)}.new`, 'half');
    expect(open().stored.lastNumber).toBe(1);
    expect(readdirSync(folder)).toEqual(['00000001.generation']);
  });

  test('is not led astray by what has the name of a generation and is none', () => {
    const { files } = open();
    for (const number of [1, 2]) files.write(generation(number));
    mkdirSync(`${pathOf(9)}.new`);
    mkdirSync(pathOf(3));
    writeFileSync(join(folder, `${'9'.repeat(30)}.generation`), 'beyond all numbers');
    const { stored, lines } = open();
    expect(stored.generations.map(({ number }) => number)).toEqual([2, 1]);
    expect(stored.lastNumber).toBe(3);
    expect(lines.map(({ msg }) => msg)).toEqual(['history-file-skipped']);
    for (let number = 4; number <= 6; number++) files.write(generation(number));
    expect(open().stored.generations.map(({ number }) => number)).toEqual([6, 5, 4]);
  });

  test('that cannot be written says so, and throws nothing', () => {
    writeFileSync(join(folder, '..', 'generations'), 'a file, no folder');
    const { files, lines, stored } = open();
    expect(stored.generations).toEqual([]);
    files.write(generation(1));
    expect(lines.map(({ msg }) => msg)).toEqual(['history-not-read', 'history-not-written']);
  });
});

describe('generations over a restart of the supervisor', () => {
  const yes: Activator = { check: async () => ({ issues: [] }), activate: async () => [] };
  function start(activator = yes) {
    const { files, stored } = open();
    const store = { ...stored, write: (entry: Generation) => files.write(entry) };
    const generations = new Generations(activator, DEFAULT_SCRIPT_LIMITS, () => 7, { store });
    const put = (source: string) =>
      generations.apply('start', (active) => ({
        ...active,
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
});
