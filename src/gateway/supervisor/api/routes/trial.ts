/** The bundle on trial: how it does, and its end. */
import { Hono } from 'hono';
import { NoTrialError } from '../../scripts/change-errors.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { preconditionOf } from '../precondition.ts';
import { noQuery } from '../query.ts';
import { change, trial } from '../schemas.ts';
import { validate } from '../validate.ts';
import { viewChange, viewTrial } from '../views.ts';

export function trialRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/v1/trial', describeJson('The canary or shadow.', trial, [404]), (context) => {
    const state = plane.trial;
    if (state === undefined) throw new NoTrialError('no bundle is on trial');
    context.header('ETag', plane.etag);
    return context.json(viewTrial(state, plane.activeGeneration.number));
  });
  app.post(
    '/v1/trial/promote',
    describeJson('Makes the bundle on trial the active one.', change, [404, 412, 422, 428, 503]),
    validate('query', noQuery),
    async (context) => {
      const done = await plane.promote(preconditionOf(context, 'GET /v1/trial'));
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, {}, plane.activeGeneration.number));
    },
  );
  app.post(
    '/v1/trial/abort',
    describeJson('Ends the trial; the active bundle stays.', change, [404, 412, 428]),
    validate('query', noQuery),
    async (context) => {
      const done = await plane.abortTrial(preconditionOf(context, 'GET /v1/trial'));
      context.header('ETag', plane.etag);
      return context.json(viewChange(done, {}, plane.activeGeneration.number));
    },
  );
  return app;
}
