/** What runs. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { processTag } from '../process-tag.ts';
import { status } from '../schemas.ts';

export function statusRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  const summary = 'What runs. The ETag is that of the process, and of whether it drains.';
  app.get('/v1/status', describeJson(summary, status), (context) => {
    context.header('ETag', processTag(plane));
    return context.json(plane.status());
  });
  return app;
}
