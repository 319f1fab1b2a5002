/**
 * Answers that go on end when a reload takes from their caller what let it in: a token that is
 * revoked must not go on to read for as long as its bearer does not hang up.
 */
import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from './api-env.ts';
import { LINES_TYPE } from './lines.ts';

/** How lines end whose reader may not have them any more; the transport says it its own way. */
export class RevokedError extends Error {
  override readonly name = 'RevokedError';
  readonly code = 'REVOKED';

  constructor() {
    super('the config lets this caller in no more');
  }
}

type Controller = ReadableStreamDefaultController<Uint8Array>;

const EVENT_TEXT = `event: revoked\ndata: ${JSON.stringify({
  event: 'revoked',
  detail: new RevokedError().message,
})}\n\n`;

/** The last words of each type that goes on; an answer of another type is whole when it begins. */
const FAREWELLS: Readonly<Record<string, (controller: Controller) => void>> = {
  'text/event-stream': (controller) => {
    controller.enqueue(new TextEncoder().encode(EVENT_TEXT));
    controller.close();
  },
  [LINES_TYPE]: (controller) => controller.error(new RevokedError()),
  // Whole blocks are what it has, so it ends as a file does.
  'application/x-pcapng': (controller) => controller.close(),
};

/** @param onAccess  calls when there are other rules; its result ends that */
export function endRevoked(
  onAccess: (listener: () => void) => () => void,
): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    await next();
    const { body, headers } = context.res;
    const farewell = FAREWELLS[headers.get('Content-Type') ?? ''];
    if (body === null || farewell === undefined) return;
    const isLetIn = context.get('isLetIn');
    context.res = new Response(untilRevoked(body, isLetIn, farewell, onAccess), context.res);
  };
}

function untilRevoked(
  body: ReadableStream<Uint8Array>,
  isLetIn: () => boolean,
  farewell: (controller: Controller) => void,
  onAccess: (listener: () => void) => () => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let isRevoked = false;
  let leave = (): void => {};
  return new ReadableStream(
    {
      start(controller) {
        const look = (): void => {
          if (isRevoked || isLetIn()) return;
          isRevoked = true;
          leave();
          void reader.cancel();
          farewell(controller);
        };
        leave = onAccess(look);
        // It may have changed while the request was read.
        look();
      },
      async pull(controller) {
        const { value, done } = await reader.read().catch((error: unknown) => {
          leave();
          throw error;
        });
        if (isRevoked) return;
        if (!done) return controller.enqueue(value);
        leave();
        controller.close();
      },
      cancel(reason) {
        leave();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
