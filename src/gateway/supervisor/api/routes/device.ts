/** The TUN device: how it is, and another one in its place. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson, describeText } from '../describe.ts';
import { deviceView, swapBody } from '../device-schemas.ts';
import { eventsHeader } from '../schemas.ts';
import { validate } from '../validate.ts';
import { EVENT_STREAM_HEADERS, streamOf } from './events.ts';

export function deviceRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/device',
    describeJson('The TUN device, and what happened to it last.', deviceView),
    (context) => context.json(plane.device.view()),
  );
  app.get(
    '/v1/device/events',
    describeText(
      'What happens to the device: up, down, mtu, queue, renamed, moved, returned, gone, ' +
        'recreated, swapped; `dropped` where events are missing, `revoked` as of all events. ' +
        '`Last-Event-ID` goes on where a client left.',
      [400, 429],
      'text/event-stream',
    ),
    validate('header', eventsHeader),
    (context) => {
      // Nobody would read, or close, what a HEAD is answered with.
      if (context.req.method === 'HEAD') return context.body(null, 200, EVENT_STREAM_HEADERS);
      const reader = plane.device.events.listen(context.req.valid('header')['last-event-id']);
      return context.body(streamOf(reader), 200, EVENT_STREAM_HEADERS);
    },
  );
  app.post(
    '/v1/device/swap',
    describeJson(
      'Goes on with a fresh device, of the same name when none is given, while flows live.',
      deviceView,
      [400, 415, 422, 503],
    ),
    validate('json', swapBody),
    async (context) => {
      await plane.device.swap(context.req.valid('json').name);
      return context.json(plane.device.view());
    },
  );
  return app;
}
