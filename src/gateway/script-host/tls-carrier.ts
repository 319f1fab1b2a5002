/**
 * TLS between scripts and the conn channel: what is said about a socket with TLS goes through its
 * `TlsEnd`, all else passes as it is. Certificates are verified always, against the roots that Bun
 * brings along and those of `scripts.tls.ca`.
 */
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import {
  type AbortCause,
  CLIENT_END,
  type ConnDial,
  type ConnEvents,
  type ConnPorts,
  type PlainConnEvents,
  type PlainConnPorts,
  type SecureOptions,
  type SpliceOptions,
} from '../../scripts-runtime/conns/ports.ts';
import { TlsEnd } from './tls-end.ts';
import { tlsFailure } from './tls-failure.ts';

/**
 * Turns of the event loop after something was given to node:tls, or came of it: it answers within
 * the turn, or in the next one.
 */
const RESTLESS_TURNS = 3;

export class TlsCarrier implements ConnPorts {
  /** For what the carrier below tells. */
  readonly incoming: PlainConnEvents;
  readonly #carrier: PlainConnPorts;
  readonly #ends = new Map<string, TlsEnd>();
  #events: ConnEvents | undefined;
  #ca = '';
  /** Made for the first who needs it: with roots of one's own that takes some milliseconds. */
  #context: SecureContext | undefined;
  #restless = 0;

  constructor(carrier: PlainConnPorts) {
    this.#carrier = carrier;
    this.incoming = this.#makeIncoming();
  }

  /** Whom it tells; set before anything is opened. */
  set events(events: ConnEvents) {
    this.#events = events;
  }

  /** Certificates of authorities besides the usual ones, in PEM; empty for none. */
  set ca(ca: string) {
    if (ca === this.#ca) return;
    this.#ca = ca;
    this.#context = undefined;
  }

  /** The event loop has to turn, and `turned` is to be told. */
  get isRestless(): boolean {
    return this.#restless > 0;
  }

  turned(): void {
    if (this.#restless > 0) this.#restless--;
  }

  ownConn(index: number): number {
    return this.#carrier.ownConn(index);
  }

  get reach(): PlainConnPorts['reach'] {
    return this.#carrier.reach;
  }

  secure(conn: number, socket: number, options: SecureOptions): void {
    const events = this.#events;
    if (events === undefined || this.#find(conn, socket) !== undefined) return;
    try {
      const end = this.#begin(conn, socket, options, events);
      this.#ends.set(keyOf(conn, socket), end);
    } catch (error) {
      // A name that node:tls does not take: it is a script's, and must not end the host.
      const failure = error instanceof Error ? tlsFailure(error) : String(error);
      events.secured(conn, socket, { error: failure });
    }
  }

  #begin(conn: number, socket: number, options: SecureOptions, events: ConnEvents): TlsEnd {
    this.#context ??= createSecureContext(
      this.#ca === '' ? {} : { ca: [...rootCertificates, this.#ca] },
    );
    const forget = () => this.#ends.delete(keyOf(conn, socket));
    return new TlsEnd(conn, socket, options, this.#context, this.#carrier, {
      secured: (result) => {
        if ('error' in result) forget();
        events.secured(conn, socket, result);
      },
      data: (bytes) => events.data(conn, socket, bytes),
      fin: () => events.fin(conn, socket),
      room: (bytes) => events.room(conn, socket, bytes),
      closed: (closed) => {
        forget();
        // Of an error of TLS the socket below knows nothing.
        if (closed.code !== undefined) this.#carrier.abort(conn, socket);
        events.closed(conn, socket, closed);
      },
      active: () => {
        this.#restless = RESTLESS_TURNS;
      },
    });
  }

  want(conn: number, end: number, bytes: number): void {
    const found = this.#find(conn, end);
    if (found === undefined) this.#carrier.want(conn, end, bytes);
    else found.want(bytes);
  }

  /** Nobody peeks at a socket with TLS. */
  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void {
    this.#carrier.peek(conn, end, id, min, max, timeoutMs);
  }

  write(conn: number, end: number, bytes: Uint8Array): void {
    const found = this.#find(conn, end);
    if (found === undefined) this.#carrier.write(conn, end, bytes);
    else found.write(bytes);
  }

  fin(conn: number, end: number): void {
    const found = this.#find(conn, end);
    if (found === undefined) this.#carrier.fin(conn, end);
    else found.fin();
  }

  abort(conn: number, end: number, why?: AbortCause): void {
    if (end === CLIENT_END) this.#dropAll(conn);
    else this.#drop(conn, end);
    this.#carrier.abort(conn, end, why);
  }

  close(conn: number, end: number): void {
    const found = this.#find(conn, end);
    if (found === undefined) this.#carrier.close(conn, end);
    else found.close();
  }

  dial(conn: number, socket: number, dial: ConnDial): void {
    this.#carrier.dial(conn, socket, dial);
  }

  splice(conn: number, socket: number, options: SpliceOptions): void {
    this.#carrier.splice(conn, socket, options);
  }

  #makeIncoming(): PlainConnEvents {
    return {
      started: () => this.#events?.started(),
      opened: (opened) => this.#events?.opened(opened),
      peeked: (conn, end, id, peeked) => this.#events?.peeked(conn, end, id, peeked),
      dialed: (...dialed) => this.#events?.dialed(...dialed),
      data: (conn, end, bytes) => {
        const found = this.#find(conn, end);
        if (found === undefined) this.#events?.data(conn, end, bytes);
        else found.onData(bytes);
      },
      fin: (conn, end) => {
        const found = this.#find(conn, end);
        if (found === undefined) this.#events?.fin(conn, end);
        else found.onFin();
      },
      room: (conn, end, bytes) => {
        const found = this.#find(conn, end);
        if (found === undefined) this.#events?.room(conn, end, bytes);
        else found.onRoom(bytes);
      },
      closed: (conn, end, closed) => {
        if (end === CLIENT_END) this.#dropAll(conn);
        const found = this.#find(conn, end);
        if (found === undefined) this.#events?.closed(conn, end, closed);
        else found.onClosed(closed);
      },
      lost: (isLost) => {
        for (const { conn, socket } of Array.from(this.#ends.values())) {
          if (isLost(conn)) this.#drop(conn, socket);
        }
        this.#events?.lost(isLost);
      },
    };
  }

  #find(conn: number, end: number): TlsEnd | undefined {
    return this.#ends.size === 0 ? undefined : this.#ends.get(keyOf(conn, end));
  }

  #drop(conn: number, end: number): void {
    this.#find(conn, end)?.destroy();
    this.#ends.delete(keyOf(conn, end));
  }

  #dropAll(conn: number): void {
    for (const end of Array.from(this.#ends.values())) {
      if (end.conn === conn) this.#drop(conn, end.socket);
    }
  }
}

const keyOf = (conn: number, end: number): string => `${conn}/${end}`;
