/**
 * What dashboards of Clash ask for before they show anything: yacd takes no gateway without
 * `/configs`, and zashboard draws nothing without its `mode`. There are no proxies to choose here
 * and no rules in the words of Clash, so these lists are empty.
 */
import { Hono, type MiddlewareHandler } from 'hono';
import { z } from 'zod';
import type { ApiEnv } from '../api-env.ts';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';

const configs = z.object({
  mode: z.literal('rule'),
  'log-level': z.string(),
  'allow-lan': z.literal(false),
  tun: z.object({ enable: z.literal(true), device: z.string() }),
});

const EMPTY = [
  ['/proxies', 'proxies', {}],
  ['/providers/proxies', 'providers', {}],
  ['/providers/rules', 'providers', {}],
  ['/rules', 'rules', []],
] as const;

export function clashStartRoutes(
  plane: Pick<ControlPlane, 'logLevel' | 'status'>,
  guard: MiddlewareHandler<ApiEnv>,
): Hono {
  const app = new Hono();
  app.get(
    '/configs',
    describeJson('What dashboards of Clash ask for first.', configs, [404]),
    guard,
    (context) => {
      const { level } = plane.logLevel.state;
      return context.json({
        mode: 'rule',
        'log-level': level === 'warn' ? 'warning' : level,
        'allow-lan': false,
        tun: { enable: true, device: plane.status().device.name },
      });
    },
  );
  for (const [path, name, value] of EMPTY) {
    const schema = z.object({ [name]: z.unknown() });
    const summary = 'Empty: dashboards of Clash want it to be there.';
    app.get(path, describeJson(summary, schema, [404]), guard, (context) =>
      context.json({ [name]: value }),
    );
  }
  return app;
}
