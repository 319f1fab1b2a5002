/**
 * The HTTP server of the API. It stands on sockets of node:net, and not on `Bun.serve`, because
 * those show their descriptor, which is who the kernel says is at the other end; and because a
 * client that is slow, or sends nothing, can be told from one that waits for an answer.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createListener, type Server as Listener, type Socket } from 'node:net';
import { peerCredentials, peerGroups } from '../../../../ffi/process.ts';
import type { Peer } from '../callers.ts';
import { answerOf, type Handler } from './answer-of.ts';
import {
  type Connection,
  type ConnectionLimits,
  Connections,
  DEFAULT_LIMITS,
} from './connections.ts';
import { headWithoutUpgrade } from './upgrade.ts';
import { answerUpgrade, asksForWebSocket } from './websocket.ts';
import { writeAnswer } from './write-answer.ts';

/** A path, a query with a filter, a token: all that a request has in front of its body. */
const HEAD_BYTES_MAX = 16 * 1024;
/** How long what a client still sends is read after the answer, so that it reads that. */
const LINGER_MS = 2000;

export interface ApiServerOptions {
  readonly limits?: ConnectionLimits;
  /** An answer has failed on its way; its connection has ended. */
  readonly onError?: (error: unknown) => void;
  /** Given free when the server has stopped. */
  readonly place?: Disposable;
}

export class ApiServer {
  readonly #listener: Listener;
  readonly #handler: Handler;
  readonly #limits: ConnectionLimits;
  readonly #onError: (error: unknown) => void;
  readonly #connections: Connections;
  readonly #bySocket = new WeakMap<Socket, Connection>();
  readonly #place: Disposable | undefined;
  readonly #http;

  constructor(
    handler: Handler,
    { limits = DEFAULT_LIMITS, onError = rethrow, place }: ApiServerOptions,
  ) {
    this.#handler = handler;
    this.#limits = limits;
    this.#onError = onError;
    this.#place = place;
    this.#connections = new Connections(limits);
    this.#listener = createListener({ noDelay: true }, (socket) => this.#onSocket(socket));
    this.#http = createServer({
      maxHeaderSize: HEAD_BYTES_MAX,
      keepAliveTimeout: limits.keepAliveMs,
      // Those of ours know more of what goes on.
      requestTimeout: 0,
    });
    this.#http.on('request', (message, out) => this.#onRequest(message, out));
    this.#http.on('upgrade', (message, socket, rest) =>
      this.#onUpgrade(message, socket as Socket, rest),
    );
    this.#http.on('clientError', (error, socket) => refuse(socket as Socket, error));
  }

  /** Settles when clients can come. Rejects with the error of the system. */
  async listen(
    place: { readonly path: string } | { readonly host: string; readonly port: number },
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#listener.once('error', reject);
    this.#listener.listen(place, resolve);
    await promise;
    this.#listener.off('error', reject);
  }

  /** Ends all connections. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#listener.close(() => resolve());
    this.#connections.close();
    await promise;
    this.#place?.[Symbol.dispose]();
  }

  #onSocket(socket: Socket): void {
    // Whoever waits for the socket hears of its end by 'close'.
    socket.on('error', () => undefined);
    const peer = peerOf(socket);
    const connection = peer && this.#connections.admit(socket, peer);
    if (connection === undefined) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\r\n');
      socket.destroySoon();
      return;
    }
    this.#bySocket.set(socket, connection);
    connection.expect(this.#limits.headMs);
    this.#http.emit('connection', socket);
  }

  #onRequest(message: IncomingMessage, out: ServerResponse): void {
    const connection = this.#bySocket.get(message.socket);
    connection?.inTurn(() => this.#serve(message, out, connection), this.#onError);
  }

  async #serve(
    message: IncomingMessage,
    out: ServerResponse,
    connection: Connection,
  ): Promise<void> {
    const { requestMs, answerMs, keepAliveMs } = this.#limits;
    connection.expect(requestMs);
    if (message.complete) connection.calm();
    else message.once('end', () => connection.calm());
    const gone = new AbortController();
    out.once('close', () => gone.abort());
    const response = await answerOf(message, connection.peer, this.#handler, gone.signal);
    // A client that still sends hears the answer, and no other one.
    const isRead = message.complete;
    if (!isRead) out.shouldKeepAlive = false;
    await writeAnswer(response, out, connection, answerMs);
    if (!isRead) message.resume();
    connection.expect(isRead ? keepAliveMs : LINGER_MS);
  }

  /** @param rest  what has come behind the head of the request */
  #onUpgrade(message: IncomingMessage, socket: Socket, rest: Buffer): void {
    const connection = this.#bySocket.get(socket);
    connection?.inTurn(async () => {
      if (!asksForWebSocket(message)) {
        // The parser has let go of the socket, and begins anew with a request that asks for less.
        socket.unshift(Buffer.concat([headWithoutUpgrade(message), rest]));
        this.#http.emit('connection', socket);
        return;
      }
      connection.calm();
      await answerUpgrade(message, connection, this.#handler, this.#limits.answerMs);
      // All is said; who does not hang up would keep a place for good.
      connection.expect(LINGER_MS);
    }, this.#onError);
  }
}

const rethrow = (error: unknown): void => {
  throw error;
};

/** Undefined for who is gone already. */
function peerOf(socket: Socket): Peer | undefined {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress !== undefined && remotePort !== undefined) {
    const host = remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress;
    return { kind: 'tcp', address: `${host}:${remotePort}` };
  }
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  return { kind: 'unix', ...peerCredentials(fd), groups: peerGroups(fd) };
}

/** What node:net keeps for itself. Undefined for a socket that was closed meanwhile. */
function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

/** A head that is no HTTP, or too long: RFC 6585 §5. */
function refuse(socket: Socket, error: Error): void {
  const isLong = (error as NodeJS.ErrnoException).code === 'HPE_HEADER_OVERFLOW';
  const status = isLong ? '431 Request Header Fields Too Large' : '400 Bad Request';
  if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  socket.destroySoon();
}
