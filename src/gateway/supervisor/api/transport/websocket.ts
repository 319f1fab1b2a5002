/**
 * WebSocket as another framing of an answer that streams lines of JSON: each line is a message.
 * Routes know nothing of it.
 */
import type { IncomingMessage } from 'node:http';
import { LINES_TYPE } from '../lines.ts';
import { RevokedError } from '../revocation.ts';
import { answerOf, type Handler } from './answer-of.ts';
import type { Connection } from './connections.ts';
import { acceptOf, encodeFrame, FrameReader, Opcode } from './websocket-frames.ts';

/** The one that is agreed on where a client offers any. */
const PROTOCOL = 'culvert';

/** With more than that waiting for a client, its pings get no answer: RFC 6455 §5.5.3. */
const UNREAD_BYTES_MAX = 64 * 1024;

/** "The endpoint has received a message that violates its policy", RFC 6455 §7.4.1. */
const POLICY_VIOLATION = 1008;
/** Closes without a reason, RFC 6455 §5.5.1. */
const NO_REASON = new Uint8Array(0);

const utf8 = new TextEncoder();

/** Whether it is a handshake, however wrong; RFC 6455 §4.2.1. */
export const asksForWebSocket = ({ method, headers }: IncomingMessage): boolean =>
  method === 'GET' && /(^|,)\s*websocket\s*(,|$)/i.test(headers.upgrade ?? '');

/**
 * Answers a request to speak WebSocket; settles when that is over.
 *
 * @param answerMs  for a message to be taken
 */
export async function answerUpgrade(
  message: IncomingMessage,
  connection: Connection,
  handler: Handler,
  answerMs: number,
): Promise<void> {
  const { socket, peer } = connection;
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const key = message.headers['sec-websocket-key'];
  const offered = (message.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
  // RFC 6455 §4.4: who speaks another version hears which one is spoken here.
  if (message.headers['sec-websocket-version'] !== '13') {
    return refuse(connection, 426, 'Upgrade: websocket\r\nSec-WebSocket-Version: 13');
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key ?? '')) return refuse(connection, 400, '');
  const response = await answerOf(message, peer, handler, gone.signal);
  if (response.status !== 200) return refuse(connection, response.status, '', response);
  if (response.headers.get('Content-Type') !== LINES_TYPE) {
    // It may be one that never ends.
    await response.body?.cancel();
    return refuse(connection, 400, '');
  }
  const protocol = offered.includes(PROTOCOL) ? `Sec-WebSocket-Protocol: ${PROTOCOL}\r\n` : '';
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${acceptOf(key ?? '')}\r\n${protocol}\r\n`,
  );
  listen(connection);
  await sendLines(response, connection, answerMs);
}

/** Answers pings, and ends when the client wants to or says what it may not. */
function listen({ socket }: Connection): void {
  const frames = new FrameReader();
  socket.on('data', (bytes: Buffer) => {
    const said = frames.read(bytes);
    if (said === undefined) {
      socket.destroy();
      return;
    }
    for (const { opcode, payload } of said) {
      // Who pings and does not read would have us keep all answers; one of the last will do.
      const isHeard = socket.writableLength < UNREAD_BYTES_MAX;
      if (opcode === Opcode.PING && isHeard) socket.write(encodeFrame(Opcode.PONG, payload));
      if (opcode === Opcode.CLOSE) {
        socket.end(encodeFrame(Opcode.CLOSE, payload.subarray(0, 2)));
        return;
      }
    }
  });
}

async function sendLines(
  response: Response,
  connection: Connection,
  answerMs: number,
): Promise<void> {
  const { socket } = connection;
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  const gone = Promise.withResolvers<void>();
  socket.once('close', () => {
    gone.resolve();
    // One that has failed has been told of already.
    void reader.cancel().catch(() => undefined);
  });
  let rest = '';
  let farewell = NO_REASON;
  for (;;) {
    const { value, done } = await reader.read().catch((error: unknown) => {
      farewell = farewellOf(error);
      return { value: '', done: true };
    });
    if (done || socket.destroyed) break;
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (socket.write(encodeFrame(Opcode.TEXT, utf8.encode(line)))) continue;
      const drained = Promise.withResolvers<void>();
      socket.once('drain', drained.resolve);
      connection.expect(answerMs);
      await Promise.race([drained.promise, gone.promise]);
      connection.calm();
    }
  }
  if (!socket.destroyed) socket.end(encodeFrame(Opcode.CLOSE, farewell));
}

/** What a client is told of an answer that ended so. @throws the error, if it is a failure */
function farewellOf(error: unknown): Uint8Array<ArrayBuffer> {
  if (!(error instanceof RevokedError)) throw error;
  const reason = utf8.encode(error.message);
  const payload = new Uint8Array(2 + reason.length);
  new DataView(payload.buffer).setUint16(0, POLICY_VIOLATION);
  payload.set(reason, 2);
  return payload;
}

async function refuse(
  { socket }: Connection,
  status: number,
  header: string,
  response?: Response,
): Promise<void> {
  const body = (await response?.text()) ?? '';
  const type = response?.headers.get('Content-Type') ?? 'text/plain';
  const more = header === '' ? '' : `${header}\r\n`;
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: ${type}\r\n${more}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
