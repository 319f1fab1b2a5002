/** Bodies that are made to break who reads them: each is refused, and none is an error of ours. */
import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { NESTING_MAX, tooDeep } from '../../../../src/gateway/config/nesting.ts';
import type { Problem } from '../../../../src/gateway/supervisor/api/schemas.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

const YAML = 'application/yaml';
const JSON_TYPE = 'application/json';
const PATCH = 'application/merge-patch+json';

/** Of 50 000 keys, each compared with all before it, in microseconds: well below that. */
const QUADRATIC_US = 8_000_000;

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

async function send(type: string, body: string, path = '/v1/config', method = 'PUT') {
  const headers = { 'Content-Type': type, 'If-Match': '*' };
  const answer = await api.request(path, {
    method: type === PATCH ? 'PATCH' : method,
    body,
    headers,
  });
  return { status: answer.status, problem: (await answer.json()) as Problem };
}

const nested = (depth: number, open: string, close = ''): string =>
  `${open.repeat(depth)}1${close.repeat(depth)}`;

describe('what is nested too deeply is refused with that reason', () => {
  const shapes = [
    ['lists', '[', ']'],
    ['mappings', '{"a":', '}'],
  ] as const;
  for (const [name, open, close] of shapes) {
    for (const depth of [NESTING_MAX + 1, 3_000, 20_000]) {
      test.each([YAML, JSON_TYPE, PATCH])(`${depth} ${name} as %s`, async (type) => {
        const { status, problem } = await send(type, nested(depth, open, close));
        expect(status).toBe(400);
        expect(problem.detail).toContain(`nested more than ${NESTING_MAX} deep`);
        expect(problem.errors?.[0]).toMatchObject({ line: 1, column: expect.any(Number) });
      });
    }
  }

  test('block sequences', async () => {
    const { status, problem } = await send(YAML, `a:\n  ${nested(3_000, '- ')}`);
    expect([status, problem.detail]).toEqual([400, expect.stringContaining('nested more than')]);
  });

  test.each([
    ['a list that contains itself', 'listeners: &a [*a]'],
    ['a mapping that does', 'log: &a {level: *a}'],
    ['two that contain each other', 'log: &a {x: &b [*a, *b]}'],
  ])('%s', async (_, body) => {
    const { status, problem } = await send(YAML, body);
    expect([status, problem.detail]).toEqual([400, expect.stringContaining('nested more than')]);
  });

  test('but not what is nested as much as may be', () => {
    const list = (depth: number) => JSON.parse(nested(depth, '[', ']')) as unknown;
    expect(tooDeep(list(NESTING_MAX))).toBeUndefined();
    expect(tooDeep(list(NESTING_MAX + 1))).toHaveLength(NESTING_MAX);
    expect(tooDeep('text')).toBeUndefined();
  });
});

describe.each([YAML, JSON_TYPE])('a mapping of many keys as %s', (type) => {
  const keys = Array.from({ length: 50_000 }, (_, i) => `"k${i}": 1`);

  test('is read in a time that grows with its length, not with the square of it', async () => {
    const startedAt = process.cpuUsage();
    const { status } = await send(type, `{"x": {${keys.join(',')}}}`);
    expect(status).toBe(422);
    const { user } = process.cpuUsage(startedAt);
    expect(user).toBeLessThan(QUADRATIC_US);
  }, 60_000);

  test('is refused for one that stands there twice, with its place', async () => {
    const { status, problem } = await send(type, `{"x": {"a": 1,\n "b": {"a": 1}, "a": 2}}`);
    expect(status).toBe(400);
    expect(problem.detail).toContain('Map keys must be unique');
    expect(problem.errors).toMatchObject([{ line: 2, column: 17 }]);
  });
});

describe('in other ways, too', () => {
  const laughs = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b', 'c: &c', 'd: &d', 'e: &e', 'f: &f']
    .map((line, n) => (n === 0 ? line : `${line} [${`*${'abcde'[n - 1]},`.repeat(9)}]`))
    .join('\n');
  const bodies: [string, string][] = [
    ['a billion laughs', laughs],
    ['a key that stands there twice', 'drain: 1s\ndrain: 2s'],
    ['a number beyond all', 'device: {mtu: 1e999}'],
    ['a number that is none', 'device: {mtu: .nan}'],
    ['many digits', `device: {mtu: ${'9'.repeat(5000)}}`],
    ['a key that is a list', '? [a]\n: b'],
    ['a key that is nothing', '? \n: b'],
    ['the prototype', '__proto__: {x: 1}\nconstructor: {prototype: 1}'],
    ['bytes', 'drain: !!binary aGVsbG8='],
    ['a tag of somebody', 'drain: !<tag:evil,2026:x> 1s'],
    ['half a character', '"\\ud800": 1'],
    ['a NUL in a path', 'scripts: {files: "a\\0*.ts"}'],
    ['a NUL in a file', 'scripts: {load: [{name: a, file: "a\\0.ts"}]}'],
    ['a NUL in a set', 'scripts: {sets: {a: {type: cidr, file: "a\\0"}}}'],
    ['a NUL in a token', 'admin: {tokens: [{name: a, tokenFile: "a\\0", scopes: [read]}]}'],
    ['a path without end', `scripts: {load: [{name: a, file: ${'x/'.repeat(5000)}a.ts}]}`],
    ['a list instead of all', '[]'],
    ['a text instead of all', 'hello'],
    ['documents', 'a: 1\n---\nb: 2'],
    ['more than a config has', `# ${'x'.repeat(5 * 1024 * 1024)}`],
  ];
  test.each(bodies)('%s', async (_, body) => {
    const { status, problem } = await send(YAML, body);
    expect([status, problem.detail]).toEqual([expect.any(Number), expect.any(String)]);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  });

  test.each([
    ['/v1/bundles', 'POST'],
    ['/v1/explain', 'POST'],
    ['/v1/device/swap', 'POST'],
    ['/v1/scripts/a', 'PUT'],
  ])('JSON without a bottom at %s', async (path, method) => {
    for (const body of [nested(200_000, '[', ']'), nested(50_000, '{"scripts":', '}')]) {
      const { status } = await send(JSON_TYPE, body, path, method);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
  });
});
