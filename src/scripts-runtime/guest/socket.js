/** `connect()`, and what is common to a socket and to a claimed connection. */
import { readableOf, writableOf } from './conn-streams.js';
import { End } from './end.js';
import { connOfSignal } from './flow-info.js';
import { host, parse, stringify } from './host.js';
import { load } from './lazy.js';
import { TURN_OF, words } from './page.js';
import { cut, show } from './show.js';
import { SocketError } from './socket-error.js';
import { checkOptions, count, oneOf, shortText } from './verdicts.js';

/** Ends by connection and id: that of the client is 0. */
const conns = new Map();

export const addConn = (conn) => {
  const end = new End(conn, 0);
  conns.set(conn, new Map([[0, end]]));
  return end;
};
export const removeConn = (conn) => conns.delete(conn);
export const endsOf = (conn) => conns.get(conn)?.values() ?? [];
export const findEnd = (conn, id) => conns.get(conn)?.get(id);
export const removeEnd = (conn, id) => conns.get(conn)?.delete(id);

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
  async read() {
    this.#end.check('read()');
    return this.#end.read();
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
  [Symbol.asyncDispose]() {
    return this.close();
  }
}
export const { endOf } = Socket;
delete Socket.endOf;

const CONNECT_OPTIONS = {
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

/** Reads each option once: a getter may answer differently the second time. */
function optionsOf(options) {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) {
    throw new TypeError('connect(): options must be an object');
  }
  const read = { ...options };
  checkOptions('connect()', read, CONNECT_OPTIONS);
  return read;
}

export function connect(to, options) {
  const { signal, ...dial } = optionsOf(options);
  // A pool has addresses of its own.
  const address = to === undefined && dial.via !== undefined ? undefined : addressOf(to);
  const conn = connOfSignal(signal) ?? words[TURN_OF];
  const answer = host.connDial(conn, stringify({ ...dial, to: address }));
  const end = new End(conn, typeof answer === 'number' ? answer : -1);
  const socket = new Socket(MAKING, end);
  if (typeof answer !== 'number') {
    const { code, message } = parse(answer);
    if (code === 'usage') throw new TypeError(`connect(): ${message}`);
    end.fail(new SocketError(code, message));
    return socket;
  }
  conns.get(conn).set(end.id, end);
  if (signal === undefined) return socket;
  // A signal may outlive many sockets.
  const forget = load('abort-signal').onAbort(signal, () => end.abort());
  end.closed.promise.then(forget, forget);
  return socket;
}
