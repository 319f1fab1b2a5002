/** Packets that reached nobody and flows that ended, by reason. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { drops, dropsQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

export function dropRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/drops',
    describeJson('Counts by reason; `all` shows zeroes too.', drops, [400]),
    validate('query', dropsQuery),
    (context) => {
      const { all } = context.req.valid('query');
      const shown = ({ count }: { readonly count: number }) => all === true || count > 0;
      const counts = plane.drops();
      return context.json({
        drops: counts.drops.filter(shown),
        closes: counts.closes.filter(shown),
      });
    },
  );
  return app;
}
