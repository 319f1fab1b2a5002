/** Probes: live, ready, and the numbers. */
import { type Context, Hono } from 'hono';
import type { ControlPlane } from '../control-plane.ts';
import { describeProbe, describeText } from '../describe.ts';

export function healthRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/healthz', describeText('The supervisor lives.'), (context) =>
    wantsJson(context) ? context.json({ live: true }) : context.text('ok\n'),
  );
  // As Envoy, Traefik and Kubernetes call it.
  for (const path of ['/readyz', '/ready', '/ping']) {
    app.get(path, describeProbe('New flows are taken; 503 tells why not.'), (context) => {
      const reasons = plane.notReady();
      const isReady = reasons.length === 0;
      const status = isReady ? 200 : 503;
      if (wantsJson(context)) return context.json({ ready: isReady, reasons }, status);
      return context.text(isReady ? 'ready\n' : `not ready: ${reasons.join(', ')}\n`, status);
    });
  }
  app.get('/metrics', describeText('Prometheus metrics.'), (context) =>
    context.text(plane.metrics(), 200, {
      'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    }),
  );
  return app;
}

const wantsJson = (context: Context): boolean =>
  context.req.header('Accept')?.includes('application/json') === true;
