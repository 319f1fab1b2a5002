/** What this gateway is: its build, and what runs in it. */
import { Hono } from 'hono';
import { z } from 'zod';
import { buildInfo } from '../../build-info.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';

/** `version` is all that dashboards of Clash look at. */
const version = z.object({ version: z.string(), commit: z.string(), bun: z.string() });
const info = version.extend({
  state: z.enum(['starting', 'running', 'draining']),
  uptime_seconds: z.number(),
  config_generation: z.number(),
  /** Of the scripts that decide now. */
  script_version: z.number(),
  script_hash: z.string(),
});

export function infoRoutes(plane: Pick<ControlPlane, 'status'>): Hono {
  const app = new Hono();
  app.get('/version', describeJson('The build.', version), (context) => context.json(buildInfo));
  app.get('/info', describeJson('The build, and what runs.', info), (context) => {
    const { state, uptime_seconds, config, generation } = plane.status();
    return context.json({
      ...buildInfo,
      state,
      uptime_seconds,
      config_generation: config.generation,
      script_version: generation.number,
      script_hash: generation.hash,
    });
  });
  return app;
}
