/**
 * One end of a connection: the client's, or a socket's. Promises over calls and events.
 *
 * Nothing is read ahead: bytes are asked for when a script reads. What had come all the same, as
 * a first read left credit over, lies in `chunks`. What is written waits in `queue` until the
 * gateway has room for it.
 *
 * Scripts hold a Socket or a Conn, and never an End: so none of its fields can be touched.
 */
import { copyOf, encode, isBytes, joined, lengthOf, putChunk, restOf, takeChunk } from './chunk.js';
import { defer } from './deferred.js';
import { host } from './host.js';
import { CHUNK_BYTES, TURN_OF, words } from './page.js';
import { show } from './show.js';
import { SocketError } from './socket-error.js';

const DONE = Promise.resolve();
/** Look again. */
const NOTHING = { bytes: joined([]), isFin: false, isTimedOut: false };

export class End {
  /** Arrived and not read. */
  chunks = [];
  /** The far side sends no more. */
  isEof = false;
  isOpen = false;
  /** Why nothing can be done any more. */
  error = undefined;
  /** Who took it for itself: `splice()`. */
  owner = undefined;
  /** The last peek saw the end of what the far side sends. */
  peekedFin = false;
  /** Of a client: its flow, and how the connection ended. */
  flow = undefined;
  /** What it says and hears passes through TLS. */
  isTls = false;
  /** Of one with which TLS can be begun: whose certificate the far side must have, and `alpn`. */
  tls = undefined;
  /** Aborts it. */
  signal = undefined;
  /** With whom it is, as text. */
  peer = undefined;
  ended = defer();
  opened = defer();
  closed = defer();
  #reading = undefined;
  /** { bytes, at, done } */
  #queue = [];
  #isFinWanted = false;
  #isFinSent = false;
  #fin = undefined;
  #isClosing = false;
  /** { done, isWatch }: of a watch nobody minds when another peek takes its place. */
  #peeking = undefined;

  /** @param {number} conn @param {number} id  0 is the client */
  constructor(conn, id) {
    this.conn = conn;
    this.id = id;
  }

  /** Throws unless a script may use the end in this way now. */
  check(what) {
    if (this.owner !== undefined) {
      throw new TypeError(`${what}: the connection belongs to ${this.owner}`);
    }
  }

  /** No read, peek or write that is under way. */
  get isIdle() {
    return this.#reading === undefined && (this.#peeking?.isWatch ?? true);
  }

  /** @param max  bytes; undefined for as many as came together */
  async read(max) {
    if (this.#reading !== undefined) throw new TypeError('read(): another one is not done yet');
    if (this.chunks.length > 0) return this.#take(max);
    if (this.isEof) return null;
    if (this.error !== undefined) throw this.error;
    this.#reading = { ...defer(), max };
    host.connWant(this.conn, this.id);
    return this.#reading.promise;
  }

  write(data) {
    if (this.#isFinWanted) throw new TypeError('write(): after closeWrite() or close()');
    if (this.error !== undefined) throw this.error;
    if (typeof data !== 'string' && !isBytes(data)) {
      throw new TypeError(`write(): a Uint8Array or text, not ${show(data)}`);
    }
    const bytes = typeof data === 'string' ? encode(data) : data;
    const length = lengthOf(bytes);
    const at = this.#queue.length === 0 ? this.#send(bytes, 0, length) : 0;
    if (at === length) return DONE;
    // What the script does with its array meanwhile is its own affair.
    const entry = { bytes: copyOf(bytes, at, length), at: 0, done: defer() };
    this.#queue.push(entry);
    return entry.done.promise;
  }

  /** Resolves when all that was written is on its way. */
  flushed() {
    return this.#queue.at(-1)?.done.promise ?? DONE;
  }

  closeWrite() {
    if (this.error !== undefined) throw this.error;
    this.#isFinWanted = true;
    this.#fin ??= defer();
    this.#flush();
    return this.#fin.promise;
  }

  /** Ends both directions in order. */
  close() {
    if (this.error !== undefined) return DONE;
    if (!this.isOpen) {
      this.abort();
      return DONE;
    }
    this.#isClosing = true;
    this.chunks = [];
    this.#reading?.reject(new SocketError('aborted', 'closed here'));
    this.#reading = undefined;
    return this.closeWrite();
  }

  /** Another end is in its place. */
  retire() {
    this.isEof = true;
    this.closed.resolve();
    this.error = new SocketError('aborted', 'startTls() has taken the connection over');
  }

  abort() {
    if (this.error !== undefined) return;
    host.connAbort(this.conn, this.id);
    this.fail(new SocketError('aborted', 'aborted here'));
  }

  /** All that waits, from the first byte that was not read; fewer than `min` at FIN or time-out. */
  async peek(min, max, timeoutMs) {
    const deadline = host.connNow() + timeoutMs;
    for (;;) {
      const waiting = joined(this.chunks);
      const had = lengthOf(waiting);
      if (had >= min || this.isEof) return copyOf(waiting, 0, Math.min(had, max));
      if (this.error !== undefined) throw this.error;
      const left = Math.max(0, deadline - host.connNow());
      const { bytes, isFin, isTimedOut } = await this.ask(min - had, max - had, left, false);
      this.peekedFin = isFin;
      // Bytes that were on their way may have come before the answer, and come first.
      const all = joined([...this.chunks, bytes]);
      if (lengthOf(all) >= min || isFin || isTimedOut) {
        return copyOf(all, 0, Math.min(lengthOf(all), max));
      }
    }
  }

  /** Asks the gateway what waits there; resolves to { bytes, isFin, isTimedOut }. */
  ask(min, max, timeoutMs, isWatch) {
    if (this.#peeking !== undefined && !this.#peeking.isWatch) {
      throw new TypeError('peek(): another one is not done yet');
    }
    this.#peeking = { done: defer(), isWatch };
    host.connPeek(this.conn, this.id, min, max, timeoutMs);
    return this.#peeking.done.promise;
  }

  /** Nobody waits for the answer any more. */
  forgetPeek() {
    if (this.#peeking !== undefined) this.#peeking.isWatch = true;
  }

  /** No more bytes come unasked from now on. */
  async quiet() {
    if (host.connTakeBack(this.conn, this.id)) await this.ask(0, 0, 0, false);
  }

  onData() {
    if (this.#isClosing) return;
    const bytes = takeChunk();
    const reading = this.#reading;
    this.#reading = undefined;
    this.chunks.push(bytes);
    if (reading !== undefined) {
      reading.resolve(this.#take(reading.max));
      return;
    }
    if (this.#peeking?.isWatch === false) this.#answerPeek(NOTHING);
  }

  onFin() {
    this.isEof = true;
    const reading = this.#reading;
    this.#reading = undefined;
    reading?.resolve(null);
  }

  onRoom() {
    this.#flush();
  }

  onPeeked(isFin, isTimedOut) {
    this.#answerPeek({ bytes: takeChunk(), isFin, isTimedOut });
  }

  onOpened(info) {
    this.isOpen = true;
    this.opened.resolve(info);
    if (this.#reading !== undefined) host.connWant(this.conn, this.id);
    this.#flush();
  }

  /** @param error  undefined where both directions ended in order */
  onClosed(error) {
    if (error === undefined) {
      this.isEof = true;
      this.closed.resolve();
      this.fail(new SocketError('aborted', 'the connection has ended'));
    } else this.fail(error);
  }

  /** Everything that waits fails with it, and all that comes later. */
  fail(error) {
    if (this.error !== undefined) return;
    this.error = error;
    error.peer = this.peer;
    // A signal fires in a turn of nobody; what the script does then, it does for this connection.
    if (words[TURN_OF] === 0) words[TURN_OF] = this.conn;
    const reading = this.#reading;
    const queue = this.#queue;
    const peeking = this.#peeking;
    this.#reading = undefined;
    this.#peeking = undefined;
    this.#queue = [];
    if (this.isEof) reading?.resolve(null);
    else reading?.reject(error);
    for (const { done } of queue) done.reject(error);
    peeking?.done.reject(error);
    this.#fin?.reject(error);
    this.opened.reject(error);
    this.closed.reject(error);
  }

  #take(max) {
    const [first] = this.chunks;
    if (max === undefined || lengthOf(first) <= max) return this.chunks.shift();
    this.chunks[0] = restOf(first, max);
    return copyOf(first, 0, max);
  }

  #answerPeek(peeked) {
    const peeking = this.#peeking;
    this.#peeking = undefined;
    peeking?.done.resolve(peeked);
  }

  /** Returns how far it came. */
  #send(bytes, from, to) {
    let at = from;
    while (at < to) {
      const length = Math.min(CHUNK_BYTES, to - at);
      putChunk(bytes, at, length);
      if (!host.connWrite(this.conn, this.id)) break;
      at += length;
    }
    return at;
  }

  #flush() {
    if (!this.isOpen) return;
    while (this.#queue.length > 0) {
      const [first] = this.#queue;
      const length = lengthOf(first.bytes);
      first.at = this.#send(first.bytes, first.at, length);
      if (first.at < length) return;
      this.#queue.shift();
      first.done.resolve();
    }
    if (!this.#isFinWanted || this.#isFinSent) return;
    this.#isFinSent = true;
    host.connFin(this.conn, this.id);
    if (this.#isClosing) host.connClose(this.conn, this.id);
    this.#fin.resolve();
  }
}
