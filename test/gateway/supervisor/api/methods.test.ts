/** Methods that a path does not have, and preconditions of writes that may go without one. */
import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { processTag } from '../../../../src/gateway/supervisor/api/process-tag.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const ask = (method: string, path: string, tag?: string) =>
  api.request(path, { method, headers: tag === undefined ? {} : { 'If-Match': tag } });

describe('a method that a path does not have', () => {
  test.each([
    ['POST', '/v1/config', 'GET, HEAD, PUT, PATCH, OPTIONS'],
    ['DELETE', '/v1/scripts', 'GET, HEAD, OPTIONS'],
    ['PATCH', '/v1/scripts/route', 'GET, HEAD, PUT, DELETE, OPTIONS'],
    ['GET', '/v1/reload', 'POST, OPTIONS'],
    ['HEAD', '/v1/stop', 'POST, OPTIONS'],
    ['PROPFIND', '/metrics', 'GET, HEAD, OPTIONS'],
  ])('%s %s is 405, with those that it has', async (method, path, allow) => {
    const answer = await ask(method, path);
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, allow]);
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
    expect(plane.ended).toEqual([]);
  });

  test('OPTIONS is told them, and nothing that lets a web page in', async () => {
    const answer = await ask('OPTIONS', '/v1/flows');
    expect([answer.status, answer.headers.get('Allow')]).toEqual([
      204,
      'GET, HEAD, DELETE, OPTIONS',
    ]);
    expect([...answer.headers.keys()]).toEqual(['allow']);
  });

  test.each(['/v1/nothing', '/v1/config/', '/v1', '/', '/v1/flows/a/b'])(
    '%s is 404: there is no such path',
    async (path) => {
      for (const method of ['GET', 'POST', 'OPTIONS']) {
        const answer = await ask(method, path);
        expect([answer.status, answer.headers.get('Allow')]).toEqual([404, null]);
      }
    },
  );
});

describe('If-Match of a write that may go without', () => {
  test('is looked at: the log level that was read', async () => {
    const tag = (await ask('GET', '/v1/log-level')).headers.get('ETag') ?? '';
    const first = await ask('PUT', '/v1/log-level?level=debug', tag);
    expect(first.status).toBe(200);
    expect((await ask('PUT', '/v1/log-level?level=error', tag)).status).toBe(412);
    expect((await ask('DELETE', '/v1/log-level', tag)).status).toBe(412);
    expect(plane.logLevel.state.level).toBe('debug');
    const now = first.headers.get('ETag') ?? '';
    expect((await ask('DELETE', '/v1/log-level', now)).status).toBe(200);
    expect((await ask('PUT', '/v1/log-level?level=warn', '*')).status).toBe(200);
  });

  test('is looked at: the process that was read', async () => {
    const tag = (await ask('GET', '/v1/status')).headers.get('ETag') ?? '';
    expect(tag).toBe(processTag(plane));
    for (const path of ['/v1/drain', '/v1/stop']) {
      const stale = await ask('POST', path, '"of-another-process-running"');
      expect(stale.status).toBe(412);
      expect(((await stale.json()) as { detail: string }).detail).toContain(tag);
    }
    expect(plane.ended).toEqual([]);
    expect((await ask('POST', '/v1/drain', tag)).status).toBe(202);
    expect((await ask('POST', '/v1/stop', '*')).status).toBe(202);
    expect(plane.ended.map(([what]) => what)).toEqual(['drain', 'stop']);
  });

  test('of flows together is 412, as they have no version; of one it is its id', async () => {
    for (const path of ['/v1/flows?all=true', '/v1/flows?all=true&dry_run=true', '/connections']) {
      expect([path, (await ask('DELETE', path, '"x"')).status]).toEqual([path, 412]);
    }
    for (const path of ['/v1/flows/a', '/connections/a']) {
      expect([path, (await ask('DELETE', path, '"b"')).status]).toEqual([path, 412]);
    }
    expect(plane.killed).toEqual([]);
    expect((await ask('DELETE', '/connections/a', '"a"')).status).toBe(204);
    expect((await ask('DELETE', '/v1/flows?all=true', '*')).status).toBe(200);
    expect(plane.killed).toEqual([10, 10, 11, 12]);
  });

  test('that is no list of tags is 400', async () => {
    for (const path of ['/v1/drain', '/v1/stop']) {
      expect((await ask('POST', path, 'unquoted')).status).toBe(400);
    }
    expect((await ask('DELETE', '/v1/log-level', 'unquoted')).status).toBe(400);
    expect(plane.ended).toEqual([]);
  });
});
