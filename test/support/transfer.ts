/** One end of a transfer of bytes whose positions are known (pattern.ts). Runs in Node. */
import type { Socket } from 'node:net';
import { firstMismatch, patternAt } from './pattern.ts';

export interface TransferEnd {
  /** Bytes this end sends, then FIN. */
  readonly send: number;
  /** Bytes this end expects before the peer's FIN. */
  readonly receive: number;
  /** Of what this end sends; the peer has `peerSeed` of the same value. */
  readonly seed: number;
  readonly peerSeed: number;
  /** `after-fin`: nothing is sent before the peer's FIN came. Default `at-once`. */
  readonly sendWhen?: 'at-once' | 'after-fin';
  /** Read no faster than this for so long; then as fast as it comes. */
  readonly slow?: { readonly bytesPerSecond: number; readonly forMs: number };
}

export interface TransferReport {
  readonly sent: number;
  readonly received: number;
  /** Position of the first wrong byte; -1 when all are right. */
  readonly wrongAt: number;
  /** The peer's FIN came. */
  readonly fin: boolean;
  /** `ECONNRESET` and so on; empty when none. */
  readonly error: string;
  readonly ms: number;
}

const CHUNK_BYTES = 256 * 1024;

/** Sends and receives on a socket made with `allowHalfOpen`, until both directions ended. */
export function runTransfer(socket: Socket, end: TransferEnd): Promise<TransferReport> {
  const started = performance.now();
  let sent = 0;
  let received = 0;
  let wrongAt = -1;
  let fin = false;
  let error = '';

  const send = (): void => {
    while (sent < end.send) {
      const chunk = patternAt(end.seed, sent, Math.min(CHUNK_BYTES, end.send - sent));
      sent += chunk.length;
      if (!socket.write(chunk)) {
        socket.once('drain', send);
        return;
      }
    }
    socket.end();
  };
  socket.on('data', (bytes: Buffer) => {
    if (wrongAt < 0) wrongAt = firstMismatch(end.peerSeed, received, bytes);
    received += bytes.length;
    if (end.slow !== undefined) holdBack(socket, end.slow, started, received);
  });
  socket.on('end', () => {
    fin = true;
    if (end.sendWhen === 'after-fin') send();
  });
  socket.on('error', (cause: NodeJS.ErrnoException) => {
    error = cause.code ?? cause.message;
  });
  if (end.sendWhen !== 'after-fin') send();
  return new Promise((resolve) => {
    socket.on('close', () => {
      resolve({ sent, received, wrongAt, fin, error, ms: performance.now() - started });
    });
  });
}

/** Pauses the socket until `received` bytes are due. */
function holdBack(
  socket: Socket,
  slow: NonNullable<TransferEnd['slow']>,
  started: number,
  received: number,
): void {
  const dueMs = Math.min((received / slow.bytesPerSecond) * 1000, slow.forMs);
  const waitMs = dueMs - (performance.now() - started);
  if (waitMs <= 0) return;
  socket.pause();
  setTimeout(() => socket.resume(), waitMs);
}
