/** Probes: live, ready, and the numbers. */
import { type Context, Hono } from 'hono';
import {
  OPEN_METRICS_CONTENT_TYPE,
  PROMETHEUS_CONTENT_TYPE,
  toOpenMetrics,
  wantsOpenMetrics,
} from '../../metrics/open-metrics.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeProbe, describeText } from '../describe.ts';

/** Without it an answer of text alone has no type on the wire. */
const PLAIN = { 'Content-Type': 'text/plain; charset=UTF-8' };

export function healthRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get('/healthz', describeText('The supervisor lives.'), (context) =>
    wantsJson(context) ? context.json({ live: true }) : context.text('ok\n', 200, PLAIN),
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
  app.get('/metrics', describeText('Prometheus metrics, OpenMetrics by Accept.'), (context) => {
    const text = plane.metrics();
    return wantsOpenMetrics(context.req.header('Accept'))
      ? context.text(toOpenMetrics(text), 200, { 'Content-Type': OPEN_METRICS_CONTENT_TYPE })
      : context.text(text, 200, { 'Content-Type': PROMETHEUS_CONTENT_TYPE });
  });
  return app;
}

const wantsJson = (context: Context): boolean =>
  context.req.header('Accept')?.includes('application/json') === true;
