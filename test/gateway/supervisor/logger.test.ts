import { expect, test } from 'bun:test';
import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, LogSink, renderText } from '../../../src/gateway/supervisor/logger.ts';

function fileSink() {
  const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'log');
  const fd = openSync(path, 'w');
  return { sink: new LogSink(fd), fd, text: () => readFileSync(path, 'utf8') };
}

test('a JSON line has level, time, msg and the fields', () => {
  const { sink, text } = fileSink();
  createLogger({ level: 'info', format: 'json' }, sink).warn({ device: 'x0' }, 'device-down');
  sink.flush();
  const line = JSON.parse(text()) as Record<string, unknown>;
  expect(line).toMatchObject({ level: 'warn', device: 'x0', msg: 'device-down' });
  expect(String(line['time'])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(line).not.toHaveProperty('pid');
});

test('an error keeps its message, code and stack', () => {
  const { sink, text } = fileSink();
  const err = Object.assign(new Error('no'), { code: 'EPERM' });
  createLogger({ level: 'info', format: 'json' }, sink).error({ err }, 'x');
  sink.flush();
  expect(JSON.parse(text())).toMatchObject({ err: { message: 'no', code: 'EPERM' } });
});

test('what lies below the level is not written', () => {
  const { sink, text } = fileSink();
  createLogger({ level: 'warn', format: 'json' }, sink).info('x');
  createLogger({ level: 'silent', format: 'json' }, sink).error('x');
  sink.flush();
  expect(text()).toBe('');
});

test('a text line is for eyes', () =>
  expect(
    renderText(
      '{"level":"info","time":"2026-01-02T03:04:05.678Z","a":1,"b":"x y","c":[1],"msg":"ready"}\n',
    ),
  ).toBe('03:04:05.678 INFO  ready a=1 b="x y" c=[1]\n'));

test('a reader that stalls costs lines, which are counted', () => {
  const { sink, fd, text } = fileSink();
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`;
  for (let n = 0; n < 6; n++) sink.write(line);
  sink.flush();
  sink.flush();
  closeSync(fd);
  expect(
    text()
      .split('\n')
      .filter((found) => found.startsWith('x')),
  ).toHaveLength(4);
  expect(text()).toContain('"dropped":2');
});
