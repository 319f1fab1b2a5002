/** A network in memory that carries scripts' connections, with the test at all far ends. */
import {
  type AbortCause,
  CLIENT_END,
  CONN_WINDOW_BYTES,
  type ConnDial,
  type ConnEvents,
  type ConnPorts,
  type DialFailure,
  type SecureOptions,
  type SecureResult,
  type SpliceOptions,
} from '../../../src/scripts-runtime/conns/ports.ts';
import type { Endpoint } from '../../../src/stack/verdict.ts';

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1');

interface Peek {
  readonly id: number;
  readonly min: number;
  readonly max: number;
  readonly at: number;
}

/** One end, seen from its far side. */
export class FakeEnd {
  /** Sent by the far side and not taken by the host. */
  waiting = '';
  hasFin = false;
  finWasTold = false;
  credit = 0;
  peek: Peek | undefined;
  /** What the host wrote. */
  got = '';
  gotFin = false;
  wasAborted = false;
  wasClosed = false;
  unacked = 0;
}

export interface FakeDial {
  readonly conn: number;
  readonly socket: number;
  readonly dial: ConnDial;
}

/** Of conns without a client. */
export const FIRST_OWN = 1_000_000;

export class FakeCarrier implements ConnPorts {
  readonly ownConn = (index: number): number => FIRST_OWN + index;
  reach: ConnPorts['reach'] = 'up';
  /** Set once the host is there. */
  events!: ConnEvents;
  /** Milliseconds. */
  now: () => number = () => 0;
  /** Takes over what is written at once; else `room` does. */
  isTaking = true;
  readonly dials: FakeDial[] = [];
  readonly splices: { conn: number; socket: number; options: SpliceOptions }[] = [];
  readonly secures: { conn: number; socket: number; options: SecureOptions }[] = [];
  readonly ends = new Map<string, FakeEnd>();
  /** Calls about ends that are not there. */
  readonly strays: string[] = [];
  /** Sockets that were given up before they were connected. */
  readonly givenUp: number[] = [];
  /** Conns that were ended for a limit of their script. */
  readonly limited: number[] = [];
  /** Conns whose scripts were replaced, and had their time. */
  readonly outdated: number[] = [];
  #news: (() => void)[] = [];
  #lastConn = 100;

  /** The client of a claimed flow has finished its handshake. */
  open(requestId: number): number {
    this.#lastConn++;
    const conn = this.#lastConn;
    this.ends.set(`${conn}/${CLIENT_END}`, new FakeEnd());
    this.#news.push(() => this.events.opened({ conn, requestId }));
    return conn;
  }

  end(conn: number, end: number): FakeEnd {
    const found = this.ends.get(`${conn}/${end}`);
    if (found === undefined) throw new Error(`no end ${conn}/${end}`);
    return found;
  }

  send(conn: number, end: number, text: string): void {
    this.end(conn, end).waiting += text;
  }

  sendFin(conn: number, end: number): void {
    this.end(conn, end).hasFin = true;
  }

  answer(dial: FakeDial | undefined, result: 'ok' | DialFailure = 'ok'): number {
    if (dial === undefined) throw new Error('nothing was dialled');
    const { conn, socket } = dial;
    if (result === 'ok') this.ends.set(`${conn}/${socket}`, new FakeEnd());
    const local: Endpoint = { ip: '198.18.0.9', port: 50_000, family: 4 };
    this.#news.push(() => this.events.dialed(conn, socket, result, dial.dial.to, local));
    return socket;
  }

  /** Ends an end, or with CLIENT_END the conn. */
  finish(conn: number, end: number, reason = 'eof', bytesUp = 0, bytesDown = 0): void {
    this.#news.push(() => this.events.closed(conn, end, { reason, bytesUp, bytesDown }));
  }

  say(news: () => void): void {
    this.#news.push(news);
  }

  /** Tells the host all that there is to tell. @returns whether there was something */
  deliver(): boolean {
    for (const [key, end] of this.ends) {
      const [conn = 0, id = 0] = key.split('/').map(Number);
      this.#deliverEnd(conn, id, end);
    }
    const news = this.#news;
    this.#news = [];
    for (const tell of news) tell();
    return news.length > 0;
  }

  want(conn: number, end: number, bytes: number): void {
    this.#with(conn, end, 'want', (found) => {
      found.credit = bytes === 0 ? 0 : found.credit + bytes;
    });
  }

  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void {
    this.#with(conn, end, 'peek', (found) => {
      found.peek = { id, min, max, at: this.now() + timeoutMs };
    });
  }

  write(conn: number, end: number, bytes: Uint8Array): void {
    this.#with(conn, end, 'write', (found) => {
      found.got += Buffer.from(bytes).toString('latin1');
      found.unacked += bytes.length;
      if (found.unacked > CONN_WINDOW_BYTES) throw new Error('more than the window');
    });
  }

  fin(conn: number, end: number): void {
    this.#with(conn, end, 'fin', (found) => {
      if (found.gotFin) throw new Error('FIN twice');
      found.gotFin = true;
    });
  }

  abort(conn: number, end: number, why?: AbortCause): void {
    if (why !== undefined) this[why === 'limit' ? 'limited' : 'outdated'].push(conn);
    if (conn >= FIRST_OWN && end === CLIENT_END) {
      this.#abortOwn(conn);
      return;
    }
    if (this.dials.some((one) => one.socket === end) && !this.ends.has(`${conn}/${end}`)) {
      this.givenUp.push(end);
      return;
    }
    this.#with(conn, end, 'abort', (found) => {
      found.wasAborted = true;
    });
    if (end === CLIENT_END) this.finish(conn, end, 'killed');
  }

  close(conn: number, end: number): void {
    this.#with(conn, end, 'close', (found) => {
      found.wasClosed = true;
    });
  }

  dial(conn: number, socket: number, dial: ConnDial): void {
    this.dials.push({ conn, socket, dial });
  }

  secure(conn: number, socket: number, options: SecureOptions): void {
    this.secures.push({ conn, socket, options });
  }

  /** How the handshake ended that was begun last. */
  secured(result: SecureResult = {}): void {
    const last = this.secures.at(-1);
    if (last === undefined) throw new Error('nobody wants TLS');
    this.#news.push(() => this.events.secured(last.conn, last.socket, result));
  }

  splice(conn: number, socket: number, options: SpliceOptions): void {
    this.splices.push({ conn, socket, options });
  }

  #abortOwn(conn: number): void {
    const own = this.dials.filter((dial) => dial.conn === conn);
    for (const { socket } of own) {
      const end = this.ends.get(`${conn}/${socket}`);
      if (end === undefined) this.givenUp.push(socket);
      else end.wasAborted = true;
    }
    this.finish(conn, CLIENT_END, 'killed');
  }

  #with(conn: number, end: number, what: string, act: (end: FakeEnd) => void): void {
    const found = this.ends.get(`${conn}/${end}`);
    if (found === undefined) this.strays.push(`${what} ${conn}/${end}`);
    else act(found);
  }

  #deliverEnd(conn: number, id: number, end: FakeEnd): void {
    if (end.credit > 0 && end.waiting !== '') {
      const text = end.waiting.slice(0, Math.min(end.credit, 16_384));
      end.waiting = end.waiting.slice(text.length);
      end.credit -= text.length;
      this.#news.push(() => this.events.data(conn, id, bytesOf(text)));
    }
    if (end.credit > 0 && end.waiting === '' && end.hasFin && !end.finWasTold) {
      end.finWasTold = true;
      this.#news.push(() => this.events.fin(conn, id));
    }
    const { peek } = end;
    if (peek !== undefined) {
      const isTimedOut = peek.at <= this.now();
      if (end.waiting.length >= peek.min || end.hasFin || isTimedOut) {
        end.peek = undefined;
        const bytes = bytesOf(end.waiting.slice(0, peek.max));
        const isFin = end.hasFin && end.waiting.length <= peek.max;
        const isLate = isTimedOut && bytes.length < peek.min && !isFin;
        this.#news.push(() =>
          this.events.peeked(conn, id, peek.id, { bytes, isFin, isTimedOut: isLate }),
        );
      }
    }
    if (this.isTaking && end.unacked > 0) {
      const taken = end.unacked;
      end.unacked = 0;
      this.#news.push(() => this.events.room(conn, id, taken));
    }
  }
}
