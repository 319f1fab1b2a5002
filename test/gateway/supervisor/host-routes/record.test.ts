import { describe, expect, test } from 'bun:test';
import {
  chownSync,
  existsSync,
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../../../src/gateway/config/load.ts';
import { planRoutes } from '../../../../src/gateway/supervisor/host-routes/plan.ts';
import { RouteRecord } from '../../../../src/gateway/supervisor/host-routes/record.ts';
import { lockRecord } from '../../../../src/gateway/supervisor/host-routes/record-lock.ts';
import { isRoot } from '../../../ffi/support/namespace.ts';
import { scratchFolder } from '../../../support/scratch.ts';

const { steps } = planRoutes(
  parseConfig('routes: {auto: true, exclude: [10.1.0.0/16, fd00::/8]}', 'c'),
  'c0',
);

const written = () => {
  const record = new RouteRecord(join(scratchFolder('record'), 'new'), 'c0');
  record.write(steps);
  return record;
};

describe('a record of what was made', () => {
  test('says the same when it is read', () => expect(written().read()).toEqual([...steps]));

  test('is of one device', () => {
    const { file } = written();
    expect(file).toEndWith('/routes-c0.json');
  });

  test('means nothing after a reboot, or in another network namespace', () => {
    for (const key of ['boot', 'namespace']) {
      const record = written();
      const text = JSON.parse(readFileSync(record.file, 'utf8'));
      writeFileSync(record.file, JSON.stringify({ ...text, [key]: 'other' }));
      expect(record.read()).toEqual([]);
    }
  });

  test('is not written through a link that somebody has put there', () => {
    const record = written();
    const other = `${record.file}.other`;
    writeFileSync(other, 'precious');
    symlinkSync(other, `${record.file}.new`);
    record.write(steps);
    expect(readFileSync(other, 'utf8')).toBe('precious');
    expect(record.read()).toEqual([...steps]);
  });

  test('is not read through a link that somebody has put there', () => {
    const record = written();
    const other = `${record.file}.other`;
    renameSync(record.file, other);
    symlinkSync(other, record.file);
    expect(() => record.read()).toThrow(`${record.file}: ELOOP`);
  });

  test('that is a pipe is refused, and nobody is waited for', async () => {
    const record = written();
    rmSync(record.file);
    Bun.spawnSync(['mkfifo', record.file]);
    // Who would wait for the pipe gets this, and says something else.
    await using writer = Bun.spawn(['sh', '-c', 'echo x > "$0"', record.file]);
    expect(() => record.read()).toThrow(`${record.file} is no regular file`);
    writer.kill();
  });

  test.skipIf(!isRoot)('that root writes belongs to the user whose folder it is', () => {
    const folder = scratchFolder('record');
    chownSync(folder, 65534, 65534);
    const record = new RouteRecord(folder, 'c0');
    lockRecord(record, true)[Symbol.dispose]();
    record.write(steps);
    for (const file of [record.file, record.lockFile]) {
      expect(statSync(file)).toMatchObject({ uid: 65534, gid: 65534 });
      expect(statSync(file).mode & 0o777).toBe(0o600);
    }
  });

  test('of nothing is no file', () => {
    const record = written();
    record.write([]);
    expect(existsSync(record.file)).toBe(false);
    expect(record.read()).toEqual([]);
  });

  test.each(['', '{"version": 2}', '[]'])('that is "%s" is an error with its name', (text) => {
    const record = written();
    writeFileSync(record.file, text);
    expect(() => record.read()).toThrow(`${record.file} is no record of routes`);
  });
});

describe('the lock of a record', () => {
  const lockOf = (folder: string) => new RouteRecord(folder, 'c0');

  test('is free again when it was given back, and stays a file', () => {
    const record = lockOf(scratchFolder('lock'));
    for (let i = 0; i < 2; i++) lockRecord(record, true)[Symbol.dispose]();
    expect(existsSync(record.lockFile)).toBe(true);
  });

  test('keeps out another process, which says so after a second', async () => {
    const record = lockOf(scratchFolder('lock'));
    await using holder = Bun.spawn(['flock', record.lockFile, 'sh', '-c', 'echo; exec cat'], {
      stdin: 'pipe',
      stdout: 'pipe',
    });
    await holder.stdout.getReader().read();
    expect(() => lockRecord(record, true)).toThrow(
      expect.objectContaining({ code: 'ROUTES_LOCKED' }),
    );
    holder.stdin.end();
    await holder.exited;
    lockRecord(record, true)[Symbol.dispose]();
  });

  test('is waited for while its holder gets on', async () => {
    const record = lockOf(scratchFolder('lock'));
    await using holder = Bun.spawn(['flock', record.lockFile, 'sh', '-c', 'echo; sleep 0.2'], {
      stdout: 'pipe',
    });
    await holder.stdout.getReader().read();
    lockRecord(record, true)[Symbol.dispose]();
  });

  test('is not looked for through a link', () => {
    const record = lockOf(scratchFolder('lock'));
    symlinkSync('/dev/null', record.lockFile);
    expect(() => lockRecord(record, true)).toThrow(`${record.lockFile}: ELOOP`);
  });

  test('makes no folder where there is nothing to take back', () => {
    const folder = join(scratchFolder('lock'), 'none');
    lockRecord(lockOf(folder), false)[Symbol.dispose]();
    expect(existsSync(folder)).toBe(false);
  });

  test.skipIf(!isRoot)('that was there already keeps its owner', () => {
    const folder = scratchFolder('lock');
    const own = join(scratchFolder('other'), 'own');
    writeFileSync(own, '');
    chownSync(folder, 65534, 65534);
    const record = lockOf(folder);
    linkSync(own, record.lockFile);
    lockRecord(record, true)[Symbol.dispose]();
    expect(statSync(own).uid).toBe(0);
  });
});
