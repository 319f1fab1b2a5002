/** What runs. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { status } from '../schemas.ts';

export function statusRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/v1/status', describeJson('What runs.', status), (context) =>
    context.json(plane.status()),
  );
  return app;
}
