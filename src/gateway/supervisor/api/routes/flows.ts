/** Live flows: list, look, end one or those that a filter names. */
import { Hono } from 'hono';
import { parseFlowId } from '../../../flow-filter/flow-id.ts';
import { everyFlow, parseFilter } from '../../../flow-filter/parse.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeEmpty, describeJson } from '../describe.ts';
import { flowInfo, flowInfos, flowsViewQuery, flowViewQuery } from '../flow-info-schemas.ts';
import { demandMatch } from '../precondition.ts';
import { ProblemError } from '../problem.ts';
import { noQuery } from '../query.ts';
import { flowParam, killed, killQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

/** Flows that a dry run shows. */
const SHOWN_MAX = 100;

export function flowRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/flows',
    describeJson(
      'Live flows; `filter` as in `src in 10.0.0.0/8 and dport = 443`; `view=tcp` for both ends.',
      flowInfos,
      [400],
    ),
    validate('query', flowsViewQuery),
    async (context) => {
      const { filter, limit, from, view } = context.req.valid('query');
      const request = { filter: parseFilter(filter), limit, from };
      const { items, next } =
        view === 'tcp' ? await plane.flows.info(request) : plane.flows.list(request);
      return context.json({ flows: items, next });
    },
  );
  app.delete(
    '/v1/flows',
    describeJson(
      'Resets the flows that `filter` names, or `all`. Flows have no versions: no ETag is needed.',
      killed,
      [400, 412],
    ),
    validate('query', killQuery),
    async (context) => {
      const { filter: text, all, dry_run: isDryRun } = context.req.valid('query');
      const filter = parseFilter(text);
      if (filter === everyFlow && !all) {
        throw new ProblemError(400, 'which flows? say so with "filter", or "all=true"');
      }
      demandMatch(context, 'the flows that a filter names have');
      if (!isDryRun)
        return context.json({ dry_run: false, ...(await plane.flows.killAll(filter)) });
      const { items } = plane.flows.list({ filter, from: 0, limit: SHOWN_MAX });
      const matched = plane.flows.count(filter);
      return context.json({ dry_run: true, matched, killed: 0, flows: items });
    },
  );
  app.get(
    '/v1/flows/:id',
    describeJson('One live flow; `view=tcp` for both ends.', flowInfo, [400, 404]),
    validate('param', flowParam),
    validate('query', flowViewQuery),
    async (context) => {
      const { id } = context.req.valid('param');
      const { view } = context.req.valid('query');
      const serial = serialOf(id);
      const filter = parseFilter(`id = ${id}`);
      const found =
        view === 'tcp'
          ? (await plane.flows.info({ filter, limit: 1, from: 0 })).items[0]
          : plane.flows.find(serial);
      if (found === undefined) throw gone(id);
      context.header('ETag', `"${id}"`);
      return context.json(found);
    },
  );
  // No If-Match is demanded here: an id is never used twice, so no one else's flow can be meant.
  app.delete(
    '/v1/flows/:id',
    describeEmpty(
      'Resets a flow. Its id is never used again, so no ETag is needed.',
      [400, 404, 412],
    ),
    validate('param', flowParam),
    validate('query', noQuery),
    async (context) => {
      const { id } = context.req.valid('param');
      demandMatch(context, 'the flow is', `"${id}"`);
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
