/** A claimed connection, and the hook `connect(conn, env, ctx)`. */
import { abortFlow, FlowInfo, setConn } from './flow-info.js';
import { host, limits, parse } from './host.js';
import { CONN, END, EVENT, FLAGS, words } from './page.js';
import { describe, show } from './show.js';
import { lookFor, lookWith, sniffEnd, watchServer } from './sniff.js';
import {
  addConn,
  endOf,
  endsOf,
  findEnd,
  MAKING,
  removeConn,
  removeEnd,
  Socket,
} from './socket.js';
import { SocketError } from './socket-error.js';
import { endTimersOf } from './timers.js';
import { checkOptions, count, oneOf } from './verdicts.js';

const PEEK_OPTIONS = { min: count, max: count, timeoutMs: count };
const isProtocol = oneOf('tls', 'http', 'ssh', 'dns');
const SNIFF_OPTIONS = {
  protocols: (value) => Array.isArray(value) && value.every(isProtocol),
  timeoutMs: count,
  with: (value) => typeof value === 'function',
};
const SPLICE_OPTIONS = { idleTimeoutMs: count, halfCloseTimeoutMs: count, maxBytes: count };

/** Each option once, as a getter may answer differently the second time. */
function read(name, options, known) {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${name}: options must be an object`);
  }
  const own = { ...options };
  checkOptions(name, own, known);
  return own;
}

export class Conn extends Socket {
  #end;
  #flow;
  #isSniffing = false;
  constructor(making, end, flow) {
    super(making, end);
    this.#end = end;
    this.#flow = flow;
  }
  get flow() {
    return this.#flow;
  }
  async peek(options) {
    const own = read('peek()', options, PEEK_OPTIONS);
    const { min = 1, max = limits.peekBytes, timeoutMs = limits.sniffMs } = own;
    if (max > limits.peekBytes || min > max) {
      throw new TypeError(`peek(): min and max can be up to ${limits.peekBytes} (peekBytes)`);
    }
    this.#end.check('peek()');
    return this.#end.peek(min, max, timeoutMs);
  }
  async sniff(options) {
    const own = read('sniff()', options, SNIFF_OPTIONS);
    const { protocols, timeoutMs = limits.sniffMs, with: sniffer } = own;
    if (protocols !== undefined && sniffer !== undefined) {
      throw new TypeError('sniff(): "protocols" and "with" exclude each other');
    }
    if (this.#isSniffing) throw new TypeError('sniff(): another one is not done yet');
    this.#end.check('sniff()');
    const { conn } = this.#end;
    const look = sniffer === undefined ? lookFor(conn, protocols) : lookWith(sniffer);
    const sockets = [...endsOf(conn)].filter(({ id }) => id !== 0);
    this.#isSniffing = true;
    try {
      return await sniffEnd(this.#end, sockets, look, timeoutMs);
    } finally {
      this.#isSniffing = false;
    }
  }
  async splice(socket, options) {
    const {
      idleTimeoutMs = 0,
      halfCloseTimeoutMs = 0,
      maxBytes = 0,
    } = read('splice()', options, SPLICE_OPTIONS);
    const up = endOf(socket);
    if (up === undefined || up.id === 0) {
      throw new TypeError(`splice(): a socket of connect(), not ${show(socket)}`);
    }
    if (up.isTls) {
      throw new SocketError(
        'tls',
        'splice() joins connections as they are, and not with TLS: copy with read() and write()',
      );
    }
    const client = this.#end;
    if (up.conn !== client.conn && up.error === undefined) {
      throw new TypeError(
        'splice(): the socket was opened for another connection; connect() with ' +
          '{ signal: conn.flow.signal } says which one it is for',
      );
    }
    client.check('splice()');
    up.check('splice()');
    if (!client.isIdle || !up.isIdle) throw new TypeError('splice(): a read() is not done yet');
    client.owner = 'splice()';
    up.owner = 'splice()';
    try {
      await join(client, up);
    } catch (error) {
      // The next upstream may do better.
      client.owner = undefined;
      up.owner = undefined;
      throw error;
    }
    host.connSplice(client.conn, up.id, idleTimeoutMs, halfCloseTimeoutMs, maxBytes);
    return client.ended.promise;
  }
}

/** All that either end has said or was told is handed over, so that only the far sides speak. */
async function join(client, up) {
  await up.opened.promise;
  await client.quiet();
  await up.quiet();
  for (const [from, to] of [
    [client, up],
    [up, client],
  ]) {
    for (const bytes of from.chunks) await to.write(bytes);
    from.chunks = [];
    await to.flushed();
  }
  if (client.error !== undefined) throw client.error;
  if (up.error !== undefined) throw up.error;
}

/** Runs the hook. Whatever becomes of it, the connection ends with it, unless it was spliced. */
export async function openConn(script, env, makeCtx, sourceIp, destinationIp, dnsName) {
  const conn = words[CONN];
  const flow = new FlowInfo(sourceIp, destinationIp, dnsName);
  const end = addConn(conn);
  end.flow = flow;
  setConn(flow, conn);
  end.peer = flow.src.toString();
  end.onOpened({ remoteAddress: end.peer, localAddress: flow.dst.toString() });
  try {
    await script.connect(new Conn(MAKING, end, flow), env, makeCtx(flow));
  } catch (error) {
    host.connFailed(conn, describe(error));
    end.abort();
    return;
  }
  if (end.owner !== undefined) return;
  for (const one of endsOf(conn)) one.close();
}

/** By EVENT of the page; the same as `ConnEvent` of conns/guest-conns.ts. */
const ON_EVENT = [
  (end) => end.onData(),
  (end) => end.onFin(),
  (end) => end.onRoom(),
  (end) => end.onPeeked((words[FLAGS] & 1) !== 0, (words[FLAGS] & 2) !== 0),
  (end, text) => {
    end.onOpened(parse(text));
    watchServer(end);
  },
  (end, text) => {
    const { code, message } = parse(text);
    end.fail(new SocketError(code, message));
    removeEnd(end.conn, end.id);
  },
  onClosed,
];

/** Something came of a connection; `text` belongs to it. */
export function connEvent(text) {
  const end = findEnd(words[CONN], words[END]);
  if (end !== undefined) ON_EVENT[words[EVENT]](end, text);
}

function onClosed(end, text) {
  const { reason, bytesUp, bytesDown, code } = parse(text);
  const makeError = () =>
    reason === 'eof' ? undefined : new SocketError(code ?? 'aborted', reason);
  if (end.id !== 0) {
    removeEnd(end.conn, end.id);
    end.onClosed(makeError());
    return;
  }
  const ends = [...endsOf(end.conn)];
  removeConn(end.conn);
  if (code === 'limit') endTimersOf(end.conn);
  end.ended.resolve({ bytesUp, bytesDown, reason });
  for (const one of ends) one.onClosed(makeError());
  abortFlow(end.flow, reason);
}
