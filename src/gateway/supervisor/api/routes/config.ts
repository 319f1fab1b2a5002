/** The config that runs: read, replace, change in part. */
import { type Context, Hono } from 'hono';
import { stringify } from 'yaml';
import { z } from 'zod';
import { mergePatch } from '../../../config/config-value.ts';
import { ConfigError } from '../../../config/load.ts';
import type { ConfigChange } from '../../config-changes.ts';
import {
  CONFIG_TYPES,
  type ConfigBody,
  PATCH_TYPES,
  readConfigBody,
  wantsYaml,
} from '../config-body.ts';
import type { ControlPlane } from '../control-plane.ts';
import { CHANGE_PROBLEMS, describeJson } from '../describe.ts';
import { preconditionOf, unchanged } from '../precondition.ts';
import { query } from '../query.ts';
import { flag, generation } from '../schemas.ts';
import { validate } from '../validate.ts';
import { viewGeneration } from '../views.ts';

const configQuery = query({
  dry_run: flag,
  /** Apply also what is identical. */
  force: flag,
  /** Write the config file, too; without: it lasts until the next reload. */
  persist: flag,
});

const config = z.record(z.string(), z.unknown());
export const configChange = z.object({
  changed: z.boolean(),
  dry_run: z.boolean(),
  persisted: z.boolean(),
  config_generation: z.number(),
  /** Of the scripts: another one where the config has others. */
  generation,
  differences: z.array(
    z.object({ path: z.string(), before: z.unknown().optional(), after: z.unknown().optional() }),
  ),
});

const PROBLEMS = [409, 413, 415, ...CHANGE_PROBLEMS];

export function configRoutes(plane: ControlPlane): Hono {
  const app = new Hono();
  const change = async (
    context: Context,
    query: z.output<typeof configQuery>,
    { placed }: ConfigBody,
    make: (written: unknown) => unknown,
  ) => {
    const isFree = query.force === true || query.dry_run === true;
    const precondition = preconditionOf(context, 'GET /v1/config', isFree);
    const options = { ...precondition, ...query, dryRun: query.dry_run };
    const done = await plane.configChanges.change(make, options).catch((error: unknown) => {
      throw error instanceof ConfigError ? placed(error) : error;
    });
    context.header('ETag', plane.configChanges.etag);
    return context.json(view(done, plane, query.dry_run === true));
  };

  app.get(
    '/v1/config',
    describeJson(
      'The config as it was written, without secrets; YAML for who accepts `application/yaml`.',
      config,
      [304],
    ),
    (context) => {
      const known = unchanged(context, plane.configChanges.etag);
      if (known) return known;
      const { shown } = plane.configChanges;
      if (!wantsYaml(context)) return context.json(shown as object);
      return context.body(stringify(shown), 200, { 'Content-Type': 'application/yaml' });
    },
  );
  app.put(
    '/v1/config',
    describeJson(
      'Replaces the config. A secret that is sent as it is shown, `***`, stays. What needs a ' +
        'restart is refused with 409. `persisted` says whether the file was written.',
      configChange,
      PROBLEMS,
      { 'application/yaml': z.string(), 'application/json': config },
    ),
    validate('query', configQuery),
    async (context) => {
      const body = await readConfigBody(context, CONFIG_TYPES);
      return change(context, context.req.valid('query'), body, () => body.value);
    },
  );
  app.patch(
    '/v1/config',
    describeJson('Changes the config in part: a merge patch, RFC 7396.', configChange, PROBLEMS, {
      'application/merge-patch+json': config,
    }),
    validate('query', configQuery),
    async (context) => {
      const body = await readConfigBody(context, PATCH_TYPES);
      return change(context, context.req.valid('query'), body, (written) =>
        mergePatch(written, body.value),
      );
    },
  );
  return app;
}

function view(
  { changed, differences, isPersisted, generation: scripts }: ConfigChange,
  plane: ControlPlane,
  isDryRun: boolean,
): z.output<typeof configChange> {
  return {
    changed,
    dry_run: isDryRun,
    persisted: isPersisted,
    config_generation: plane.status().config.generation,
    generation: viewGeneration(scripts, plane.activeGeneration.number),
    differences: differences.map((one) => ({ ...one })),
  };
}
