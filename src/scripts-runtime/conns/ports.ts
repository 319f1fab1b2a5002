/**
 * What a `ScriptHost` needs of whoever carries the connections that scripts claimed, and what it is
 * told by them. Free of processes: the gateway puts the conn channel behind it, an offline run a
 * network of its own.
 *
 * A conn is a number of the carrier's choosing, unique for its life. An `end` of it is CLIENT_END
 * or a socket, a number of the host's choosing, never used twice by one host. Nothing here may call
 * back: a carrier that could answer at once does so when the call that asked has returned.
 *
 * A conn of `ownConn` has no client: it begins with its first `dial`, and ends when it has no
 * socket left, or with `abort` of CLIENT_END.
 *
 * No byte of an end comes before it was wanted. `CONN_WINDOW_BYTES` at most are on their way to an
 * end, written and not yet taken over (`room`).
 */
import type { Endpoint } from '../../stack/verdict.ts';

/** The `end` that is the client. */
export const CLIENT_END = 0;

/** Longest run of bytes in one call, and the most that can be peeked at. */
export const CHUNK_BYTES_MAX = 16_384;

/** Bytes written to an end and not taken over yet, at most. */
export const CONN_WINDOW_BYTES = 65_536;

/** How a dial ended, but for success. `failed`: a local address that is not ours, and the like. */
export type DialFailure = 'refused' | 'unreachable' | 'timeout' | 'loop' | 'limit' | 'failed';

/** A limit of its script is broken, or other scripts were loaded and its time is over. */
export type AbortCause = 'limit' | 'reload';

/** What a socket is dialled with; names were resolved and addresses were checked before. */
export interface ConnDial {
  readonly to: Endpoint;
  /** By a socket of the host, or by our TCP into the device. */
  readonly into: 'direct' | 'tun';
  /** Milliseconds; 0 for the configured time. */
  readonly timeoutMs: number;
  /** Local address. */
  readonly bind?: string;
  /** SO_MARK, of `direct` only. */
  readonly mark?: number;
  /** Header about the client, in front of all else. */
  readonly proxyProtocol?: 1 | 2;
  /** Name of an upstream; absent for the default one. A pool has addresses of its own, not `to`. */
  readonly via?: string;
}

/** Milliseconds, and bytes of both directions; 0 for what the flow has anyway. */
export interface SpliceOptions {
  readonly idleTimeoutMs: number;
  readonly halfCloseTimeoutMs: number;
  readonly maxBytes: number;
}

/** What TLS is begun with. */
export interface SecureOptions {
  /** Of the server, or its address: whose certificate it must have. */
  readonly name: string;
  /** Protocols that are offered, the favourite first. */
  readonly alpn: readonly string[];
  /** Bytes that were written before and are not taken over: no `room` comes for them. */
  readonly inFlight: number;
}

/** From the host to the carrier. Calls about what is gone already are ignored. */
export interface PlainConnPorts {
  /**
   * `none`: there is no network, and nothing is ever answered. `starting`: what is dialled now is
   * lost, and `started` will come.
   */
  readonly reach: 'up' | 'starting' | 'none';
  /** A number for a conn without a client: another for each index, for millions of them. */
  ownConn(index: number): number;
  /** Credit for `data` of that end, in addition to what is left; 0 takes back what is left. */
  want(conn: number, end: number, bytes: number): void;
  /**
   * Asks what waits at an end, which stays there: answered once by `peeked`, as soon as `min` bytes
   * or the end's FIN are there, or the time is over. Takes the place of an older one of that end,
   * which is not answered any more.
   *
   * @param id  uint16, comes back with the answer
   */
  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void;
  /** The bytes are copied before it returns; CHUNK_BYTES_MAX at most. */
  write(conn: number, end: number, bytes: Uint8Array): void;
  /** No more `write` to this end. */
  fin(conn: number, end: number): void;
  /**
   * The end sees a reset; that of CLIENT_END ends the conn and its sockets.
   *
   * @param why  absent: its script wants it so
   */
  abort(conn: number, end: number, why?: AbortCause): void;
  /** No interest any more in what this end still sends; it is gone when both directions ended. */
  close(conn: number, end: number): void;
  /** Answered once by `dialed`. */
  dial(conn: number, socket: number, dial: ConnDial): void;
  /** The bytes go between both ends without us now; only `closed` of the conn comes. */
  splice(conn: number, socket: number, options: SpliceOptions): void;
}

export interface ConnPorts extends PlainConnPorts {
  /**
   * What is read from this socket and written to it passes through TLS from now on, with the host
   * as client. Answered once by `secured`. Such a socket is neither peeked at nor spliced.
   */
  secure(conn: number, socket: number, options: SecureOptions): void;
}

/** A claimed flow whose client has finished the handshake. */
export interface OpenedConn {
  readonly conn: number;
  /** Of the decision that claimed it. */
  readonly requestId: number;
}

export interface PeekedBytes {
  readonly bytes: Uint8Array;
  /** The end sends no more: these are its last bytes. */
  readonly isFin: boolean;
  /** The time was over before there were `min`. */
  readonly isTimedOut: boolean;
}

/** How an end, or a whole conn, has ended. */
export interface ClosedConn {
  /** Word of a CloseReason, as in the log and in metrics: `eof`, `client-reset`. */
  readonly reason: string;
  /** What the client sent and received; of a socket: what was written to it and came from it. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Of a conn: one whose client never finished the handshake is known by it. */
  readonly requestId?: number;
  /** Code of the `SocketError`, where it is not `aborted`. */
  readonly code?: 'tls';
}

/** From the carrier to the host. */
export interface PlainConnEvents {
  /** `reach` is `up` now. */
  started(): void;
  opened(opened: OpenedConn): void;
  peeked(conn: number, end: number, id: number, peeked: PeekedBytes): void;
  /** The bytes may be the carrier's own memory: they are copied before it returns. */
  data(conn: number, end: number, bytes: Uint8Array): void;
  /** No more `data` of this end. */
  fin(conn: number, end: number): void;
  /** So many bytes of `write` were taken over. */
  room(conn: number, end: number, bytes: number): void;
  /** Addresses are those of a connected socket. */
  dialed(
    conn: number,
    socket: number,
    result: 'ok' | DialFailure,
    remote?: Endpoint,
    local?: Endpoint,
  ): void;
  /** Nothing comes of this end any more; of CLIENT_END: of the whole conn. */
  closed(conn: number, end: number, closed: ClosedConn): void;
  /** The carrier began anew, or a part of it: conns and requests with such numbers are gone. */
  lost(isLost: (id: number) => boolean): void;
}

/** How a handshake of TLS ended; `error` is in words, for the author of the script. */
export type SecureResult = { readonly alpn?: string } | { readonly error: string };

export interface ConnEvents extends PlainConnEvents {
  secured(conn: number, socket: number, result: SecureResult): void;
}
