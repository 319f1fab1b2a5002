import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { stageFile } from '../../../src/gateway/config/config-writer.ts';
import { scratchFolder } from '../../support/scratch.ts';

let folder = '';
let file = '';
let umask = 0;
beforeEach(() => {
  folder = scratchFolder('config-writer');
  file = join(folder, 'c.yaml');
  writeFileSync(file, 'old', { mode: 0o640 });
  umask = process.umask(0o077);
});
afterEach(() => void process.umask(umask));

describe('the new content of a file', () => {
  test('is in its place when all went well, with the mode of the old one', async () => {
    const staged = await stageFile(file, 'new');
    expect(readFileSync(file, 'utf8')).toBe('old');
    await staged.commit();
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(statSync(file).mode & 0o777).toBe(0o640);
  });

  test('goes where a link leads, which stays one', async () => {
    const link = join(folder, 'link.yaml');
    symlinkSync(file, link);
    await (await stageFile(link, 'new')).commit();
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(file, 'utf8')).toBe('new');
  });

  test('is not written through a link that somebody has put beside it', async () => {
    const other = join(folder, 'other');
    writeFileSync(other, 'precious');
    symlinkSync(other, `${file}.${process.pid}.new`);
    await (await stageFile(file, 'new')).commit();
    expect(readFileSync(other, 'utf8')).toBe('precious');
    expect(readFileSync(file, 'utf8')).toBe('new');
  });

  test('leaves nothing when it cannot take its place', async () => {
    const place = join(folder, 'folder');
    mkdirSync(place);
    const staged = await stageFile(place, 'new');
    await expect(staged.commit()).rejects.toThrow(`${place} cannot be written: `);
    expect(readdirSync(folder).sort()).toEqual(['c.yaml', 'folder']);
  });

  test('does not take the place of what an editor has saved meanwhile', async () => {
    const staged = await stageFile(file, 'new', 'old');
    writeFileSync(file, 'edited');
    await expect(staged.commit()).rejects.toThrow(`${file} was changed by somebody else meanwhile`);
    expect(readFileSync(file, 'utf8')).toBe('edited');
    expect(readdirSync(folder)).toEqual(['c.yaml']);
  });
});
