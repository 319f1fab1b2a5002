/** The HTTP API: its routes, and what holds for all of them. */
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { BUNDLE_MAX_BYTES } from '../../config/script-files.ts';
import { SETS_MAX_BYTES } from '../../config/sets.ts';
import type { Logger } from '../log/logger.ts';
import { guardBrowser, requireToken } from './access.ts';
import type { ControlPlane } from './control-plane.ts';
import { answerError, ProblemError } from './problem.ts';
import { conntrackRoutes } from './routes/conntrack.ts';
import { deviceRoutes } from './routes/device.ts';
import { dropRoutes } from './routes/drops.ts';
import { eventRoutes } from './routes/events.ts';
import { explainRoutes } from './routes/explain.ts';
import { flowRoutes } from './routes/flows.ts';
import { generationRoutes } from './routes/generations.ts';
import { healthRoutes } from './routes/health.ts';
import { openApiRoutes } from './routes/openapi.ts';
import { reloadRoutes } from './routes/reloads.ts';
import { scriptRoutes } from './routes/scripts.ts';
import { statusRoutes } from './routes/status.ts';
import { trialRoutes } from './routes/trial.ts';

/** A bundle as JSON, where a byte can become six; what is in it is measured again. */
const BODY_MAX_BYTES = 6 * BUNDLE_MAX_BYTES + 2 * SETS_MAX_BYTES;

export interface ApiOptions {
  readonly log: Logger;
  /** Demanded of every client; absent on a unix socket, whose file mode is the guard. */
  readonly token?: string;
}

export function createApi(plane: ControlPlane, { log, token }: ApiOptions): Hono {
  const app = new Hono();
  app.onError((error, context) => answerError(error, context, log));
  app.notFound(() => {
    throw new ProblemError(404, 'there is nothing here; GET /v1/openapi.json lists what is');
  });
  // A token means TCP. No web page reaches a unix socket, and its clients make up a host name.
  if (token !== undefined) app.use(guardBrowser(), requireToken(token));
  app.use(
    bodyLimit({
      maxSize: BODY_MAX_BYTES,
      onError: () => {
        throw new ProblemError(413, `the body is larger than ${BODY_MAX_BYTES} bytes`);
      },
    }),
  );
  app.route('/', healthRoutes(plane));
  app.route('/', statusRoutes(plane));
  app.route('/', scriptRoutes(plane));
  app.route('/', generationRoutes(plane));
  app.route('/', reloadRoutes(plane));
  app.route('/', trialRoutes(plane));
  app.route('/', flowRoutes(plane));
  app.route('/', conntrackRoutes(plane));
  app.route('/', eventRoutes(plane));
  app.route('/', dropRoutes(plane));
  app.route('/', deviceRoutes(plane));
  app.route('/', explainRoutes(plane));
  app.route('/', openApiRoutes(app));
  return app;
}
