/**
 * One socket of a script with TLS on it. The protocol is that of node:tls, over a stream whose
 * other side is here: ciphertext goes to the carrier and comes from there, as far as it has room
 * and a script wants plaintext. So both directions are bounded: by a run of ciphertext that was
 * asked for, and by the window of the script.
 */
import { isIP } from 'node:net';
import { Duplex } from 'node:stream';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import {
  CHUNK_BYTES_MAX,
  type ClosedConn,
  CONN_WINDOW_BYTES,
  type PlainConnPorts,
  type SecureOptions,
  type SecureResult,
} from '../../scripts-runtime/conns/ports.ts';
import { tlsFailure } from './tls-failure.ts';

/** What becomes of it. */
export interface TlsEndEvents {
  /** The handshake is done, or has failed for a reason in words. */
  secured(result: SecureResult): void;
  data(bytes: Uint8Array): void;
  fin(): void;
  room(bytes: number): void;
  closed(closed: ClosedConn): void;
  /** node:tls has something to do: the event loop must turn. */
  active(): void;
}

export class TlsEnd {
  readonly conn: number;
  readonly socket: number;
  readonly #carrier: PlainConnPorts;
  readonly #events: TlsEndEvents;
  readonly #stream: Duplex;
  readonly #tls: TLSSocket;
  #isSecure = false;
  /** It failed, or was given up: nothing of it is told any more. */
  #isDead = false;
  /** Ciphertext that the carrier has no room for, and what it has and has not taken over. */
  #cipher: Uint8Array[] = [];
  #inFlight = 0;
  /** Ciphertext that was asked for and has not come. */
  #asked = 0;
  /** Plaintext that has come and that nobody has asked for yet, and what was asked for. */
  #plain: Uint8Array[] = [];
  #credit = 0;
  /** Plaintext of the script that is not on its way yet. */
  #unsent = 0;
  #hasEnded = false;
  #isFinTold = false;
  #isFinWanted = false;
  #isFinSent = false;
  #isClosing = false;
  /** The socket below is gone; told when all that came before was read. */
  #closed: ClosedConn | undefined;

  constructor(
    conn: number,
    socket: number,
    { name, alpn, inFlight }: SecureOptions,
    context: SecureContext,
    carrier: PlainConnPorts,
    events: TlsEndEvents,
  ) {
    this.conn = conn;
    this.socket = socket;
    this.#carrier = carrier;
    this.#events = events;
    this.#inFlight = inFlight;
    this.#stream = new Duplex({
      read: () => {},
      write: (chunk: Uint8Array, _encoding, done) => {
        this.#cipher.push(chunk);
        this.#send();
        done();
      },
      final: (done) => {
        this.#isFinWanted = true;
        this.#send();
        done();
      },
    });
    // The types of Bun do not know it here: the far side may go on after our FIN.
    const halfOpen: object = { allowHalfOpen: true };
    this.#tls = connect({
      ...halfOpen,
      socket: this.#stream,
      secureContext: context,
      rejectUnauthorized: true,
      ...(isIP(name) === 0 ? { servername: name } : { host: name }),
      ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
    });
    this.#listen();
    this.#ask();
    events.active();
  }

  /** Ciphertext, valid during the call. */
  onData(bytes: Uint8Array): void {
    this.#asked = Math.max(0, this.#asked - bytes.length);
    this.#stream.push(Buffer.from(bytes));
    this.#events.active();
    this.#ask();
  }

  onFin(): void {
    this.#stream.push(null);
    this.#events.active();
  }

  onRoom(bytes: number): void {
    this.#inFlight = Math.max(0, this.#inFlight - bytes);
    this.#send();
  }

  onClosed(closed: ClosedConn): void {
    this.#closed = closed;
    this.#hasEnded = true;
    if (this.#isSecure) this.#tell();
    else this.#fail(`the connection ended before the handshake was done (${closed.reason})`);
  }

  want(bytes: number): void {
    this.#credit = bytes === 0 ? 0 : this.#credit + bytes;
    this.#tell();
  }

  write(bytes: Uint8Array): void {
    this.#unsent += bytes.length;
    this.#tls.write(Buffer.from(bytes));
    this.#events.active();
  }

  fin(): void {
    this.#tls.end();
    this.#events.active();
  }

  /** Nobody wants what still comes. */
  close(): void {
    this.#isClosing = true;
    this.#plain = [];
    this.fin();
  }

  /** It is given up; the socket below is the caller's affair. */
  destroy(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#tls.destroy();
  }

  #listen(): void {
    const tls = this.#tls;
    tls.on('secureConnect', () => {
      if (this.#isDead) return;
      this.#isSecure = true;
      const { alpnProtocol } = tls;
      this.#events.secured(typeof alpnProtocol === 'string' ? { alpn: alpnProtocol } : {});
      this.#events.active();
    });
    tls.on('data', (bytes: Uint8Array) => {
      if (!this.#isClosing) this.#plain.push(bytes);
      this.#events.active();
      this.#tell();
    });
    tls.on('end', () => {
      this.#hasEnded = true;
      if (this.#isSecure) this.#tell();
      else this.#fail('the far side ended the connection during the handshake');
    });
    tls.on('error', (error: Error) => this.#fail(tlsFailure(error)));
    this.#stream.on('error', (error: Error) => this.#fail(tlsFailure(error)));
  }

  /** Hands over ciphertext as far as there is room, and tells what has gone. */
  #send(): void {
    for (let first = this.#cipher[0]; first !== undefined; first = this.#cipher[0]) {
      const length = Math.min(first.length, CHUNK_BYTES_MAX, CONN_WINDOW_BYTES - this.#inFlight);
      if (length === 0) return;
      this.#carrier.write(this.conn, this.socket, first.subarray(0, length));
      this.#inFlight += length;
      if (length === first.length) this.#cipher.shift();
      else this.#cipher[0] = first.subarray(length);
    }
    const sent = this.#unsent;
    this.#unsent = 0;
    if (sent > 0 && !this.#isDead) this.#events.room(sent);
    if (!this.#isFinWanted || this.#isFinSent) return;
    this.#isFinSent = true;
    if (this.#isClosing) this.#carrier.close(this.conn, this.socket);
    else this.#carrier.fin(this.conn, this.socket);
  }

  /** Asks for ciphertext while somebody waits for what is in it. */
  #ask(): void {
    const isWanted = !this.#isSecure || (this.#credit > 0 && this.#plain.length === 0);
    if (!isWanted || this.#asked > 0 || this.#hasEnded || this.#isDead || this.#isClosing) return;
    this.#asked = CHUNK_BYTES_MAX;
    this.#carrier.want(this.conn, this.socket, CHUNK_BYTES_MAX);
  }

  /** Plaintext as far as it was asked for, and behind all of it the end. */
  #tell(): void {
    while (this.#credit > 0 && !this.#isDead) {
      const [first] = this.#plain;
      if (first === undefined) break;
      const bytes = first.subarray(0, this.#credit);
      if (bytes.length === first.length) this.#plain.shift();
      else this.#plain[0] = first.subarray(bytes.length);
      this.#credit -= bytes.length;
      this.#events.data(bytes);
    }
    if (this.#plain.length > 0 || this.#isDead) return;
    if (this.#hasEnded && !this.#isFinTold && !this.#isClosing) {
      this.#isFinTold = true;
      this.#events.fin();
    }
    if (this.#closed !== undefined) {
      const closed = this.#closed;
      this.destroy();
      this.#events.closed(closed);
    } else this.#ask();
  }

  #fail(error: string): void {
    if (this.#isDead) return;
    this.destroy();
    if (this.#isSecure) {
      this.#events.closed({ reason: error, code: 'tls', bytesUp: 0, bytesDown: 0 });
    } else this.#events.secured({ error });
  }
}
