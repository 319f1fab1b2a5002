/** The document of this API, made from the schemas of its routes. */
import { Hono } from 'hono';
import { describeRoute, generateSpecs } from 'hono-openapi';
import { buildInfo } from '../../build-info.ts';
import { ROUTE_SCOPES } from '../access.ts';
import type { ApiEnv } from '../api-env.ts';

const DESCRIPTION = `Control of the gateway.

Every operation says in \`x-scope\` which scope its caller needs: on a unix socket that of its uid,
on TCP that of its token. A refusal says all that is known: \`application/problem+json\`, RFC 9457.

Config, scripts and the device have versions. A change of them names the one that it starts from
by \`If-Match\`; \`*\`, \`?force=true\` and \`?dry_run=true\` stand for whatever is there. Other
writes may go without; an \`If-Match\` that they have is looked at, too: of the log level, of a
flow, and of the gateway (\`GET /v1/status\`) for its drain and stop. All flows together have no
version: 412.`;

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

/** @param api  the app whose routes are described */
export function openApiRoutes(api: Hono<ApiEnv>): Hono {
  const app = new Hono();
  app.get(
    '/v1/openapi.json',
    describeRoute({
      summary: 'This document.',
      responses: {
        200: {
          description: 'OpenAPI 3.1.',
          content: { 'application/json': { schema: { type: 'object' } } },
        },
      },
    }),
    async (context) => context.json(await describeApi(api)),
  );
  return app;
}

async function describeApi(api: Hono<ApiEnv>) {
  const document = await generateSpecs(api as unknown as Hono, {
    documentation: {
      info: { title: 'culvert', version: buildInfo.version, description: DESCRIPTION },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
    // This document is a route like the others.
    excludeStaticFile: false,
    // Every refusal is a problem+json, which each route says for itself.
    defaultValidationErrorResponse: false,
  });
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = operations?.[method];
      if (operation === undefined) continue;
      const route = `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`;
      const scope = ROUTE_SCOPES[route] ?? 'admin';
      if (scope === 'open') continue;
      Object.assign(operation, { 'x-scope': scope, security: [{ token: [] }] });
      operation.responses = {
        ...operation.responses,
        401: { description: 'No token, or one that is not known.' },
        403: { description: 'The scope is missing, or it is a web page that asks.' },
      };
    }
  }
  return document;
}
