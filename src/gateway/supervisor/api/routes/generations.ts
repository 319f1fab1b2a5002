/** Generations of scripts: the history, rollback. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { CHANGE_PROBLEMS, describeJson } from '../describe.ts';
import { changeOptions, unchanged } from '../precondition.ts';
import { change, generations, rollbackQuery } from '../schemas.ts';
import { validate } from '../validate.ts';
import { viewChange, viewGeneration } from '../views.ts';

export function generationRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/generations',
    describeJson('The history of script bundles, newest first.', generations, [304]),
    (context) => {
      const active = plane.activeGeneration.number;
      const known = unchanged(context, plane.etag);
      if (known) return known;
      return context.json({
        active,
        generations: plane.generations.map((entry) => viewGeneration(entry, active)),
      });
    },
  );
  app.post(
    '/v1/rollback',
    describeJson('Activates an old bundle as a new generation.', change, [404, ...CHANGE_PROBLEMS]),
    validate('query', rollbackQuery),
    async (context) => {
      const query = context.req.valid('query');
      const options = changeOptions(context, query, plane.canaryDefaults);
      const done = await plane.rollback(query.to, options);
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, options, plane.activeGeneration.number));
    },
  );
  return app;
}
