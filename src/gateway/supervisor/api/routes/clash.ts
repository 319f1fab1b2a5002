/**
 * A subset of the API of Clash, for its dashboards: `admin.clash: true`. The rules of access are
 * those of all routes; a token is never taken from a URL.
 */
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { z } from 'zod';
import { parseFlowId } from '../../../flow-filter/flow-id.ts';
import { everyFlow } from '../../../flow-filter/parse.ts';
import { viewLiveFlow } from '../../flows/live-flows.ts';
import type { LogTap } from '../../log/log-tap.ts';
import type { ApiEnv } from '../api-env.ts';
import {
  connections,
  levelOf,
  logLine,
  traffic,
  viewConnection,
  viewLogLine,
} from '../clash-views.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeEmpty, describeJson, describeLines } from '../describe.ts';
import { answerLines, everyPeriod, type LineSource } from '../lines.ts';
import { demandMatch } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { validate } from '../validate.ts';
import { clashStartRoutes } from './clash-start.ts';

const SHOWN_MAX = 10_000;
const SECOND_MS = 1000;

const logsQuery = z.object({
  level: z.enum(['debug', 'info', 'warn', 'warning', 'error']).default('info'),
});
const connectionsQuery = z.object({
  /** Of a WebSocket: milliseconds between two messages. */
  interval: z.coerce.number().int().min(100).max(60_000).default(SECOND_MS),
});
const connectionParam = z.object({ id: z.string() });

export function clashRoutes(plane: ControlPlane, logTap: LogTap): Hono {
  const app = new Hono();
  const guard: MiddlewareHandler<ApiEnv> = async (context, next) => {
    if (plane.config.isClash) {
      const isLetIn = context.get('isLetIn');
      context.set('isLetIn', () => plane.config.isClash && isLetIn());
      return next();
    }
    throw new ProblemError(404, 'the routes of Clash are off: see admin.clash of the config');
  };

  app.get(
    '/connections',
    describeJson(
      'Live flows as Clash has them; a WebSocket gets them each `interval`.',
      connections,
      [400, 404],
    ),
    guard,
    validate('query', connectionsQuery),
    (context) => {
      const { interval } = context.req.valid('query');
      if (!isWebSocket(context)) return context.json(viewAll(plane));
      return answerLines(everyPeriod(interval, () => viewAll(plane)));
    },
  );
  const killAll = describeEmpty('Resets all flows.', [404, 412]);
  app.delete('/connections', killAll, guard, async (context) => {
    demandMatch(context, 'all flows together have');
    await plane.flows.killAll(everyFlow);
    return context.body(null, 204);
  });
  app.delete(
    '/connections/:id',
    describeEmpty('Resets a flow.', [404, 412]),
    guard,
    validate('param', connectionParam),
    async (context) => {
      const { id } = context.req.valid('param');
      demandMatch(context, 'the flow is', `"${id}"`);
      const serial = parseFlowId(id);
      const isKilled = serial !== undefined && (await plane.flows.kill(serial));
      if (!isKilled) throw new ProblemError(404, `no flow "${id}" lives`);
      return context.body(null, 204);
    },
  );
  app.get('/traffic', describeLines('Bytes of each second.', traffic, [404]), guard, (context) =>
    lines(context, everyPeriod(SECOND_MS, trafficOf(plane))),
  );
  app.get(
    '/logs',
    describeLines(
      'Lines of the log, as much as the log level lets through.',
      logLine,
      [400, 404, 429],
    ),
    guard,
    validate('query', logsQuery),
    (context) => lines(context, logLines(logTap, levelOf(context.req.valid('query').level))),
  );
  app.route('/', clashStartRoutes(plane, guard));
  return app;
}

/** Nobody would read, or close, what a HEAD is answered with. */
function lines(context: Context, source: LineSource): Response {
  if (context.req.method !== 'HEAD') return answerLines(source);
  source.close();
  return context.body(null, 200);
}

const isWebSocket = (context: Context): boolean =>
  context.req.header('Upgrade')?.toLowerCase() === 'websocket';

function viewAll(plane: ControlPlane): z.output<typeof connections> {
  const { up, down } = plane.traffic();
  const { items } = plane.flows.live.page(
    { filter: everyFlow, from: 0, limit: SHOWN_MAX },
    viewLiveFlow,
  );
  return { uploadTotal: up, downloadTotal: down, connections: items.map(viewConnection) };
}

function trafficOf(plane: ControlPlane): () => z.output<typeof traffic> {
  let before = plane.traffic();
  return () => {
    const now = plane.traffic();
    const { up, down } = before;
    before = now;
    return { up: now.up - up, down: now.down - down, upTotal: now.up, downTotal: now.down };
  };
}

function logLines(logTap: LogTap, least: string): LineSource {
  const reader = logTap.listen();
  return {
    async next() {
      for (;;) {
        const found = await reader.next();
        if (found === undefined) return undefined;
        const shown = found.flatMap((line) => {
          const view = viewLogLine(line, least);
          return view === undefined ? [] : [JSON.stringify(view)];
        });
        if (shown.length > 0) return shown.join('\n');
      }
    },
    close: () => reader.close(),
  };
}
