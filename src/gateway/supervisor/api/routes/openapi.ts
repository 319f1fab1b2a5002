/** The document of this API, made from the schemas of its routes. */
import { Hono } from 'hono';
import { generateSpecs } from 'hono-openapi';
import { buildInfo } from '../../build-info.ts';

/** @param api  the app whose routes are described */
export function openApiRoutes(api: Hono): Hono {
  const app = new Hono();
  app.get('/v1/openapi.json', async (context) =>
    context.json(
      await generateSpecs(api, {
        documentation: {
          info: {
            title: 'culvert',
            version: buildInfo.version,
            description: 'Control of the gateway.',
          },
        },
        // Every refusal is a problem+json, which each route says for itself.
        defaultValidationErrorResponse: false,
      }),
    ),
  );
  return app;
}
