/** Checks a part of a request against its schema; the answer names each place. */
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

export const validate = <Schema extends z.ZodType, T extends Target>(target: T, schema: Schema) =>
  validator(target, schema, (result) => {
    if (result.success) return;
    const errors = result.error.map((issue) => ({
      path: (issue.path ?? [])
        .map((key) => String(typeof key === 'object' ? key.key : key))
        .join('.'),
      message: issue.message,
    }));
    const first = errors[0];
    const detail = first === undefined ? '' : `: ${first.path}: ${first.message}`;
    throw new ProblemError(400, `${PLACES[target]} cannot be read${detail}`, errors);
  });
