/** Answers that go on: one line of JSON after the other, made as the client takes them. */

/** A WebSocket client gets each line as a message. */
export const LINES_TYPE = 'application/x-ndjson';

export interface LineSource {
  /** The next line, as soon as there is one; undefined at the end. */
  readonly next: () => Promise<string | undefined>;
  readonly close: () => void;
}

export function answerLines({ next, close }: LineSource): Response {
  const utf8 = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const line = await next();
        if (line === undefined) controller.close();
        else controller.enqueue(utf8.encode(`${line}\n`));
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: { 'Content-Type': LINES_TYPE, 'Cache-Control': 'no-store' },
  });
}

/** A line at once, and then one each period. */
export function everyPeriod(periodMs: number, make: () => unknown): LineSource {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isFirst = true;
  let end: (() => void) | undefined;
  return {
    async next() {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      end = () => resolve(false);
      if (isFirst) resolve(true);
      else timer = setTimeout(() => resolve(true), periodMs);
      isFirst = false;
      return (await promise) ? JSON.stringify(make()) : undefined;
    },
    close() {
      clearTimeout(timer);
      end?.();
    },
  };
}
