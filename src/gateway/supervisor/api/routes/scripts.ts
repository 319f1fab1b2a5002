/** Scripts of the active generation: read, replace, remove. */
import { type Context, Hono } from 'hono';
import type { ControlPlane, NewScript } from '../control-plane.ts';
import { CHANGE_PROBLEMS, describeJson, describeText } from '../describe.ts';
import { changeOptions } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { change, changeQuery, scriptParam, scripts } from '../schemas.ts';
import { validate } from '../validate.ts';
import { viewChange } from '../views.ts';

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

export function scriptRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/v1/scripts', describeJson('Scripts in the order of asking.', scripts), (context) => {
    context.header('ETag', plane.etag);
    const { number } = plane.activeGeneration;
    return context.json({ generation: number, scripts: plane.status().scripts });
  });
  app.get(
    '/v1/scripts/:name',
    describeText('Source of a script.', [404]),
    validate('param', scriptParam),
    (context) => {
      const { name } = context.req.valid('param');
      const found = plane.activeGeneration.scripts.find((script) => script.name === name);
      if (found === undefined) throw new ProblemError(404, `no script "${name}" is loaded`);
      context.header('ETag', plane.etag);
      return context.text(found.source);
    },
  );
  app.put(
    '/v1/scripts/:name',
    describeJson('Replaces a script, or adds it at the end.', change, [
      413,
      415,
      ...CHANGE_PROBLEMS,
    ]),
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

/** @throws ProblemError  415 for another type, 400 for what is no text */
async function readScript(context: Context, name: string): Promise<NewScript> {
  const type = (context.req.header('Content-Type') ?? 'text/plain').split(';')[0]?.trim() ?? '';
  const ending = CONTENT_TYPES[type.toLowerCase()];
  if (ending === undefined) {
    throw new ProblemError(415, `"${type}" is no script: send application/typescript`);
  }
  const bytes = await context.req.arrayBuffer();
  if (bytes.byteLength === 0) throw new ProblemError(400, 'the body is empty: send the source');
  try {
    const source = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { name, file: `${name}.${ending}`, source };
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new ProblemError(400, 'the body is not UTF-8');
  }
}
