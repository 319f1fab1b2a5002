/** Short forms of what the OpenAPI document says about a route. */
import { describeRoute, resolver } from 'hono-openapi';
import { z } from 'zod';
import { problem, readiness, reload, reloaded } from './schemas.ts';

const PROBLEMS: Readonly<Record<number, string>> = {
  304: 'It is what the client has.',
  400: 'The request cannot be read.',
  404: 'There is no such thing.',
  409: 'It needs a restart, or the config file is not what was read.',
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

/** What a body may be, by its content type. */
export type BodyTypes = Readonly<Record<string, z.ZodType>>;

/** A route that answers with JSON of the schema, or with one of the problems. */
export const describeJson = (
  summary: string,
  schema: z.ZodType,
  problems: readonly number[] = [],
  body?: BodyTypes,
) =>
  describeRoute({
    summary,
    ...conditionsOf(problems),
    ...bodyOf(body),
    responses: {
      200: { description: 'OK', content: { 'application/json': { schema: resolver(schema) } } },
      ...problemResponses(problems),
    },
  });

/** A reload that went well, and one whose end was not waited for. */
export const describeReload = (summary: string, problems: readonly number[]) =>
  describeRoute({
    summary,
    ...conditionsOf(problems),
    responses: {
      200: {
        description: 'Done.',
        content: { 'application/json': { schema: resolver(reloaded) } },
      },
      202: { description: 'Begun.', content: { 'application/json': { schema: resolver(reload) } } },
      ...problemResponses(problems),
    },
  });

/** A route that begins something, and answers before it is over. */
export const describeAccepted = (
  summary: string,
  schema: z.ZodType,
  problems: readonly number[] = [],
) =>
  describeRoute({
    summary,
    ...conditionsOf(problems),
    responses: {
      202: { description: 'Begun.', content: { 'application/json': { schema: resolver(schema) } } },
      ...problemResponses(problems),
    },
  });

/** A probe: what it says is its status. */
export const describeProbe = (summary: string) =>
  describeRoute({
    summary,
    responses: { 200: probeAnswer('Yes.'), 503: probeAnswer('No.') },
  });

const probeAnswer = (description: string) => ({
  description,
  content: {
    'text/plain': { schema: { type: 'string' as const } },
    'application/json': { schema: resolver(readiness) },
  },
});

/** A route that has nothing to say when it went well. */
export const describeEmpty = (summary: string, problems: readonly number[] = []) =>
  describeRoute({
    summary,
    ...conditionsOf(problems),
    responses: { 204: { description: 'Done.' }, ...problemResponses(problems) },
  });

/** A route that answers with lines of JSON, one after the other, until its client goes. */
export const describeLines = (
  summary: string,
  schema: z.ZodType,
  problems: readonly number[] = [],
) =>
  describeRoute({
    summary: `${summary} A line of JSON each; to a WebSocket, a message.`,
    responses: {
      200: {
        description: 'Goes on.',
        content: { 'application/x-ndjson': { schema: resolver(schema) } },
      },
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
    ...conditionsOf(problems),
    responses: {
      200: { description: 'OK', content: { [type]: { schema: { type: 'string' } } } },
      ...problemResponses(problems),
    },
  });

function problemResponses(statuses: readonly number[]) {
  const content = { 'application/problem+json': { schema: resolver(problem) } };
  // A condition can be one that nobody can read.
  const isConditional = statuses.some((status) => status === 304 || status === 412);
  return Object.fromEntries(
    [...new Set([...statuses, ...(isConditional ? [400] : [])])].map((status) => [
      status,
      { description: PROBLEMS[status] ?? 'Problem', ...(status === 304 ? {} : { content }) },
    ]),
  );
}

/** What goes with an ETag: `If-Match` where 412 or 428 may come, `If-None-Match` where 304 may. */
function conditionsOf(statuses: readonly number[]) {
  const tag = (name: string, description: string) => ({
    in: 'header' as const,
    name,
    description,
    schema: { type: 'string' as const },
  });
  return {
    parameters: [
      ...(statuses.includes(428)
        ? [tag('If-Match', 'The ETag that was read, or `*`. `force` and `dry_run` go without.')]
        : []),
      ...(statuses.includes(412) && !statuses.includes(428)
        ? [tag('If-Match', 'Absent, `*`, or the ETag that was read.')]
        : []),
      ...(statuses.includes(304) ? [tag('If-None-Match', 'ETags that the client has.')] : []),
    ],
  };
}

function bodyOf(body: BodyTypes | undefined) {
  if (body === undefined) return {};
  const types = Object.entries(body).map(([type, schema]) => [
    type,
    // Of a body it is what is sent that matters.
    { schema: z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' }) },
  ]);
  return { requestBody: { required: true, content: Object.fromEntries(types) } };
}
