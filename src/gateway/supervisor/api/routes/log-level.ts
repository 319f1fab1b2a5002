/** How much is logged, for a while. */
import { Hono } from 'hono';
import { z } from 'zod';
import { LOG_LEVELS } from '../../../config/schema.ts';
import { duration } from '../../../config/values.ts';
import type { LogLevel } from '../../log/log-level.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { noQuery, query } from '../query.ts';
import { validate } from '../validate.ts';

/** A level that is forgotten fills a disk; below the 2^31 ms of a timer. */
const FOR_MS_MAX = 24 * 3_600_000;

const level = z.enum(LOG_LEVELS);
const levelQuery = query({
  level,
  /** Then the level of the config comes back; `0s`: when it is asked to. */
  for: duration(0, FOR_MS_MAX)
    .meta({ examples: ['10m'] })
    .prefault('10m'),
});
export const logLevel = z.object({
  level,
  configured: level,
  until: z.string().optional(),
});

export function logLevelRoutes(plane: Pick<ControlPlane, 'logLevel'>): Hono {
  const app = new Hono();
  app.get(
    '/v1/log-level',
    describeJson('How much is logged, and until when.', logLevel),
    (context) => context.json(view(plane.logLevel)),
  );
  app.put(
    '/v1/log-level',
    describeJson('Logs more or less for a while: `for`, at most a day.', logLevel, [400]),
    validate('query', levelQuery),
    (context) => {
      const query = context.req.valid('query');
      plane.logLevel.ask(query.level, query.for);
      return context.json(view(plane.logLevel));
    },
  );
  app.delete(
    '/v1/log-level',
    describeJson('Logs as the config says again.', logLevel, [400]),
    validate('query', noQuery),
    (context) => {
      plane.logLevel.reset();
      return context.json(view(plane.logLevel));
    },
  );
  return app;
}

function view({ state: { until, ...state } }: Pick<LogLevel, 'state'>): z.output<typeof logLevel> {
  return { ...state, ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
}
