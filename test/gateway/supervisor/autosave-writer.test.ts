import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { autosaveFile, loadAutosave, writeAutosave } from '../../../src/gateway/config/autosave.ts';
import { ConfigFileError } from '../../../src/gateway/config/config-writer.ts';
import { type LoadedConfig, validateConfig } from '../../../src/gateway/config/load.ts';
import { AutosaveWriter } from '../../../src/gateway/supervisor/autosave-writer.ts';
import { scratchFolder } from '../../support/scratch.ts';

const configOf = (level: string): LoadedConfig => {
  const value = { log: { level } };
  return { value, config: validateConfig(value, 'test', []), folder: '/' };
};
const levelOf = ({ config }: LoadedConfig): string => config.log.level;

/** A disk that takes its time: `finish` ends the write that is under way. */
function slowDisk() {
  const writes: string[] = [];
  const failures: string[] = [];
  let underWay = Promise.withResolvers<void>();
  const writer = new AutosaveWriter({
    path: () => '/state/autosave.json',
    onFailed: ({ message }) => failures.push(message),
    write: async (_, loaded) => {
      writes.push(levelOf(loaded));
      underWay = Promise.withResolvers();
      await underWay.promise;
    },
  });
  return {
    ...{ writer, writes, failures },
    finish: async (error?: Error) => {
      if (error === undefined) underWay.resolve();
      else underWay.reject(error);
      await Bun.sleep(0);
    },
  };
}

describe('a config that is kept', () => {
  test('while another is written waits for its turn, and only the last one does', async () => {
    const { writer, writes, finish } = slowDisk();
    const settled: string[] = [];
    for (const level of ['debug', 'info', 'warn']) {
      void writer.save(configOf(level)).then(() => settled.push(level));
    }
    await Bun.sleep(0);
    expect(writes).toEqual(['debug']);
    await finish();
    expect([writes, settled]).toEqual([['debug', 'warn'], []]);
    await finish();
    expect(settled).toEqual(['debug', 'info', 'warn']);
    expect(writes).toHaveLength(2);
  });

  test('is waited for so long only, and no longer by who is in a hurry', async () => {
    const { writer, finish } = slowDisk();
    const forced = Promise.withResolvers<void>();
    void writer.save(configOf('warn'));
    expect(await writer.settled(20)).toBe(false);
    const waiting = writer.settled(60_000, forced.promise);
    forced.resolve();
    expect(await waiting).toBe(false);
    await finish();
    expect(await writer.settled(60_000)).toBe(true);
  });

  test('is waited for by who ends the gateway, and by nobody when there is none', async () => {
    const { writer, finish } = slowDisk();
    await writer.settled(5_000);
    let isOver = false;
    void writer.save(configOf('warn'));
    void writer.settled(5_000).then(() => {
      isOver = true;
    });
    await Bun.sleep(0);
    expect(isOver).toBe(false);
    await finish();
    expect(isOver).toBe(true);
    await writer.settled(5_000);
  });

  test('although the one before could not be, whose failure is told', async () => {
    const { writer, writes, failures, finish } = slowDisk();
    void writer.save(configOf('info'));
    const last = writer.save(configOf('warn'));
    await finish(new ConfigFileError('the disk is full'));
    expect([writes, failures]).toEqual([['info', 'warn'], ['the disk is full']]);
    await finish();
    await last;
    const again = writer.save(configOf('error'));
    await finish();
    await again;
    expect(writes).toEqual(['info', 'warn', 'error']);
  });

  test('is on disk once `save` settles, and what calls it does not wait for the disk', async () => {
    const stateFolder = scratchFolder('autosave');
    const path = () => autosaveFile(stateFolder);
    const writer = new AutosaveWriter({ path, onFailed: () => {} });
    const saved = writer.save(configOf('warn'));
    expect(existsSync(join(stateFolder, 'autosave.json'))).toBe(false);
    await saved;
    expect(loadAutosave({ stateFolder, overrides: [] })?.config.log.level).toBe('warn');
    expect(readdirSync(stateFolder)).toEqual(['autosave.json']);
  });

  test('stays as it was when the next one cannot be written', async () => {
    const stateFolder = scratchFolder('autosave');
    const file = join(stateFolder, 'autosave.json');
    await writeAutosave(file, configOf('warn'));
    mkdirSync(`${file}.${process.pid}.new`);
    await expect(writeAutosave(file, configOf('error'))).rejects.toThrow(ConfigFileError);
    expect(loadAutosave({ stateFolder, overrides: [] })?.config.log.level).toBe('warn');
  });

  test('is not where nobody has asked for a folder', async () => {
    const writer = new AutosaveWriter({ path: () => undefined, onFailed: () => {} });
    await writer.save(configOf('warn'));
    await writer.settled(5_000);
  });
});
