/** Scripts of the active generation: read, replace, remove. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { BUNDLE_MAX_BYTES } from '../../../config/script-files.ts';
import type { NewScript } from '../../scripts/script-changes.ts';
import type { ControlPlane } from '../control-plane.ts';
import { CHANGE_PROBLEMS, describeJson, describeText } from '../describe.ts';
import { changeOptions, unchanged } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { change, changeQuery, scriptParam, scripts } from '../schemas.ts';
import { bundleBody, readJsonBody, scriptBody, toScript } from '../script-body.ts';
import { validate } from '../validate.ts';
import { viewChange, viewScript } from '../views.ts';

/** Content types of a script, with the ending of its file. */
const CONTENT_TYPES: Readonly<Record<string, 'ts' | 'js'>> = {
  'application/typescript': 'ts',
  'text/typescript': 'ts',
  'application/javascript': 'js',
  'text/javascript': 'js',
  'text/plain': 'ts',
  'application/octet-stream': 'ts',
  // What curl sends with --data-binary when nobody says otherwise.
  'application/x-www-form-urlencoded': 'ts',
};

const JSON_TYPE = 'application/json';
const SCRIPT_BODIES = { 'application/typescript': z.string(), [JSON_TYPE]: scriptBody };

export function scriptRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/v1/scripts', describeJson('Scripts in the order of asking.', scripts), (context) => {
    context.header('ETag', plane.etag);
    const { number, limits } = plane.activeGeneration;
    const { scripts: list } = plane.status();
    return context.json({ generation: number, scripts: list, limits: { ...limits } });
  });
  app.get(
    '/v1/scripts/:name',
    describeText(
      'Source of a script; all of its files, as JSON, for who accepts that.',
      [304, 404],
    ),
    validate('param', scriptParam),
    (context) => {
      const { name } = context.req.valid('param');
      const found = plane.activeGeneration.scripts.find((script) => script.name === name);
      if (found === undefined) throw new ProblemError(404, `no script "${name}" is loaded`);
      const known = unchanged(context, plane.etag);
      if (known) return known;
      if (context.req.header('Accept')?.includes(JSON_TYPE)) return context.json(viewScript(found));
      return context.text(found.source);
    },
  );
  app.put(
    '/v1/scripts/:name',
    describeJson(
      'Replaces a script, or adds it at the end.',
      change,
      [413, 415, ...CHANGE_PROBLEMS],
      SCRIPT_BODIES,
    ),
    validate('param', scriptParam),
    validate('query', changeQuery),
    async (context) => {
      const options = changeOptions(context, context.req.valid('query'), plane.canaryDefaults);
      const script = await readScript(context, context.req.valid('param').name);
      const done = await plane.putScript(script, options);
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, options, plane.activeGeneration.number));
    },
  );
  app.post(
    '/v1/bundles',
    describeJson('Replaces all scripts, several files each.', change, [413, ...CHANGE_PROBLEMS], {
      [JSON_TYPE]: bundleBody,
    }),
    validate('query', changeQuery),
    async (context) => {
      const options = changeOptions(context, context.req.valid('query'), plane.canaryDefaults);
      const { scripts, ...others } = await readJsonBody(context, bundleBody);
      const bundle = {
        scripts: scripts.map(({ name, ...body }) => toScript(name, body)),
        ...others,
      };
      const done = await plane.putBundle(bundle, options);
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, options, plane.activeGeneration.number));
    },
  );
  app.delete(
    '/v1/scripts/:name',
    describeJson('Removes a script.', change, [404, ...CHANGE_PROBLEMS]),
    validate('param', scriptParam),
    validate('query', changeQuery),
    async (context) => {
      const options = changeOptions(context, context.req.valid('query'), plane.canaryDefaults);
      const done = await plane.removeScript(context.req.valid('param').name, options);
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, options, plane.activeGeneration.number));
    },
  );
  return app;
}

/** @throws ProblemError  415 for another type, 400 for what is no text or lacks the script */
async function readScript(context: Context, name: string): Promise<NewScript> {
  const sent = context.req.header('Content-Type') ?? 'text/plain';
  const type = (sent.split(';')[0] ?? '').trim().toLowerCase();
  if (type === JSON_TYPE) return toScript(name, await readJsonBody(context, scriptBody));
  const ending = CONTENT_TYPES[type];
  if (ending === undefined) {
    throw new ProblemError(415, `"${type}" is no script: send application/typescript, or JSON`);
  }
  const bytes = await context.req.arrayBuffer();
  if (bytes.byteLength > BUNDLE_MAX_BYTES) {
    throw new ProblemError(413, `the script is larger than ${BUNDLE_MAX_BYTES} bytes`);
  }
  if (bytes.byteLength === 0) throw new ProblemError(400, 'the body is empty: send the source');
  try {
    const source = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { name, file: `${name}.${ending}`, source };
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new ProblemError(400, 'the body is not UTF-8');
  }
}
