/** The end of a gateway: no new flows, and then no gateway. */
import { Hono } from 'hono';
import { z } from 'zod';
import { duration } from '../../../config/values.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeAccepted } from '../describe.ts';
import { demandMatch } from '../precondition.ts';
import { processTag } from '../process-tag.ts';
import { query } from '../query.ts';
import { validate } from '../validate.ts';

const DAY_MS = 24 * 3_600_000;

/** How long live flows may take; absent: as the config says. */
const endQuery = query({
  deadline: duration(0, DAY_MS)
    .meta({ examples: ['30s'] })
    .optional(),
});
export const ending = z.object({
  state: z.enum(['draining', 'stopping']),
  /** Flows that live now. */
  flows: z.number(),
  deadline_ms: z.number(),
});

export function endingRoutes(plane: Pick<ControlPlane, 'beginDrain' | 'beginStop' | 'status'>) {
  const app = new Hono();
  app.post(
    '/v1/drain',
    describeAccepted(
      'Takes no new flow from now on, and ends what lives at the deadline. `/readyz` is 503; the ' +
        'gateway runs on until it is stopped.',
      ending,
      [400, 412],
    ),
    validate('query', endQuery),
    (context) => {
      demandMatch(context, 'the gateway is', processTag(plane));
      const deadlineMs = plane.beginDrain(context.req.valid('query').deadline);
      return context.json(view('draining', deadlineMs), 202);
    },
  );
  app.post(
    '/v1/stop',
    describeAccepted(
      'Drains, and ends the process. `deadline=0s` ends it at once; a second one does so, too.',
      ending,
      [400, 412],
    ),
    validate('query', endQuery),
    (context) => {
      demandMatch(context, 'the gateway is', processTag(plane));
      const deadlineMs = plane.beginStop(context.req.valid('query').deadline);
      return context.json(view('stopping', deadlineMs), 202);
    },
  );
  const view = (state: 'draining' | 'stopping', deadlineMs: number) => ({
    state,
    flows: plane.status().flows.active,
    deadline_ms: deadlineMs,
  });
  return app;
}
