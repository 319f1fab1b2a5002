/** What an operator does to a gateway that runs: its log, its end, what it says of itself. */
import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { LogLevel } from '../../../../src/gateway/supervisor/log/log-level.ts';
import { rememberingLog } from '../support.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const ask = async (method: string, path: string) => {
  const response = await api.request(path, { method });
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, body };
};

describe('the log level', () => {
  test('is asked for with a time, told, and taken back', async () => {
    expect((await ask('GET', '/v1/log-level')).body).toEqual({ level: 'info', configured: 'info' });
    const { body } = await ask('PUT', '/v1/log-level?level=debug&for=90s');
    expect(body).toMatchObject({ level: 'debug', configured: 'info' });
    const left = Date.parse(String(body['until'])) - Date.now();
    expect(left).toBeGreaterThan(80_000);
    expect(left).toBeLessThanOrEqual(90_000);
    expect((await ask('DELETE', '/v1/log-level')).body).toEqual({
      level: 'info',
      configured: 'info',
    });
  });

  test('comes back by itself, in ten minutes unless it is said', async () => {
    const { body } = await ask('PUT', '/v1/log-level?level=warn');
    const minutes = (Date.parse(String(body['until'])) - Date.now()) / 60_000;
    expect(minutes).toBeCloseTo(10, 1);
    await ask('PUT', '/v1/log-level?level=warn&for=20ms');
    await Bun.sleep(40);
    expect((await ask('GET', '/v1/log-level')).body).toMatchObject({ level: 'info' });
  });

  test('for ever is until it is taken back', async () => {
    const { body } = await ask('PUT', '/v1/log-level?level=error&for=0s');
    expect(body).toEqual({ level: 'error', configured: 'info' });
  });

  test.each(['', '?level=loud', '?level=debug&for=10', '?level=debug&for=25h'])(
    '"%s" is refused, and changes nothing',
    async (query) => {
      expect((await ask('PUT', `/v1/log-level${query}`)).status).toBe(400);
      expect(plane.logLevel.state.level).toBe('info');
    },
  );

  test('is that of the logger, and a reload does not take away what was asked for', () => {
    const { log, lines } = rememberingLog();
    log.level = 'info';
    const level = new LogLevel(log, 'info');
    level.ask('debug', 0);
    log.debug('seen');
    level.configure('warn');
    log.debug('seen too');
    expect(level.state).toEqual({ level: 'debug', configured: 'warn' });
    level.reset();
    log.info('not seen');
    expect(log.level).toBe('warn');
    expect(lines.map(({ msg }) => msg)).toEqual(['log-level', 'seen', 'seen too', 'log-level']);
    expect(lines[0]).toMatchObject({ level: 'info', from: 'info', to: 'debug' });
  });
});

describe('the end', () => {
  test('is begun with the deadline of the config, or with one of its own', async () => {
    expect(await ask('POST', '/v1/drain')).toEqual({
      status: 202,
      body: { state: 'draining', flows: 2, deadline_ms: 10_000 },
    });
    expect(await ask('POST', '/v1/stop?deadline=0s')).toMatchObject({
      status: 202,
      body: { state: 'stopping', deadline_ms: 0 },
    });
    expect(plane.ended).toEqual([
      ['drain', 10_000],
      ['stop', 0],
    ]);
  });

  test.each(['/v1/drain?deadline=soon', '/v1/stop?deadline=-1s', '/v1/stop?deadline=25h'])(
    '%s is refused, and ends nothing',
    async (path) => {
      expect((await ask('POST', path)).status).toBe(400);
      expect(plane.ended).toEqual([]);
    },
  );

  test.each(['/v1/drain', '/v1/stop'])('a GET of %s ends nothing', async (path) => {
    expect((await ask('GET', path)).status).toBe(405);
    expect(plane.ended).toEqual([]);
  });
});

test.each(['/readyz', '/ready', '/ping'])('%s tells why it is not ready', async (path) => {
  plane.reasons = ['draining'];
  const answer = await api.request(path);
  expect(answer.status).toBe(503);
  expect(await answer.text()).toBe('not ready: draining\n');
  const json = await api.request(path, { headers: { Accept: 'application/json' } });
  expect(await json.json()).toEqual({ ready: false, reasons: ['draining'] });
});

test('build and what runs are told', async () => {
  expect((await ask('GET', '/version')).body).toMatchObject({
    version: expect.any(String),
    bun: Bun.version,
  });
  expect((await ask('GET', '/info')).body).toMatchObject({ state: 'running', script_version: 0 });
});
