/** The TUN device: how it is, and another one in its place. */
import { type Context, Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';
import { deviceView, swapBody } from '../device-schemas.ts';
import { preconditionOf } from '../precondition.ts';
import { noQuery } from '../query.ts';
import { validate } from '../validate.ts';

export function deviceRoutes(plane: Pick<ControlPlane, 'device'>): Hono {
  const app = new Hono();
  const show = (context: Context) => {
    context.header('ETag', plane.device.etag);
    return context.json(plane.device.view());
  };
  app.get(
    '/v1/device',
    describeJson('The TUN device, and what happened to it last.', deviceView),
    show,
  );
  app.post(
    '/v1/device/swap',
    describeJson(
      'Goes on with a fresh device, of the same name when none is given, while flows live.',
      deviceView,
      [400, 412, 415, 422, 428, 503],
    ),
    validate('query', noQuery),
    validate('json', swapBody),
    async (context) => {
      const { ifMatch } = preconditionOf(context, 'GET /v1/device');
      await plane.device.swap(context.req.valid('json').name, ifMatch);
      return show(context);
    },
  );
  return app;
}
