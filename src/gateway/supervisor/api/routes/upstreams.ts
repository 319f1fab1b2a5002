/** Upstreams that have names: their addresses, how they are, and what they carry. */
import { Hono } from 'hono';
import { z } from 'zod';
import type { ControlPlane } from '../control-plane.ts';
import { describeJson } from '../describe.ts';

const address = z.object({
  address: z.string(),
  /** False: it is left out, or was not tried again since. */
  healthy: z.boolean(),
  active: z.number(),
  connects: z.number(),
  failures: z.number(),
  last_error: z.string().optional(),
});

export const upstreams = z.object({
  upstreams: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(['pool', 'proxy', 'egress']),
      policy: z.string().optional(),
      protocol: z.string().optional(),
      interface: z.string().optional(),
      fwmark: z.number().optional(),
      source: z.array(z.string()).optional(),
      healthy: z.boolean(),
      active: z.number().optional(),
      connects: z.number(),
      failures: z.number(),
      connect_seconds: z.number(),
      addresses: z.array(address),
    }),
  ),
});

export function upstreamRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  app.get(
    '/v1/upstreams',
    describeJson('Upstreams by name; counts are at most a second old.', upstreams),
    (context) => context.json({ upstreams: plane.upstreams }),
  );
  return app;
}
