/** Live flows: list, look, end one or those that a filter names. */
import { Hono } from 'hono';
import { everyFlow, parseFilter } from '../../flows/filter/parse.ts';
import { parseFlowId } from '../../flows/flow-view.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeEmpty, describeJson } from '../describe.ts';
import { parseIfMatch } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { flow, flowParam, flows, flowsQuery, killed, killQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

/** Flows that a dry run shows. */
const SHOWN_MAX = 100;

export function flowRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/flows',
    describeJson('Live flows; `filter` as in `src in 10.0.0.0/8 and dport = 443`.', flows, [400]),
    validate('query', flowsQuery),
    (context) => {
      const { filter, limit, from } = context.req.valid('query');
      const { items, next } = plane.flows.list({ filter: parseFilter(filter), limit, from });
      return context.json({ flows: items, next });
    },
  );
  app.delete(
    '/v1/flows',
    describeJson(
      'Resets the flows that `filter` names, or `all`. Flows have no versions: no ETag is needed.',
      killed,
      [400],
    ),
    validate('query', killQuery),
    async (context) => {
      const { filter: text, all, dry_run: isDryRun } = context.req.valid('query');
      const filter = parseFilter(text);
      if (filter === everyFlow && !all) {
        throw new ProblemError(400, 'which flows? say so with "filter", or "all=true"');
      }
      if (!isDryRun)
        return context.json({ dry_run: false, ...(await plane.flows.killAll(filter)) });
      const { items } = plane.flows.list({ filter, from: 0, limit: SHOWN_MAX });
      const matched = plane.flows.count(filter);
      return context.json({ dry_run: true, matched, killed: 0, flows: items });
    },
  );
  app.get(
    '/v1/flows/:id',
    describeJson('One live flow.', flow, [404]),
    validate('param', flowParam),
    (context) => {
      const { id } = context.req.valid('param');
      const found = plane.flows.find(serialOf(id));
      if (found === undefined) throw gone(id);
      context.header('ETag', `"${id}"`);
      return context.json(found);
    },
  );
  // No If-Match is demanded here: an id is never used twice, so no one else's flow can be meant.
  app.delete(
    '/v1/flows/:id',
    describeEmpty('Resets a flow. Its id is never used again, so no ETag is needed.', [404, 412]),
    validate('param', flowParam),
    async (context) => {
      const { id } = context.req.valid('param');
      const ifMatch = parseIfMatch(context);
      if (Array.isArray(ifMatch) && !ifMatch.includes(`"${id}"`)) {
        throw new ProblemError(412, `the flow is "${id}", not ${ifMatch.join(' or ')}`);
      }
      if (!(await plane.flows.kill(serialOf(id)))) throw gone(id);
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
