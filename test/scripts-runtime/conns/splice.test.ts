import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

test('a splice hands both ends over, and tells how the flow ended', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80');
      const r = await conn.splice(up, { idleTimeoutMs: 5, halfCloseTimeoutMs: 6, maxBytes: 7 });
      say(JSON.stringify(r)); await conn.closed; await up.closed; say('closed');`),
  );
  const conn = world.connect();
  expect(world.carrier.splices).toEqual([]);
  const socket = world.dialed();
  const options = { idleTimeoutMs: 5, halfCloseTimeoutMs: 6, maxBytes: 7 };
  expect(world.carrier.splices).toEqual([{ conn, socket, options }]);
  expect(world.host.claims).toBe(0);
  world.finish(conn, 'eof', 0, 1000, 2000);
  expect(world.lines).toEqual(['{"bytesUp":1000,"bytesDown":2000,"reason":"eof"}', 'closed']);
});

test('a splice that nobody awaits outlives the hook; its reset is a result', async () => {
  const world = await ConnWorld.of(
    claiming(`conn.splice(connect('10.0.0.1:80')).then((r) => say(r.reason));
      conn.closed.catch((e) => say(e.code));`),
  );
  const conn = world.connect();
  world.dialed();
  expect(world.carrier.splices.length).toBe(1);
  expect(world.client(conn)).toMatchObject({ gotFin: false, wasAborted: false });
  world.finish(conn, 'upstream-reset');
  expect(world.lines.toSorted()).toEqual(['aborted', 'upstream-reset']);
});

test('what was read by chance and what waits to be written goes first, in order', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      await up.write(await conn.read()); await conn.write(await up.read());
      await new Promise((done) => setTimeout(done, 10));
      up.write(new Uint8Array(100_000).fill(46));
      await conn.splice(up);`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.send(conn, 'A');
  // Credit is left over from both reads, and lets these in.
  world.send(conn, 'a', socket);
  world.send(conn, 'B');
  world.send(conn, 'b', socket);
  world.carrier.isTaking = false;
  world.advance(10);
  expect(world.carrier.splices).toEqual([]);
  world.carrier.isTaking = true;
  world.run();
  expect(world.carrier.splices.length).toBe(1);
  expect(world.carrier.end(conn, socket).got).toBe(`A${'.'.repeat(100_000)}B`);
  expect(world.client(conn).got).toBe('ab');
  // No credit is left that would bring bytes which the splice should carry.
  expect([world.client(conn).credit, world.carrier.end(conn, socket).credit]).toEqual([0, 0]);
});

test('bytes that cross with the request to take credit back are not lost', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      await up.write(await conn.read()); await conn.splice(up);`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.carrier.send(conn, 0, 'first');
  world.carrier.deliver();
  world.carrier.say(() => world.host.conns.data(conn, 0, Buffer.from('crossed')));
  world.run();
  expect(world.carrier.splices.length).toBe(1);
  expect(world.carrier.end(conn, socket).got).toBe('firstcrossed');
});

test('after a splice the ends are nobody’s but its own', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      const ended = conn.splice(up);
      await fails(() => conn.read()); await fails(() => up.write('x'));
      await fails(() => conn.peek()); await fails(() => conn.sniff());
      await fails(() => up.closeWrite()); await fails(() => conn.splice(up));
      await conn.close(); say('still there'); await ended;`),
  );
  const conn = world.connect();
  world.dialed();
  const owned = (what: string) => `TypeError - ${what}: the connection belongs to splice()`;
  expect(world.lines).toEqual([
    ...['read()', 'write()', 'peek()', 'sniff()', 'closeWrite()', 'splice()'].map(owned),
    'still there',
  ]);
  expect(world.client(conn).gotFin).toBe(false);
  expect(world.carrier.strays).toEqual([]);
});

test('a splice with an upstream that fails leaves the client for the next one', async () => {
  const world = await ConnWorld.of(
    claiming(`for (const port of [1, 2]) {
        try { return await conn.splice(connect('10.0.0.1:' + port)); }
        catch (e) { say(e.code); }
      }`),
  );
  const conn = world.connect();
  world.dialed('refused');
  const socket = world.dialed('ok');
  expect(world.lines).toEqual(['refused']);
  expect(world.carrier.splices).toMatchObject([{ conn, socket }]);
});

test('a client that goes while a splice is made fails it', async () => {
  const world = await ConnWorld.of(
    claiming("await fails(() => conn.splice(connect('10.0.0.1:80')));"),
  );
  world.finish(world.connect(), 'client-reset');
  expect(world.lines).toEqual(['SocketError aborted client-reset']);
  expect(world.carrier.splices).toEqual([]);
});

test('a splice cannot begin in the middle of a read', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      const reading = up.read(); await fails(() => conn.splice(up)); say(text(await reading));`),
  );
  const conn = world.connect();
  world.send(conn, 'x', world.dialed());
  expect(world.lines).toEqual(['TypeError - splice(): a read() is not done yet', 'x']);
});

test('abort ends a spliced connection', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80'); await up.opened;
      conn.splice(up).then((r) => say(r.reason)); setTimeout(() => conn.abort(), 10);`),
  );
  const conn = world.connect();
  world.dialed();
  world.advance(10);
  expect(world.client(conn).wasAborted).toBe(true);
  expect(world.lines).toEqual(['killed']);
});

test('of two sockets that race, the loser can be ended without the splice', async () => {
  const world = await ConnWorld.of(
    claiming(`const a = connect('10.0.0.1:80'); const b = connect('10.0.0.2:80');
      const c = connect('10.0.0.3:80', { connectTimeoutMs: 5 });
      b.closed.catch(() => {}); c.closed.catch(() => {}); c.opened.catch(() => {});
      await a.opened; await b.opened;
      conn.splice(a).then((r) => say(r.reason));
      setTimeout(() => b.abort('lost'), 10); setTimeout(() => a.abort('enough'), 20);`),
  );
  const conn = world.connect();
  const winner = world.dialed('ok', 0);
  const loser = world.dialed('ok', 1);
  expect(world.carrier.splices).toMatchObject([{ conn, socket: winner }]);
  world.advance(10);
  expect(world.carrier.end(conn, loser).wasAborted).toBe(true);
  expect(world.client(conn).wasAborted).toBe(false);
  world.advance(10);
  expect(world.client(conn).wasAborted).toBe(true);
});

test('times that are longer than can be said are the longest, not what is left over', async () => {
  const world = await ConnWorld.of(
    claiming(`await conn.splice(connect('10.0.0.1:80'),
      { idleTimeoutMs: 2 ** 32 + 1, halfCloseTimeoutMs: 2 ** 40, maxBytes: 2 ** 53 });`),
  );
  world.connect();
  world.dialed();
  const most = 2 ** 32 - 1;
  expect(world.carrier.splices[0]?.options).toEqual({
    ...{ idleTimeoutMs: most, halfCloseTimeoutMs: most },
    maxBytes: 2 ** 53,
  });
});

test('what is spliced goes on when the sandbox breaks, and what is not is reset', async () => {
  const world = await ConnWorld.of(
    claiming(`if (conn.flow.dst.port === 1) await conn.splice(connect('10.0.0.1:80'));
      await conn.read(); if (conn.flow.dst.port === 3) for (;;) {}`),
    { limits: { cpuHardMs: 20, cpuSoftMs: 20 } },
    true,
  );
  const spliced = world.connect('192.0.2.1', 1);
  world.dialed();
  const reading = world.connect('192.0.2.1', 2);
  const spinning = world.connect('192.0.2.1', 3);
  world.send(spinning, 'x');
  expect(world.client(spliced).wasAborted).toBe(false);
  expect(world.client(reading).wasAborted).toBe(true);
  expect(world.client(spinning).wasAborted).toBe(true);
  expect(world.host.claims).toBe(0);
  world.finish(spliced);
});
