/** The HTTP API: its routes, and what holds for all of them. */
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { BUNDLE_MAX_BYTES } from '../../config/script-files.ts';
import { SETS_MAX_BYTES } from '../../config/sets.ts';
import type { LogTap } from '../log/log-tap.ts';
import type { Logger } from '../log/logger.ts';
import { requireScope } from './access.ts';
import { answerUnrouted } from './allowed-methods.ts';
import type { ApiEnv } from './api-env.ts';
import { auditWrites } from './audit.ts';
import { guardBrowser } from './browser-guard.ts';
import type { ControlPlane } from './control-plane.ts';
import { answerError, ProblemError } from './problem.ts';
import { endRevoked } from './revocation.ts';
import { captureRoutes } from './routes/capture.ts';
import { clashRoutes } from './routes/clash.ts';
import { configRoutes } from './routes/config.ts';
import { conntrackRoutes } from './routes/conntrack.ts';
import { deviceRoutes } from './routes/device.ts';
import { dropRoutes } from './routes/drops.ts';
import { endingRoutes } from './routes/ending.ts';
import { eventRoutes } from './routes/events.ts';
import { explainRoutes } from './routes/explain.ts';
import { flowRoutes } from './routes/flows.ts';
import { generationRoutes } from './routes/generations.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes } from './routes/info.ts';
import { logLevelRoutes } from './routes/log-level.ts';
import { openApiRoutes } from './routes/openapi.ts';
import { reloadRoutes } from './routes/reloads.ts';
import { scriptRoutes } from './routes/scripts.ts';
import { statusRoutes } from './routes/status.ts';
import { trialRoutes } from './routes/trial.ts';
import { upstreamRoutes } from './routes/upstreams.ts';

/** A bundle as JSON, where a byte can become six; what is in it is measured again. */
const BODY_MAX_BYTES = 6 * BUNDLE_MAX_BYTES + 2 * SETS_MAX_BYTES;

export interface ApiOptions {
  readonly log: Logger;
  readonly logTap: LogTap;
}

export function createApi(plane: ControlPlane, { log, logTap }: ApiOptions): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.onError((error, context) => answerError(error, context, log));
  app.notFound((context) => answerUnrouted(app, context));
  app.use(auditWrites(plane, log));
  app.use(
    guardBrowser(plane),
    requireScope(() => plane.config.access),
    endRevoked((listener) => plane.config.onAccess(listener)),
  );
  app.use(
    bodyLimit({
      maxSize: BODY_MAX_BYTES,
      onError: () => {
        throw new ProblemError(413, `the body is larger than ${BODY_MAX_BYTES} bytes`);
      },
    }),
  );
  app.route('/', healthRoutes(plane));
  app.route('/', infoRoutes(plane));
  app.route('/', statusRoutes(plane));
  app.route('/', configRoutes(plane));
  app.route('/', logLevelRoutes(plane));
  app.route('/', endingRoutes(plane));
  app.route('/', scriptRoutes(plane));
  app.route('/', generationRoutes(plane));
  app.route('/', reloadRoutes(plane));
  app.route('/', trialRoutes(plane));
  app.route('/', flowRoutes(plane));
  app.route('/', conntrackRoutes(plane));
  app.route('/', eventRoutes(plane));
  app.route('/', dropRoutes(plane));
  app.route('/', captureRoutes(plane));
  app.route('/', deviceRoutes(plane));
  app.route('/', explainRoutes(plane));
  app.route('/', upstreamRoutes(plane));
  app.route('/', clashRoutes(plane, logTap));
  app.route('/', openApiRoutes(app));
  return app;
}
