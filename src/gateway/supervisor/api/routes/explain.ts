/** Who would decide about a flow, and why. Nothing remembers the question. */
import { Hono } from 'hono';
import { toRecordedFlow } from '../../scripts/recorded-flow.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { explainBody, explanation } from '../explain-schemas.ts';
import { noQuery } from '../query.ts';
import { validate } from '../validate.ts';

export function explainRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.post(
    '/v1/explain',
    describeJson('Who would decide about a flow, step by step.', explanation, [400, 415, 422, 503]),
    validate('query', noQuery),
    validate('json', explainBody),
    async (context) => context.json(await plane.explain(toRecordedFlow(context.req.valid('json')))),
  );
  return app;
}
