/** The document against the routes, both ways, and against what OpenAPI 3.1 demands. */
import { beforeAll, expect, test } from 'bun:test';
import { z } from 'zod';
import { ROUTE_SCOPES } from '../../../../src/gateway/supervisor/api/access.ts';
import { apiOf, fakePlane } from './fake-plane.ts';
import { type ApiDocument, type JsonSchema, operationsOf, readDocument } from './open-api.ts';

let described: ApiDocument;
beforeAll(async () => {
  described = await readDocument(apiOf(fakePlane()));
});

test('every route is described, and what is described is a route, with the same scope', () => {
  const scopes = operationsOf(described).map(({ route, operation }) => [
    route,
    operation['x-scope'] ?? 'open',
  ]);
  expect(Object.fromEntries(scopes)).toEqual({ ...ROUTE_SCOPES });
});

test('it is OpenAPI 3.1: parameters, operations and answers are complete', () => {
  expect(described.openapi).toStartWith('3.1.');
  expect(described.info).toMatchObject({ title: 'culvert', version: expect.any(String) });
  const names = operationsOf(described).map(({ operation }) => operation.operationId);
  expect(new Set(names).size).toBe(names.length);
  for (const { route, path, operation } of operationsOf(described)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
    const declared = (operation.parameters ?? []).filter((one) => one.in === 'path');
    expect([route, declared.map(({ name }) => name)]).toEqual([route, inPath]);
    expect(declared.every(({ required }) => required === true)).toBe(true);
    expect(operation.summary).toMatch(/^[A-Z].*\.$|`$/);
    for (const [status, answer] of Object.entries(operation.responses)) {
      expect(status).toMatch(/^[2345]\d\d$/);
      expect(answer.description).not.toBe('');
    }
    const keys = (operation.parameters ?? []).map((one) => `${one.in} ${one.name}`);
    expect([route, new Set(keys).size]).toEqual([route, keys.length]);
  }
});

test('every reference leads somewhere, and every schema is one', () => {
  const text = JSON.stringify(described);
  for (const [, reference = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const target = reference
      .split('/')
      .reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], described);
    expect([reference, typeof target]).toEqual([reference, 'object']);
  }
  for (const { operation } of operationsOf(described)) {
    const bodies = [operation.requestBody, ...Object.values(operation.responses)];
    for (const body of bodies) {
      for (const { schema } of Object.values(body?.content ?? {})) {
        expect(() => z.fromJSONSchema(schema)).not.toThrow();
      }
    }
  }
});

test('every write says what its If-Match means; a question is no write', () => {
  const writes = operationsOf(described).filter(({ method }) => method !== 'GET');
  const deaf = writes.filter(
    ({ operation: { responses, parameters = [] } }) =>
      !('412' in responses && parameters.some(({ name }) => name === 'If-Match')),
  );
  expect(deaf.map(({ route }) => route)).toEqual(['POST /v1/explain']);
});

test('a write that demands a version says so', () => {
  const versioned = operationsOf(described)
    .filter(({ operation }) => '428' in operation.responses)
    .map(({ route, operation }) => {
      const names = (operation.parameters ?? []).map(({ name }) => name);
      return [route, names.includes('If-Match') && '412' in operation.responses];
    });
  expect(Object.fromEntries(versioned)).toEqual({
    'PUT /v1/config': true,
    'PATCH /v1/config': true,
    'PUT /v1/scripts/:name': true,
    'DELETE /v1/scripts/:name': true,
    'POST /v1/bundles': true,
    'POST /v1/rollback': true,
    'POST /v1/reload': true,
    'POST /v1/trial/promote': true,
    'POST /v1/trial/abort': true,
    'POST /v1/device/swap': true,
  });
});

test('a parameter that a route does not know is refused, with what was meant', async () => {
  const strict = operationsOf(described).filter(
    ({ method, path, operation: { parameters = [] } }) =>
      path.startsWith('/v1/') && (method !== 'GET' || parameters.some((one) => one.in === 'query')),
  );
  expect(strict.length).toBeGreaterThan(20);
  const plane = fakePlane();
  for (const { method, path, route } of strict) {
    const place = path.replace(/\{\w+\}/g, 'a');
    const headers = { 'If-Match': '*', 'Content-Type': 'application/json' };
    const answer = await apiOf(plane).request(`${place}?nonsense=1`, { method, headers });
    const { errors } = (await answer.json()) as { errors: object[] };
    const fault = { path: '', message: 'unknown parameter "nonsense"' };
    expect([route, answer.status, errors]).toEqual([route, 400, expect.arrayContaining([fault])]);
  }
  expect([plane.killed, plane.ended, plane.swapped]).toEqual([[], [], []]);
  const answer = await apiOf(plane).request('/v1/flows?all=true&dryrun=true', { method: 'DELETE' });
  expect(((await answer.json()) as { detail: string }).detail).toEndWith(
    'unknown parameter "dryrun", did you mean "dry_run"?',
  );
  expect(plane.killed).toEqual([]);
});

test('examples are what their schemas say', () => {
  let examples = 0;
  const check = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { examples: given, ...schema } = value as { examples?: unknown };
    for (const example of Array.isArray(given) ? given : []) {
      examples++;
      expect(z.fromJSONSchema(schema as JsonSchema).safeParse(example).error).toBeUndefined();
    }
    for (const inner of Object.values(value)) check(inner);
  };
  check(described.paths);
  expect(examples).toBeGreaterThan(4);
});
