/**
 * Every route, with what its description allows and what it does not: no answer is a failure of
 * ours or one that is not described, none takes long, and a refusal changes nothing. The seed is
 * fixed; FUZZ_RUNS asks for more.
 */
import { beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { z } from 'zod';
import { ROUTE_SCOPES } from '../../../../src/gateway/supervisor/api/access.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';
import {
  type ApiDocument,
  type JsonSchema,
  type Operation,
  operationsOf,
  readDocument,
} from './open-api.ts';

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 25);
const SEED = 20_261_121;
const ANSWER_MS = 2000;

let api: ApiDocument;
beforeAll(async () => {
  api = await readDocument(apiOf(fakePlane()));
});

/** Values that a reader of text may stumble over. */
const nasty = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '-1',
    '1e999',
    'NaN',
    'true',
    '../../etc/passwd',
    '%00',
    '\u0000',
    '"',
    '{}',
    '[]',
    'a'.repeat(5000),
    '10s',
    '99999999999h',
    '__proto__',
    'constructor',
    '\ud800',
    '*',
    'é',
    '{}{}',
  ),
  fc.string({ maxLength: 30 }),
  fc.integer().map(String),
);

/** What a schema of a parameter would take. */
function goodText(schema: JsonSchema): fc.Arbitrary<string> {
  const { enum: words, type } = schema as { enum?: string[]; type?: string };
  if (words !== undefined && words.length > 0) return fc.constantFrom(...words);
  if (type === 'integer') return fc.integer({ min: 0, max: 12 }).map(String);
  return fc.constantFrom('a', 'c', 'route', '5s', '1', 'proto=tcp', 'NEW', 'debug', '10%');
}

const bodies = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom(
    '{}',
    '[]',
    'null',
    '"x"',
    '{"log":{"level":"warn"}}',
    '{"device":{"mtu":9000}}',
    'log: {',
    '{"scripts":[{"name":"a","files":{"a.ts":"x"}}]}',
    '{"files":{"route.ts":"one"}}',
    'broken',
    '{"src":"10.0.0.5","dst":"10.0.0.6","dst_port":80}',
    '{"__proto__":{"a":1}}',
    'a: &a [*a]',
    '{"a":'.repeat(2000),
    '[['.repeat(20_000),
    '\ufeff{}',
    'x'.repeat(100_000),
  ),
  fc.json({ maxDepth: 4 }),
  fc.uint8Array({ maxLength: 200 }),
);
const types = fc.constantFrom(
  'application/json',
  'application/yaml',
  'application/merge-patch+json',
  'application/typescript',
  'text/plain',
  'application/x-tar',
  '',
  'application/json; charset=utf-16',
  'multipart/form-data',
);

interface Shot {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string | Uint8Array | undefined;
}

function shots(path: string, { parameters = [] }: Operation): fc.Arbitrary<Shot> {
  const query = parameters.filter((one) => one.in === 'query');
  const values = fc.tuple(
    ...query.map(({ name, schema }) =>
      fc.option(fc.oneof(goodText(schema), goodText(schema), nasty).map((value) => [name, value])),
    ),
  );
  const inPath = fc.oneof(fc.constantFrom('a', 'b', 'c', 'route', 'none'), nasty);
  const tags = fc.constantFrom(undefined, '*', '"0-0"', 'W/"x"', '"a", "b"', 'unquoted', '"', '');
  return fc
    .record({
      values,
      inPath,
      tags,
      types,
      bodies,
      accept: fc.constantFrom('', 'application/json', 'application/yaml'),
    })
    .map(({ values: chosen, inPath: part, tags: tag, types: type, bodies: body, accept }) => {
      const given = chosen.filter((one) => one !== null) as [string, string][];
      const search = new URLSearchParams(
        given.map(([name, value]): [string, string] => [name, value.toWellFormed()]),
      );
      const place = path.replace(/\{\w+\}/g, encodeURIComponent(part.toWellFormed()));
      return {
        path: `${place}?${search}`,
        headers: {
          ...(tag === undefined ? {} : { 'If-Match': tag, 'If-None-Match': tag }),
          ...(type === '' ? {} : { 'Content-Type': type }),
          ...(accept === '' ? {} : { Accept: accept }),
        },
        body,
      };
    });
}

/** All that a refused request must leave alone. */
const stateOf = (plane: FakePlane) =>
  JSON.stringify([
    plane.etag,
    plane.configChanges.etag,
    plane.logLevel.state,
    // The second flow of the fake ends before anybody can end it.
    plane.killed.filter((serial) => serial !== 11),
    plane.ended,
    plane.reloads.length,
  ]);

/** All of an answer that ends: events and lines go on for ever. */
async function textOf(response: Response): Promise<string> {
  const type = response.headers.get('Content-Type') ?? '';
  if (!/^(text\/event-stream|application\/x-ndjson)/.test(type)) return response.text();
  await response.body?.cancel();
  return '';
}

describe('a route', () => {
  test.each(Object.keys(ROUTE_SCOPES))(
    '%s stands whatever it is sent',
    async (route) => {
      const found = operationsOf(api).find((one) => one.route === route);
      if (found === undefined) throw new Error('not described');
      const { method, path, operation } = found;
      let plane = fakePlane();
      await fc.assert(
        fc.asyncProperty(shots(path, operation), async ({ path: place, headers, body }) => {
          const before = stateOf(plane);
          const hasBody = method !== 'GET' && body !== undefined;
          const response = await Promise.race([
            Promise.resolve(
              apiOf(plane).request(place, {
                method,
                headers,
                ...(hasBody && { body: body as string }),
              }),
            ),
            Bun.sleep(ANSWER_MS).then(() => undefined),
          ]);
          if (response === undefined) throw new Error('no answer');
          const text = await textOf(response);
          const { status } = response;
          expect(status).toBeLessThan(status === 503 ? 504 : 500);
          // An empty or strange part makes it the path of another route, or of none.
          const isHere = !/\/(%|\?|$)|\/\/|%2F/i.test(place) || status < 400;
          const known = Object.keys(operation.responses);
          if (isHere && status !== 404)
            expect([text, known]).toEqual([text, expect.arrayContaining([String(status)])]);
          if (status >= 400) expect(stateOf(plane)).toBe(before);
          else plane = fakePlane();
          const isJson =
            response.headers.get('Content-Type')?.startsWith('application/json') === true;
          const schema = operation.responses[status]?.content?.['application/json']?.schema;
          if (isJson && schema !== undefined && method !== 'HEAD') {
            expect(z.fromJSONSchema(schema).safeParse(JSON.parse(text)).error).toBeUndefined();
          }
          if (status >= 400) {
            expect(response.headers.get('Content-Type')).toMatch(
              /^(application\/problem\+json|text\/plain|application\/json)/,
            );
          }
          plane.flows.close();
        }),
        { seed: SEED, numRuns: RUNS, endOnFailure: true },
      );
    },
    60_000,
  );
});
