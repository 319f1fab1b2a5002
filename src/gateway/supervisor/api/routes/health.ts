/** Probes: live, ready, and the numbers. */
import { Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeText } from '../describe.ts';

export function healthRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/healthz', describeText('The supervisor lives.'), (context) => context.text('ok\n'));
  app.get('/readyz', describeText('New flows are taken; 503 tells why not.'), (context) => {
    const reasons = plane.notReady();
    const isReady = reasons.length === 0;
    const status = isReady ? 200 : 503;
    if (context.req.header('Accept')?.includes('application/json')) {
      return context.json({ ready: isReady, reasons }, status);
    }
    return context.text(isReady ? 'ready\n' : `not ready: ${reasons.join(', ')}\n`, status);
  });
  app.get('/metrics', describeText('Prometheus metrics.'), (context) =>
    context.text(plane.metrics(), 200, {
      'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  return app;
}
