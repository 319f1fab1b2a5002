/** How much is logged, for a while. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { LOG_LEVELS } from '../../../config/schema.ts';
import { duration } from '../../../config/values.ts';
import type { LogLevel } from '../../log/log-level.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { demandMatch } from '../precondition.ts';
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
  const show = (context: Context) => {
    context.header('ETag', tagOf(plane.logLevel));
    return context.json(view(plane.logLevel));
  };
  const demand = (context: Context) =>
    demandMatch(context, 'the log level is', tagOf(plane.logLevel));
  app.get('/v1/log-level', describeJson('How much is logged, and until when.', logLevel), show);
  app.put(
    '/v1/log-level',
    describeJson('Logs more or less for a while: `for`, at most a day.', logLevel, [400, 412]),
    validate('query', levelQuery),
    (context) => {
      demand(context);
      const query = context.req.valid('query');
      plane.logLevel.ask(query.level, query.for);
      return show(context);
    },
  );
  app.delete(
    '/v1/log-level',
    describeJson('Logs as the config says again.', logLevel, [400, 412]),
    validate('query', noQuery),
    (context) => {
      demand(context);
      plane.logLevel.reset();
      return show(context);
    },
  );
  return app;
}

/** Two who ask for the same level at two times have not asked for the same. */
const tagOf = ({ state: { level: asked, configured, until = 0 } }: Pick<LogLevel, 'state'>) =>
  `"${asked}-${configured}-${until}"`;

function view({ state: { until, ...state } }: Pick<LogLevel, 'state'>): z.output<typeof logLevel> {
  return { ...state, ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
}
