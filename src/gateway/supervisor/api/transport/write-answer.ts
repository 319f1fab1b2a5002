/** Writes an answer of a route, as fast as its client takes it and no faster. */
import type { ServerResponse } from 'node:http';
import { RevokedError } from '../revocation.ts';
import type { Connection } from './connections.ts';

/** Each piece has a deadline of its own, so that it bounds how slow a client may be. */
const PIECE_BYTES = 64 * 1024;

/**
 * Settles when the answer was taken, or its client is gone.
 *
 * @param answerMs  for a piece to be taken
 */
export async function writeAnswer(
  response: Response,
  out: ServerResponse,
  connection: Connection,
  answerMs: number,
): Promise<void> {
  out.writeHead(response.status, Object.fromEntries(response.headers));
  const reader = response.body?.getReader();
  const gone = Promise.withResolvers<void>();
  out.once('close', gone.resolve);
  if (reader === undefined) return finish(out, connection, answerMs, gone.promise);
  // What a HEAD is answered with has a body that nobody reads.
  if (out.req.method === 'HEAD') await reader.cancel();
  // One that has failed has been told of already.
  else out.once('close', () => void reader.cancel().catch(() => undefined));
  out.flushHeaders();
  for (;;) {
    const { value, done } = await reader.read().catch(endOf);
    if (done || out.destroyed || connection.socket.destroyed) break;
    for (let at = 0; at < value.length; at += PIECE_BYTES) {
      if (out.write(value.subarray(at, at + PIECE_BYTES))) continue;
      const drained = Promise.withResolvers<void>();
      out.once('drain', drained.resolve);
      connection.expect(answerMs);
      await Promise.race([drained.promise, gone.promise]);
      connection.calm();
      if (out.destroyed || connection.socket.destroyed) return;
    }
  }
  await finish(out, connection, answerMs, gone.promise);
}

/** Lines have no last word in HTTP but their end. @throws the error, if it is a failure */
function endOf(error: unknown): { readonly value: Uint8Array; readonly done: boolean } {
  if (!(error instanceof RevokedError)) throw error;
  return { value: new Uint8Array(0), done: true };
}

async function finish(
  out: ServerResponse,
  connection: Connection,
  answerMs: number,
  gone: Promise<void>,
): Promise<void> {
  const finished = Promise.withResolvers<void>();
  connection.expect(answerMs);
  out.end(finished.resolve);
  await Promise.race([finished.promise, gone]);
  connection.calm();
}
