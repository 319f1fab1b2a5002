import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

test('a socket is opened, written to before that, read and closed', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80');
      const wrote = up.write('early');
      const { remoteAddress, localAddress } = await up.opened;
      await wrote; say(remoteAddress, localAddress);
      say(text(await up.read())); await up.close(); await up.closed; say('over');`),
  );
  const conn = world.connect();
  expect(world.carrier.dials).toEqual([
    {
      conn,
      socket: 1,
      dial: { to: { ip: '10.0.0.1', port: 80, family: 4 }, into: 'direct', timeoutMs: 0 },
    },
  ]);
  const socket = world.dialed();
  const up = world.carrier.end(conn, socket);
  expect(up.got).toBe('early');
  world.send(conn, 'answer', socket);
  expect(up).toMatchObject({ gotFin: true, wasClosed: true });
  world.finish(conn, 'eof', socket);
  expect(world.lines).toEqual(['10.0.0.1:80 198.18.0.9:50000', 'answer', 'over']);
});

test('what a dial is made of: all options, an address as an object, IPv6', async () => {
  const world = await ConnWorld.of(
    claiming(`connect({ hostname: 'fd00::1', port: 443 }, { into: 'tun', bind: 'fd00::2',
        proxyProtocol: 2, connectTimeoutMs: 700 });
      connect('[::ffff:10.0.0.1]:80', { mark: 7, bind: undefined });
      await new Promise(() => {});`),
  );
  world.connect();
  expect(world.carrier.dials.map(({ dial }) => dial)).toEqual([
    {
      to: { ip: 'fd00::1', port: 443, family: 6 },
      into: 'tun',
      timeoutMs: 700,
      bind: 'fd00::2',
      proxyProtocol: 2,
    },
    { to: { ip: '10.0.0.1', port: 80, family: 4 }, into: 'direct', timeoutMs: 0, mark: 7 },
  ]);
});

test('options that make no sense throw at once', async () => {
  const bad = [
    "'10.0.0.1'",
    "'10.0.0.1:99999'",
    'undefined',
    '{ hostname: 5, port: 1 }',
    "'10.0.0.1:80', { into: 'disk' }",
    "'10.0.0.1:80', { bind: '10.0.0.1:5' }",
    "'10.0.0.1:80', { mark: 1, into: 'tun' }",
    "'10.0.0.1:80', { mark: 2 ** 32 }",
    "'10.0.0.1:80', { signal: {} }",
    "'10.0.0.1:80', { way: 'pool' }",
    "'10.0.0.1:80', 'now'",
  ];
  const world = await ConnWorld.of(
    claiming(bad.map((one) => `await fails(() => connect(${one}));`).join('\n')),
  );
  world.connect();
  expect(world.lines).toEqual([
    'TypeError - connect(): an address is "10.0.0.1:80", "[fd00::1]:80" or "example.com:80"',
    'TypeError - connect(): an address is "10.0.0.1:80", "[fd00::1]:80" or "example.com:80"',
    'TypeError - connect(): an address is text like "10.0.0.1:80" or { hostname, port }, ' +
      'not undefined',
    'TypeError - connect(): an address is text like "10.0.0.1:80" or { hostname, port }, ' +
      'not {"hostname":5,"port":1}',
    'TypeError - connect(): into cannot be "disk"',
    'TypeError - connect(): bind is an address without a port',
    'TypeError - connect(): mark is of a socket, and not of "tun"',
    'TypeError - connect(): mark is from 0 to 4294967295',
    'TypeError - connect(): signal cannot be {}',
    'TypeError - connect(): no option "way"',
    'TypeError - connect(): options must be an object',
  ]);
  expect(world.carrier.dials).toEqual([]);
});

test.each([
  ['refused', 'refused'],
  ['unreachable', 'unreachable'],
  ['timeout', 'timeout'],
  ['loop', 'loop'],
  ['limit', 'limit'],
  ['failed', 'unreachable'],
] as const)('a dial that ends with %s is a SocketError %s', async (result, code) => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80');
      try { await up.opened } catch (e) {
        say(e instanceof SocketError, e instanceof TypeError, e.code); }
      await fails(() => up.read()); await fails(() => up.closed);`),
  );
  world.connect();
  world.dialed(result);
  expect(world.lines[0]).toBe(`true true ${code}`);
  expect(world.lines[1]).toStartWith(`SocketError ${code} `);
  expect(world.lines[2]).toBe(world.lines[1]!);
});

test('names: addresses take turns every 250 ms, and the first that answers wins', async () => {
  const world = await ConnWorld.of(
    claiming("say((await connect('db.example:5432').opened).remoteAddress);"),
  );
  const conn = world.connect();
  const { id, name } = world.world.lookups[0]!;
  expect(name).toBe('db.example');
  world.host.resolved(id, ['fd00::1', 'fd00::2', '10.0.0.1', '10.0.0.2'], '');
  world.run();
  const tried = () => world.carrier.dials.map(({ dial }) => dial.to.ip);
  expect(tried()).toEqual(['10.0.0.1']);
  world.advance(249);
  expect(tried()).toEqual(['10.0.0.1']);
  world.advance(1);
  expect(tried()).toEqual(['10.0.0.1', 'fd00::1']);
  world.dialed('refused', 1);
  expect(tried()).toEqual(['10.0.0.1', 'fd00::1', '10.0.0.2']);
  world.dialed('ok', 2);
  expect(world.lines).toEqual(['10.0.0.2:5432']);
  expect(world.carrier.givenUp).toEqual([1]);
  // The loser answers all the same.
  world.carrier.answer(world.carrier.dials[0]);
  world.advance(1000);
  expect(tried().length).toBe(3);
  expect(world.carrier.end(conn, 3).wasAborted).toBe(false);
});

test('names: when all fail, the last reason counts; none is `dns`', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => connect('db.example:5432').opened);
      await fails(() => connect('nowhere.example:1').opened);`),
  );
  world.connect();
  world.host.resolved(world.world.lookups[0]!.id, ['10.0.0.1', '10.0.0.2'], '');
  world.run();
  world.dialed('refused');
  world.dialed('unreachable');
  world.host.resolved(world.world.lookups[1]!.id, [], 'ENOTFOUND');
  world.run();
  expect(world.lines).toEqual([
    'SocketError unreachable unreachable',
    'SocketError dns nowhere.example does not resolve: ENOTFOUND',
  ]);
});

test('the time for a connection counts name and addresses together', async () => {
  const world = await ConnWorld.of(
    claiming("await fails(() => connect('a.example:1', { connectTimeoutMs: 500 }).opened);"),
  );
  world.connect();
  world.advance(200);
  world.host.resolved(world.world.lookups[0]!.id, ['10.0.0.1'], '');
  world.run();
  expect(world.carrier.dials[0]?.dial.timeoutMs).toBe(300);
  world.advance(299);
  expect(world.lines).toEqual([]);
  world.advance(1);
  expect(world.lines).toEqual(['SocketError timeout no answer in time']);
  expect(world.carrier.givenUp).toEqual([1]);
});

test('a signal aborts a socket, open or not, and one that has fired opens none', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:1', { signal: ctx.signal });
      const open = connect('10.0.0.1:2', { signal: ctx.signal });
      const named = connect('a.example:3', { signal: ctx.signal });
      await open.opened; await fails(() => up.opened); await fails(() => named.opened);
      await fails(() => open.read());
      await fails(() => connect('10.0.0.1:4', { signal: ctx.signal }).opened);`),
  );
  const conn = world.connect();
  world.dialed('ok', 1);
  await world.load(claiming(''), { generation: 2 });
  world.run();
  const aborted: string[] = Array(3).fill('SocketError aborted aborted here');
  expect(world.lines).toEqual([...aborted, 'SocketError aborted the signal fired before']);
  expect(world.carrier.dials.map(({ dial }) => dial.to.port)).toEqual([1, 2]);
  expect(world.carrier.givenUp).toContain(1);
  expect(world.carrier.end(conn, 2).wasAborted).toBe(true);
});

test('a socket ends with its connection, and a connection outlives its sockets', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:1'); await up.opened;
      await fails(() => up.read()); await conn.write('sorry'); await fails(() => conn.read());`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.finish(conn, 'upstream-reset', socket);
  expect(world.client(conn).got).toBe('sorry');
  world.finish(conn, 'client-reset');
  expect(world.lines).toEqual([
    'SocketError aborted upstream-reset',
    'SocketError aborted client-reset',
  ]);
});

test('a socket belongs to the connection whose turn it is, or whose signal it has', async () => {
  const world = await ConnWorld.of(
    claiming(
      `if (conn.flow.id === '1') { wake(conn); return new Promise(() => {}); }
       if (conn.flow.id === '2') return setTimeout(() => connect('10.0.0.2:2'), 20);
       connect('10.0.0.3:3'); connect('10.0.0.1:1', { signal: first.flow.signal });
       await fails(() => conn.splice(connect('10.0.0.1:4', { signal: first.flow.signal })));
       await new Promise(() => {});`,
      'let first: any; const wake = (conn: any) => { first = conn; };',
    ),
  );
  const first = world.connect();
  world.connect();
  const third = world.connect();
  world.advance(20);
  expect(world.carrier.dials.map(({ conn, dial }) => [conn, dial.to.port])).toEqual([
    [third, 3],
    [first, 1],
    [first, 4],
    // The second connection has ended before its timer fired, in order, and lives till it is told.
    [first + 1, 2],
  ]);
  expect(world.lines).toEqual([
    'TypeError - splice(): the socket was opened for another connection; connect() with ' +
      '{ signal: conn.flow.signal } says which one it is for',
  ]);
});
