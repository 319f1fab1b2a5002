/** What happens to flows and to the gateway, as server-sent events; `dropped` stands for gaps. */
import { Hono } from 'hono';
import { parseFilter } from '../../../flow-filter/parse.ts';
import type { EventReader } from '../../flows/event-reader.ts';
import { FLOW_EVENT_NAMES } from '../../flows/event-ring.ts';
import { NOTICE_NAMES } from '../../notices.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeText } from '../describe.ts';
import { eventsHeader, eventsQuery } from '../schemas.ts';
import { validate } from '../validate.ts';

export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
};

export function eventRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/events',
    describeText(
      'Events of flows: NEW, UPDATE, DESTROY; `filter` as of flows, `type` as in `NEW,DESTROY`. ' +
        'Without a filter also of the gateway: GENERATION, RELOAD, DEVICE, AUDIT, LIMIT; ' +
        '`dropped` where events are missing, `revoked` at the end where a reload takes the right ' +
        'to read them. `Last-Event-ID` goes on where a client left.',
      [400, 429],
      'text/event-stream',
    ),
    validate('query', eventsQuery),
    validate('header', eventsHeader),
    (context) => {
      const { filter, type } = context.req.valid('query');
      // Nobody would read, or close, what a HEAD is answered with.
      if (context.req.method === 'HEAD') return context.body(null, 200, EVENT_STREAM_HEADERS);
      const lastId = context.req.valid('header')['last-event-id'];
      const reader = plane.flows.listen({
        filter: parseFilter(filter),
        // A filter is about flows; who has one wants to hear of nothing else.
        names: new Set(type ?? [...FLOW_EVENT_NAMES, ...(filter === '' ? NOTICE_NAMES : [])]),
        ...(lastId === undefined ? {} : { lastId }),
      });
      return context.body(streamOf(reader), 200, EVENT_STREAM_HEADERS);
    },
  );
  return app;
}

/** Reads on only when the client has taken what was sent, so that a slow one has no queue here. */
export function streamOf(reader: Pick<EventReader, 'next' | 'close'>): ReadableStream<Uint8Array> {
  const utf8 = new TextEncoder();
  return new ReadableStream(
    {
      async pull(controller) {
        const text = await reader.next();
        if (text === undefined) controller.close();
        else controller.enqueue(utf8.encode(text));
      },
      cancel: () => reader.close(),
    },
    { highWaterMark: 0 },
  );
}
