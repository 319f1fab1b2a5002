import { expect, test } from 'bun:test';
import { mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderLogfmt, renderText } from '../../../../src/gateway/supervisor/log/line-formats.ts';
import { LogSink } from '../../../../src/gateway/supervisor/log/log-sink.ts';
import { LogStyle } from '../../../../src/gateway/supervisor/log/log-style.ts';
import { createLogger } from '../../../../src/gateway/supervisor/log/logger.ts';
import { RepeatLimit } from '../../../../src/gateway/supervisor/log/repeat-limit.ts';
import { logScript } from '../../../../src/gateway/supervisor/scripts/script-log.ts';

function fileSink() {
  const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'log');
  const fd = openSync(path, 'w');
  return { sink: new LogSink(fd), text: () => readFileSync(path, 'utf8') };
}

test('a JSON line has level, time, msg and the fields', () => {
  const { sink, text } = fileSink();
  createLogger({ level: 'info', format: 'json' }, sink).warn({ device: 'x0' }, 'device-down');
  sink.flush();
  const line = JSON.parse(text()) as Record<string, unknown>;
  expect(line).toMatchObject({ level: 'warn', device: 'x0', msg: 'device-down' });
  expect(String(line['time'])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  expect(Math.abs(Date.parse(String(line['time'])) - Date.now())).toBeLessThan(5000);
  expect(line).not.toHaveProperty('pid');
});

test('a reload may change how lines look, from one line to the next', () => {
  const { sink, text } = fileSink();
  const style = new LogStyle({ format: 'json' });
  const log = createLogger({ level: 'info', format: 'json' }, sink, undefined, style);
  log.info({ device: 'x0' }, 'one');
  style.configure({ format: 'logfmt', time: 'epoch' });
  log.info({ device: 'x0' }, 'two');
  sink.flush();
  const [first, second] = text().split('\n');
  expect(JSON.parse(first!)).toMatchObject({ msg: 'one', time: expect.stringContaining('T') });
  expect(second).toMatch(/^time=\d{13} level=info msg=two device=x0$/);
});

test('an error keeps its message, code and stack', () => {
  const { sink, text } = fileSink();
  const err = Object.assign(new Error('no'), { code: 'EPERM' });
  createLogger({ level: 'info', format: 'json' }, sink).error({ err }, 'x');
  sink.flush();
  expect(JSON.parse(text())).toMatchObject({ err: { message: 'no', code: 'EPERM' } });
});

test('time may be milliseconds since 1970', () => {
  const { sink, text } = fileSink();
  createLogger({ level: 'info', format: 'json', time: 'epoch' }, sink).info('x');
  sink.flush();
  const { time } = JSON.parse(text()) as { time: number };
  expect(Math.abs(time - Date.now())).toBeLessThan(5000);
});

test('a logfmt line is words, and a value with spaces is quoted', () =>
  expect(
    renderLogfmt(
      '{"level":"info","time":"2026-01-02T03:04:05.678901234Z","a":1,"b":"x y","c":[1,"z z"],' +
        '"d e":true,"f":"\\u001b","msg":"ready"}\n',
    ),
  ).toBe(
    'time=2026-01-02T03:04:05.678901234Z level=info msg=ready a=1 b="x y" c="[1,\\"z z\\"]" ' +
      'd_e=true f=\\u001b\n',
  ));

test('warnings that repeat are counted from the twentieth on, and told; information is not', () => {
  const { sink, text } = fileSink();
  const limited: string[] = [];
  const limit = new RepeatLimit((event, dropped) => limited.push(`${event} ${dropped}`));
  for (let i = 0; i < 25; i++) limit.passes('device-down');
  expect(limit.passes('device-gone')).toBe(true);
  limit.endPeriod();
  expect(limited).toEqual(['device-down 5']);
  expect(limit.passes('device-down')).toBe(true);

  const log = createLogger({ level: 'info', format: 'json' }, sink);
  for (let i = 0; i < 100; i++) log.warn({ i }, 'again');
  for (let i = 0; i < 100; i++) log.info({ i }, 'flow');
  sink.flush();
  const lines = text().trimEnd().split('\n');
  expect(lines.filter((line) => line.includes('again'))).toHaveLength(20);
  expect(lines.filter((line) => line.includes('flow'))).toHaveLength(100);
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

test('a text line neither begins another line nor speaks to the terminal', () => {
  const fields = { msg: 'a\nb', 'k\n': '\u001b[2J', c1: '\u009b2J', turn: '\u202e', ok: 'ä ö' };
  const line = renderText(`${JSON.stringify({ level: 'info', time: '', ...fields })}\n`);
  expect(line).toBe(' INFO  a\\u000ab k\\u000a=\\u001b[2J c1=\\u009b2J turn=\\u202e ok="ä ö"\n');
});

test('a script cannot choose the fields that say who wrote a line', () => {
  const { sink, text } = fileSink();
  const forged = {
    level: 'error',
    time: 'never',
    msg: 'flow',
    pid: 1,
    event: 'flow',
    flow_id: 'x',
    script: 'other',
    script_version: 9,
  };
  logScript(createLogger({ level: 'info', format: 'json' }, sink), {
    kind: 'log',
    level: 'info',
    script: 'a',
    generation: 3,
    flow: 36,
    message: 'said %s',
    fields: { ...forged, method: 'GET', headers: { a: 1 }, socket: {}, visits: 2 },
  });
  sink.flush();
  // Parsed by hand: JSON.parse would hide a name that occurs twice.
  const names = [...text().matchAll(/[{,]"([a-z_.]+)":/g)].map((match) => match[1]);
  for (const name of Object.keys(forged))
    expect(names.filter((n) => n === name)).toHaveLength(name === 'pid' ? 0 : 1);
  expect(JSON.parse(text())).toMatchObject({
    level: 'info',
    msg: 'said %s',
    event: 'script',
    script: 'a',
    script_version: 3,
    flow_id: '10',
    visits: 2,
    'script.level': 'error',
    'script.flow_id': 'x',
  });
});
