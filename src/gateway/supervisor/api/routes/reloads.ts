/** Reloads: begin one, wait for it, look how it went. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { CHANGE_PROBLEMS, describeJson, describeReload } from '../describe.ts';
import { changeOptions } from '../precondition.ts';
import { reload, reloadParam, reloadQuery, reloads } from '../schemas.ts';
import { validate } from '../validate.ts';
import { viewReload, viewReloaded } from '../views.ts';

export function reloadRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.post(
    '/v1/reload',
    describeReload('Reads config and scripts from disk again; `wait` for how it goes.', [
      429,
      ...CHANGE_PROBLEMS,
    ]),
    validate('query', reloadQuery),
    async (context) => {
      const { wait, ...query } = context.req.valid('query');
      const record = plane.startReload(changeOptions(context, query, plane.canaryDefaults));
      context.header('Reload-ID', record.id);
      context.header('Location', `/v1/reloads/${record.id}`);
      if (wait > 0) await record.decided(wait);
      const active = plane.activeGeneration.number;
      // Who did not wait hears of a failure where the others do.
      if (record.error !== undefined && wait > 0) throw record.error;
      const done = viewReloaded(record, active);
      if (done === undefined) return context.json(viewReload(record, active), 202);
      context.header('ETag', plane.etag);
      return context.json({ ...done, reload_id: record.id, state: record.state });
    },
  );
  app.get('/v1/reloads', describeJson('Reloads, newest first.', reloads), (context) => {
    const active = plane.activeGeneration.number;
    return context.json({ reloads: plane.reloads.map((record) => viewReload(record, active)) });
  });
  app.get(
    '/v1/reloads/:id',
    describeJson('How a reload went, or how far it is.', reload, [404]),
    validate('param', reloadParam),
    (context) => {
      const record = plane.findReload(context.req.valid('param').id);
      return context.json(viewReload(record, plane.activeGeneration.number));
    },
  );
  return app;
}
