/** Short forms of what the OpenAPI document says about a route. */
import { describeRoute, resolver } from 'hono-openapi';
import type { z } from 'zod';
import { problem, reload, reloaded } from './schemas.ts';

const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'The request cannot be read.',
  404: 'There is no such thing.',
  412: 'The state has changed since it was read.',
  413: 'The body is too large.',
  415: 'The body is of another type.',
  422: 'Config or scripts do not load; nothing was changed.',
  428: 'If-Match is missing.',
  429: 'As many listen, or wait, as may.',
  503: 'No script host could load the scripts now; nothing was changed.',
};

/** What a change of scripts can be answered with besides success. */
export const CHANGE_PROBLEMS = [400, 412, 422, 428, 503] as const;

/** A route that answers with JSON of the schema, or with one of the problems. */
export const describeJson = (
  summary: string,
  schema: z.ZodType,
  problems: readonly number[] = [],
) =>
  describeRoute({
    summary,
    responses: {
      200: { description: 'OK', content: { 'application/json': { schema: resolver(schema) } } },
      ...problemResponses(problems),
    },
  });

/** A reload that went well, and one whose end was not waited for. */
export const describeReload = (summary: string, problems: readonly number[]) =>
  describeRoute({
    summary,
    responses: {
      200: {
        description: 'Done.',
        content: { 'application/json': { schema: resolver(reloaded) } },
      },
      202: { description: 'Begun.', content: { 'application/json': { schema: resolver(reload) } } },
      ...problemResponses(problems),
    },
  });

/** A route that answers with text. */
export const describeText = (
  summary: string,
  problems: readonly number[] = [],
  type = 'text/plain',
) =>
  describeRoute({
    summary,
    responses: {
      200: { description: 'OK', content: { [type]: { schema: { type: 'string' } } } },
      ...problemResponses(problems),
    },
  });

function problemResponses(statuses: readonly number[]) {
  const content = { 'application/problem+json': { schema: resolver(problem) } };
  return Object.fromEntries(
    statuses.map((status) => [status, { description: PROBLEMS[status] ?? 'Problem', content }]),
  );
}
