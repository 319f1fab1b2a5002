/** `conn.sniff()`: looks at what waits, as often as more comes, until somebody knows what it is. */
import { copyOf, joined, lengthOf, putChunk } from './chunk.js';
import { defer } from './deferred.js';
import { host, limits, parse, stringify } from './host.js';

const SERVER_FIRST = 'server-first';
const NOTHING = joined([]);

const unknown = (why) => ({ proto: 'unknown', why });

/** Resolves when a server speaks first; one for each connection whose client is looked at. */
const watches = new Map();

/** Looks at what a socket has for us, without taking it. */
export function watchServer(end) {
  const watch = watches.get(end.conn);
  if (watch === undefined || !end.isOpen || !end.isIdle || end.isTls) return;
  if (end.chunks.length > 0) {
    watch.resolve(SERVER_FIRST);
    return;
  }
  end.ask(1, 1, watch.timeoutMs, true).then(
    ({ bytes }) => {
      if (lengthOf(bytes) > 0) watch.resolve(SERVER_FIRST);
    },
    () => {},
  );
}

/**
 * @param client   end of the client
 * @param sockets  ends that are dialled or open
 * @param look     (bytes, why) => result or 'need-more'; throws what the script threw
 */
export async function sniffEnd(client, sockets, look, timeoutMs) {
  const watch = { ...defer(), timeoutMs };
  watches.set(client.conn, watch);
  for (const socket of sockets) watchServer(socket);
  try {
    return await lookUntilKnown(client, watch.promise, look, timeoutMs);
  } finally {
    watches.delete(client.conn);
  }
}

async function lookUntilKnown(client, serverFirst, look, timeoutMs) {
  const deadline = host.connNow() + timeoutMs;
  const max = limits.peekBytes;
  let seen = NOTHING;
  for (;;) {
    const left = Math.max(0, deadline - host.connNow());
    const peek = client.peek(lengthOf(seen) + 1, max, left);
    const found = await Promise.race([peek, serverFirst]);
    if (found === SERVER_FIRST) {
      client.forgetPeek();
      return look(seen, SERVER_FIRST);
    }
    const isEnd = client.isEof || client.peekedFin;
    // Nothing new: the client has said all it will, or not enough in time.
    if (lengthOf(found) <= lengthOf(seen)) return look(found, isEnd ? 'no-match' : 'timeout');
    seen = found;
    const outcome = look(found, whyLast(found, max, isEnd));
    if (outcome !== 'need-more') return outcome;
  }
}

const whyLast = (bytes, max, isEnd) => {
  if (lengthOf(bytes) >= max) return 'limit';
  return isEnd ? 'no-match' : undefined;
};

/**
 * The gateway's own sniffers. `why` is given when nothing more will come: what to answer then.
 */
export const lookFor = (conn, protocols) => (bytes, why) => {
  putChunk(bytes, 0, lengthOf(bytes));
  const wanted = protocols === undefined ? '' : stringify(protocols);
  return parse(host.connSniff(conn, wanted, why ?? ''));
};

/** A script's own, which sees a copy. */
export const lookWith = (sniffer) => (bytes, why) => {
  if (why === 'timeout' || why === SERVER_FIRST) return unknown(why);
  const outcome = sniffer(copyOf(bytes, 0, lengthOf(bytes))) ?? unknown('no-match');
  if (typeof outcome.then === 'function') {
    throw new TypeError('sniff(): a sniffer must answer at once, and not by a promise');
  }
  return outcome === 'need-more' && why !== undefined ? unknown(why) : outcome;
};
