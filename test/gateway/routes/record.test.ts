import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { planRoutes } from '../../../src/gateway/routes/plan.ts';
import { RouteRecord } from '../../../src/gateway/routes/record.ts';
import { scratchFolder } from '../../support/scratch.ts';

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
