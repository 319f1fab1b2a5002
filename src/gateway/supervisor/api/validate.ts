/** Checks a part of a request against its schema; the answer names each place. */
import type { Context } from 'hono';
import { validator } from 'hono-openapi';
import type { z } from 'zod';
import { ProblemError } from './problem.ts';

type Target = 'query' | 'param' | 'header' | 'json';

const PLACES: Readonly<Record<Target, string>> = {
  query: 'the query',
  param: 'the path',
  header: 'a header',
  json: 'the body',
};

/** Those that the validator reads. */
const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

export const validate = <Schema extends z.ZodType, T extends Target>(target: T, schema: Schema) =>
  validator(target, schema, async (result, context) => {
    if (target === 'json') await demandJson(context);
    if (result.success) return;
    const errors = result.error.map((issue) => ({
      path: (issue.path ?? [])
        .map((key) => String(typeof key === 'object' ? key.key : key))
        .join('.'),
      message: issue.message,
    }));
    const first = errors[0];
    const place = first?.path ? ` ${first.path}:` : '';
    const detail = first === undefined ? '' : `:${place} ${first.message}`;
    throw new ProblemError(400, `${PLACES[target]} cannot be read${detail}`, errors);
  });

/**
 * What has another type was not read, and a route would do what it does without a body.
 *
 * @throws ProblemError  415
 */
async function demandJson({ req }: Context): Promise<void> {
  const type = req.header('Content-Type') ?? '';
  if (JSON_TYPE.test(type) || (type === '' && (await req.text()) === '')) return;
  throw new ProblemError(415, `"${type}" is no JSON: send application/json`);
}
