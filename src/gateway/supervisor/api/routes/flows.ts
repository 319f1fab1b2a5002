/** Live flows: list, look, end. */
import { Hono } from 'hono';
import { parseFilter } from '../../flow-filter.ts';
import { parseFlowId } from '../../flow-view.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson, describeText } from '../describe.ts';
import { parseIfMatch } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { flow, flowParam, flows, flowsQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

export function flowRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/flows',
    describeJson('Live flows; `filter` as in `src=10.0.0.0/8 port=443`.', flows, [400]),
    validate('query', flowsQuery),
    (context) => {
      const { filter, limit, from } = context.req.valid('query');
      return context.json(plane.flows({ filter: parseFilter(filter), limit, from }));
    },
  );
  app.get(
    '/v1/flows/:id',
    describeJson('One live flow.', flow, [404]),
    validate('param', flowParam),
    (context) => {
      const { id } = context.req.valid('param');
      const found = plane.flow(serialOf(id));
      if (found === undefined) throw gone(id);
      context.header('ETag', `"${id}"`);
      return context.json(found);
    },
  );
  // No If-Match is demanded here: an id is never used twice, so no one else's flow can be meant.
  app.delete(
    '/v1/flows/:id',
    describeText('Resets a flow.', [404, 412]),
    validate('param', flowParam),
    async (context) => {
      const { id } = context.req.valid('param');
      const ifMatch = parseIfMatch(context);
      if (Array.isArray(ifMatch) && !ifMatch.includes(`"${id}"`)) {
        throw new ProblemError(412, `the flow is "${id}", not ${ifMatch.join(' or ')}`);
      }
      if (!(await plane.killFlow(serialOf(id)))) throw gone(id);
      return context.body(null, 204);
    },
  );
  return app;
}

function serialOf(id: string): number {
  const serial = parseFlowId(id);
  if (serial === undefined) throw gone(id);
  return serial;
}

const gone = (id: string) => new ProblemError(404, `no flow "${id}" lives`);
