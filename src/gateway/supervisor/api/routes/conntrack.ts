/** Connection tracking: the table of flows by tuples. What is flushed is a DELETE of flows. */
import { Hono } from 'hono';
import { parseFilter } from '../../../flow-filter/parse.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { conntrack, conntrackCount, filterQuery, flowsQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

export function conntrackRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/conntrack',
    describeJson('Entries of all protocols; `filter` as of flows.', conntrack, [400]),
    validate('query', flowsQuery),
    (context) => {
      const { filter, limit, from } = context.req.valid('query');
      const { items, next } = plane.flows.conntrack({ filter: parseFilter(filter), limit, from });
      return context.json({ entries: items, next });
    },
  );
  app.get(
    '/v1/conntrack/count',
    describeJson('How many entries pass `filter`, and how many fit.', conntrackCount, [400]),
    validate('query', filterQuery),
    (context) => {
      const count = plane.flows.count(parseFilter(context.req.valid('query').filter));
      return context.json({ count, limit: plane.flows.limit });
    },
  );
  return app;
}
