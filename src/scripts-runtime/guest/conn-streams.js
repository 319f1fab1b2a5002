/** `readable` and `writable`: an end as the streams of the web, for those who have code for them. */
import { host } from './host.js';
import { load } from './lazy.js';

/** By end; what is once in use as a stream is no other way. */
const readables = new WeakMap();
const writables = new WeakMap();
const OWNER = 'its streams';

function take(end, what) {
  if (end.owner !== OWNER) {
    end.check(what);
    if (!end.isIdle) throw new TypeError(`${what}: a read() is not done yet`);
    end.owner = OWNER;
  }
}

function made(streams, end, what, make) {
  const known = streams.get(end);
  if (known !== undefined) return known;
  take(end, what);
  const stream = make(load('streams'));
  streams.set(end, stream);
  return stream;
}

export const readableOf = (end) =>
  made(readables, end, 'readable', (streams) =>
    streams.readableOf(
      () => end.read(),
      () => host.connClose(end.conn, end.id),
    ),
  );

export const writableOf = (end) =>
  made(writables, end, 'writable', (streams) =>
    streams.writableOf(
      async (bytes) => end.write(bytes),
      async () => end.closeWrite(),
      () => end.abort(),
    ),
  );
