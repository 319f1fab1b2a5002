import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

test('streams: a client is piped to an upstream and back, to the end of both', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      conn.readable.pipeTo(up.writable).then(() => say('up'));
      up.readable.pipeTo(conn.writable).then(() => say('down'));`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.send(conn, 'ask');
  world.send(conn, 'answer', socket);
  world.sendFin(conn);
  expect(world.carrier.end(conn, socket)).toMatchObject({ got: 'ask', gotFin: true });
  expect(world.client(conn)).toMatchObject({ got: 'answer', gotFin: false });
  world.sendFin(conn, socket);
  expect(world.client(conn).gotFin).toBe(true);
  expect(world.lines).toEqual(['up', 'down']);
});

test('streams exclude the methods, and the methods streams', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened; conn.readable;
      say(conn.readable === conn.readable, conn.writable === conn.writable);
      await fails(() => conn.read()); await fails(() => conn.splice(up));
      const reading = up.read(); await fails(async () => up.readable);`),
  );
  world.connect();
  world.dialed();
  expect(world.lines).toEqual([
    'true true',
    'TypeError - read(): the connection belongs to its streams',
    'TypeError - splice(): the connection belongs to its streams',
    'TypeError - readable: a read() is not done yet',
  ]);
});

test('streams: cancel loses interest, abort resets, and errors are theirs', async () => {
  const world = await ConnWorld.of(
    claiming(`const port = conn.flow.dst.port;
      if (port === 1) await conn.readable.cancel();
      if (port === 2) await conn.writable.abort();
      if (port === 3) await fails(() => conn.readable.getReader().read());
      await new Promise(() => {});`),
  );
  const [cancelled, aborted, lost] = [1, 2, 3].map((port) => world.connect('192.0.2.1', port));
  expect(world.client(cancelled!).wasClosed).toBe(true);
  expect(world.client(aborted!).wasAborted).toBe(true);
  world.finish(lost!, 'client-reset');
  expect(world.lines).toEqual(['SocketError aborted client-reset']);
});
