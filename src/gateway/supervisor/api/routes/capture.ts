/** Packets of chosen flows, or those that are dropped, as a pcapng file that grows. */
import { Hono } from 'hono';
import { z } from 'zod';
import { DROP_REASON_NAMES, DropReason } from '../../../../stack/drop-reason.ts';
import type { Capture } from '../../capture/capture.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeText } from '../describe.ts';
import { ProblemError } from '../problem.ts';
import { query } from '../query.ts';
import { validate } from '../validate.ts';

const TYPE = 'application/x-pcapng';
const HEADERS = { 'Content-Type': TYPE, 'Cache-Control': 'no-store' };

/** As tcpdump: more than any packet has. */
const SNAP_LENGTH_MAX = 262_144;
const SNAP_LENGTH_MIN = 20;
const HOURS_24_MS = 86_400_000;
const REASONS = DROP_REASON_NAMES.filter((_, index) => index !== DropReason.NONE);

const captureQuery = query({
  filter: z.string().default(''),
  /** Id of one flow, which need not live any more. */
  flow: z
    .string()
    .regex(/^[0-9a-z]{1,11}$/, 'expected the id of a flow')
    .optional(),
  /** Only what is dropped: `any`, or one reason. */
  drops: z.enum(['any', ...REASONS]).optional(),
  snaplen: z.coerce.number().int().min(SNAP_LENGTH_MIN).max(SNAP_LENGTH_MAX).optional(),
  count: z.coerce.number().int().min(0).default(0),
  seconds: z.coerce
    .number()
    .min(0)
    .max(HOURS_24_MS / 1000)
    .default(0),
});

export function captureRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/capture',
    describeText(
      'Packets as pcapng, until `count` or `seconds` is reached or the client goes away; ' +
        '`filter` as of flows, `flow` for one, `drops` for those that are dropped.',
      [400, 429],
      TYPE,
    ),
    validate('query', captureQuery),
    (context) => {
      const { filter, flow, drops, snaplen, count, seconds } = context.req.valid('query');
      if (flow !== undefined && filter !== '') {
        throw new ProblemError(400, 'either "flow" or "filter"');
      }
      // Nobody would read, or close, what a HEAD is answered with.
      if (context.req.method === 'HEAD') return context.body(null, 200, HEADERS);
      const capture = plane.flows.capture({
        filter: flow === undefined ? filter : `id = ${flow}`,
        drops,
        snapLength: snaplen ?? SNAP_LENGTH_MAX,
        count,
        durationMs: seconds * 1000,
      });
      return context.body(streamOf(capture), 200, HEADERS);
    },
  );
  return app;
}

/** Reads on only when the client has taken what was sent. */
const streamOf = (capture: Capture): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      async pull(controller) {
        const bytes = await capture.next();
        if (bytes === undefined) controller.close();
        else controller.enqueue(bytes);
      },
      cancel: () => capture.close(),
    },
    { highWaterMark: 0 },
  );
