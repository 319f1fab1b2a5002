/** `connect()`, and what is common to a socket and to a claimed connection. */
import { readableOf, writableOf } from './conn-streams.js';
import { End } from './end.js';
import { connOfSignal } from './flow-info.js';
import { host, onSettled, parse, slice, stringify, uncurry } from './host.js';
import { load } from './lazy.js';
import { TURN_OF, words } from './page.js';
import { cut, show } from './show.js';
import { SocketError } from './socket-error.js';
import { checkOptions, count, oneOf, shortText } from './verdicts.js';

/** Ends by connection, or by call, and id: that of a client is 0. */
const conns = new Map();

export const addConn = (conn) => {
  const end = new End(conn, 0);
  conns.set(conn, new Map([[0, end]]));
  return end;
};
export const removeConn = (conn) => conns.delete(conn);
export const endsOf = (conn) => conns.get(conn)?.values() ?? [];
export const findEnd = (conn, id) => conns.get(conn)?.get(id);
export function removeEnd(conn, id) {
  const ends = conns.get(conn);
  // A call is there as long as it has sockets.
  if (ends?.delete(id) && ends.size === 0) conns.delete(conn);
}
/** Events come to it from now on. A signal may outlive many sockets, and so may a call. */
function attach(end, signal) {
  const { conn, id } = end;
  if (!conns.has(conn)) conns.set(conn, new Map());
  conns.get(conn).set(id, end);
  end.signal = signal;
  const unfollow =
    signal === undefined ? undefined : load('abort-signal').onAbort(signal, () => end.abort());
  const forget = () => {
    if (findEnd(conn, id) === end) removeEnd(conn, id);
    unfollow?.();
  };
  onSettled(end.closed.promise, forget, forget);
}

const lastIndexOf = uncurry(String.prototype.lastIndexOf);

/** Only this file and conn.js can make a socket. */
export const MAKING = Symbol('making');

export class Socket {
  #end;
  constructor(making, end) {
    if (making !== MAKING) throw new TypeError('Illegal constructor');
    this.#end = end;
  }
  /** Undefined where it is none. */
  static endOf(value) {
    return typeof value === 'object' && value !== null && #end in value ? value.#end : undefined;
  }
  get opened() {
    return this.#end.opened.promise;
  }
  get closed() {
    return this.#end.closed.promise;
  }
  get readable() {
    return readableOf(this.#end);
  }
  get writable() {
    return writableOf(this.#end);
  }
  async read(options) {
    const { max } = optionsOf('read()', options, READ_OPTIONS);
    this.#end.check('read()');
    return this.#end.read(max);
  }
  async write(data) {
    this.#end.check('write()');
    return this.#end.write(data);
  }
  async closeWrite() {
    this.#end.check('closeWrite()');
    return this.#end.closeWrite();
  }
  async close() {
    if (this.#end.owner === undefined) await this.#end.close();
  }
  abort(reason) {
    if (reason !== undefined) host.connNote(this.#end.conn, cut(String(reason)));
    this.#end.abort();
  }
  startTls(options) {
    return secured(this.#end, optionsOf('startTls()', options, TLS_OPTIONS));
  }
  [Symbol.asyncDispose]() {
    return this.close();
  }
}
export const { endOf } = Socket;
delete Socket.endOf;

const protocols = (value) => Array.isArray(value) && value.every(shortText);
const READ_OPTIONS = { max: (value) => count(value) && value > 0 };
const TLS_OPTIONS = { sni: shortText, alpn: protocols };
const CONNECT_OPTIONS = {
  ...TLS_OPTIONS,
  secureTransport: oneOf('off', 'on', 'starttls'),
  into: oneOf('direct', 'tun'),
  via: shortText,
  bind: shortText,
  mark: count,
  proxyProtocol: oneOf(1, 2),
  connectTimeoutMs: count,
  signal: (value) => value instanceof load('abort-signal').AbortSignal,
};

/** As text, in the form in which addresses are written everywhere. */
function addressOf(to) {
  if (shortText(to)) return to;
  if (typeof to === 'object' && to !== null) {
    const { hostname, port } = to;
    if (shortText(hostname) && Number.isInteger(port)) {
      return hostname.includes(':') && hostname[0] !== '['
        ? `[${hostname}]:${port}`
        : `${hostname}:${port}`;
    }
  }
  throw new TypeError(
    `connect(): an address is text like "10.0.0.1:80" or { hostname, port }, not ${show(to)}`,
  );
}

/** Without port and brackets. */
const hostOf = (address) => {
  const name = slice(address, 0, lastIndexOf(address, ':'));
  return name[0] === '[' ? slice(name, 1, -1) : name;
};

/** Reads each option once: a getter may answer differently the second time. */
function optionsOf(name, options, known) {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${name}: options must be an object`);
  }
  const read = { ...options };
  checkOptions(name, read, known);
  return read;
}

/** The same socket, with TLS on it. */
function secured(plain, { sni = plain.tls?.sni, alpn = plain.tls?.alpn }) {
  if (plain.tls === undefined) {
    throw new TypeError("startTls(): the socket was not opened with secureTransport: 'starttls'");
  }
  plain.check('startTls()');
  if (!plain.isIdle) throw new TypeError('startTls(): a read() is not done yet');
  plain.owner = 'startTls()';
  const end = new End(plain.conn, plain.id);
  end.peer = plain.peer;
  end.isTls = true;
  upgrade(plain, end, stringify({ sni, alpn })).catch((error) => end.fail(error));
  return new Socket(MAKING, end);
}

/** What was written goes first. Whatever came before the handshake was not said in confidence. */
async function upgrade(plain, end, options) {
  await plain.opened.promise;
  await plain.flushed();
  await plain.quiet();
  if (plain.error !== undefined) throw plain.error;
  if (plain.chunks.length > 0) {
    plain.abort();
    throw new SocketError('tls', 'the server said something before the handshake');
  }
  plain.retire();
  attach(end, plain.signal);
  const refusal = host.connSecure(end.conn, end.id, options);
  if (refusal !== undefined) throw new SocketError('tls', refusal);
}

export function connect(to, options) {
  const { signal, ...dial } = optionsOf('connect()', options, CONNECT_OPTIONS);
  // A pool has addresses of its own.
  const address = to === undefined && dial.via !== undefined ? undefined : addressOf(to);
  const { secureTransport = 'off', sni, alpn } = dial;
  if (secureTransport === 'off' && (sni !== undefined || alpn !== undefined)) {
    throw new TypeError("connect(): sni and alpn are of TLS: secureTransport: 'on' or 'starttls'");
  }
  if (signal?.aborted) return failed(address, 'aborted', 'the signal fired before');
  const conn = connOfSignal(signal) ?? words[TURN_OF];
  const answer = host.connDial(conn, stringify({ ...dial, to: address }));
  if (typeof answer !== 'number') {
    const { code, message } = parse(answer);
    if (code === 'usage') throw new TypeError(`connect(): ${message}`);
    return failed(address, code, message);
  }
  const end = new End(conn, answer);
  end.peer = address;
  end.isTls = secureTransport === 'on';
  if (secureTransport === 'starttls') end.tls = { sni: sni ?? hostOf(address), alpn };
  attach(end, signal);
  return new Socket(MAKING, end);
}

/** A socket that was never dialled. */
function failed(address, code, message) {
  const end = new End(words[TURN_OF], -1);
  end.peer = address;
  end.fail(new SocketError(code, message));
  return new Socket(MAKING, end);
}
