/** TLS of scripts, as far as the sandbox goes: who is asked for what, and what becomes of it. */
import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

test('secureTransport on: `opened` waits for the handshake, and tells ALPN', async () => {
  const world = await ConnWorld.of(
    claiming(`const s = connect('a.example:443', { secureTransport: 'on', alpn: ['h2'] });
      s.opened.then((info: any) => say(JSON.stringify(info)));
      await s.write('hi'); say(text(await s.read()));`),
  );
  const conn = world.connect();
  world.host.resolved(world.world.lookups[0]!.id, ['10.0.0.1'], '');
  world.run();
  const socket = world.dialed();
  expect(world.carrier.secures).toEqual([
    { conn, socket, options: { name: 'a.example', alpn: ['h2'], inFlight: 0 } },
  ]);
  expect(world.lines).toEqual([]);
  expect(world.carrier.end(conn, socket).got).toBe('');
  world.carrier.secured({ alpn: 'h2' });
  world.run();
  expect(world.carrier.end(conn, socket).got).toBe('hi');
  world.send(conn, 'there', socket);
  const info = { remoteAddress: '10.0.0.1:443', localAddress: '198.18.0.9:50000', alpn: 'h2' };
  expect(world.lines).toEqual([JSON.stringify(info), 'there']);
});

test('the name is that of `sni`, of the target, or an address', async () => {
  const world = await ConnWorld.of(
    claiming(`connect('10.0.0.1:1', { secureTransport: 'on' });
      connect('[fd00::1]:2', { secureTransport: 'on' });
      connect('10.0.0.1:3', { secureTransport: 'on', sni: 'b.example' });
      await new Promise(() => {});`),
  );
  world.connect();
  for (const at of [0, 1, 2]) world.dialed('ok', at);
  const names = world.carrier.secures.map(({ options }) => options.name);
  expect(names).toEqual(['10.0.0.1', 'fd00::1', 'b.example']);
});

test('a handshake that fails is a SocketError `tls`, and the socket is given up', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => connect('10.0.0.1:443', { secureTransport: 'on' }).opened);
      say('next');`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.carrier.secured({ error: 'the certificate has expired' });
  world.run();
  expect(world.lines).toEqual(['SocketError tls the certificate has expired', 'next']);
  expect(world.carrier.end(conn, socket).wasAborted).toBe(true);
});

test('a handshake that is never done ends with the dial, or after ten seconds', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => connect('10.0.0.1:1',
        { secureTransport: 'on', connectTimeoutMs: 200 }).opened);
      await fails(() => connect('10.0.0.1:2', { secureTransport: 'on' }).opened);`),
  );
  const conn = world.connect();
  world.advance(150);
  const first = world.dialed();
  world.advance(50);
  expect(world.lines).toEqual(['SocketError timeout no answer in time']);
  expect(world.carrier.end(conn, first).wasAborted).toBe(true);
  world.dialed();
  world.advance(9_999);
  expect(world.lines).toHaveLength(1);
  world.advance(1);
  expect(world.lines).toHaveLength(2);
});

test('startTls: plain first, then another socket with TLS on the same connection', async () => {
  const world = await ConnWorld.of(
    claiming(`const starttls = { secureTransport: 'starttls', alpn: ['smtp'] };
      const plain = connect('mail.example:25', starttls);
      await plain.write('STARTTLS'); say(text(await plain.read()));
      const s = plain.startTls();
      await fails(() => plain.read()); await fails(() => plain.write('x'));
      say((await s.opened).alpn, (await s.opened).remoteAddress);
      await s.write('EHLO'); say(text(await s.read()));
      await plain.closed; say('the plain one is done');`),
  );
  const conn = world.connect();
  world.host.resolved(world.world.lookups[0]!.id, ['10.0.0.1'], '');
  world.run();
  const socket = world.dialed();
  world.send(conn, '220 go', socket);
  expect(world.carrier.secures).toMatchObject([
    { conn, socket, options: { name: 'mail.example', alpn: ['smtp'] } },
  ]);
  world.carrier.secured({ alpn: 'smtp' });
  world.run();
  world.send(conn, '250 ok', socket);
  expect(world.lines).toEqual([
    '220 go',
    'TypeError - read(): the connection belongs to startTls()',
    'TypeError - write(): the connection belongs to startTls()',
    'smtp 10.0.0.1:25',
    '250 ok',
    'the plain one is done',
  ]);
  expect(world.carrier.end(conn, socket).got).toBe('STARTTLSEHLO');
});

test('startTls: bytes that are not taken over yet are told, and count no more', async () => {
  const world = await ConnWorld.of(
    claiming(`const plain = connect('10.0.0.1:25', { secureTransport: 'starttls' });
      await plain.write('x'.repeat(1000));
      const s = plain.startTls(); await s.opened;
      await s.write(new Uint8Array(65536)); say('written');`),
  );
  world.carrier.isTaking = false;
  world.connect();
  world.dialed();
  expect(world.carrier.secures[0]?.options).toMatchObject({ inFlight: 1000 });
  world.carrier.ends.forEach((end) => {
    end.unacked = 0;
  });
  world.carrier.secured();
  world.run();
  expect(world.lines).toEqual(['written']);
});

test('startTls: what the server said before is not trusted', async () => {
  const world = await ConnWorld.of(
    claiming(`const plain = connect('10.0.0.1:25', { secureTransport: 'starttls' });
      await plain.read({ max: 3 });
      await fails(() => plain.startTls().opened);`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.send(conn, '220 go\r\n250 injected', socket);
  expect(world.lines).toEqual(['SocketError tls the server said something before the handshake']);
  expect(world.carrier.end(conn, socket).wasAborted).toBe(true);
  expect(world.carrier.secures).toEqual([]);
});

test('startTls: a signal ends the new socket too', async () => {
  const world = await ConnWorld.of(
    claiming(`const stop = new AbortController();
      const plain = connect('10.0.0.1:25', { secureTransport: 'starttls', signal: stop.signal });
      await plain.opened;
      const s = plain.startTls(); await s.opened;
      stop.abort();
      await fails(() => s.read());`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.carrier.secured();
  world.run();
  expect(world.lines).toEqual(['SocketError aborted aborted here']);
  expect(world.carrier.end(conn, socket).wasAborted).toBe(true);
});

test('what cannot be is said at once', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => connect('10.0.0.1:1').startTls());
      await fails(() => connect('10.0.0.1:1', { secureTransport: 'on' }).startTls());
      await fails(() => conn.startTls());
      await fails(() => connect('10.0.0.1:1', { secureTransport: 'yes' }));
      await fails(() => connect('10.0.0.1:1', { secureTransport: 'on', sni: 'a b' }));
      await fails(() => connect('10.0.0.1:1', { secureTransport: 'on', alpn: [''] }));
      await fails(() => connect('10.0.0.1:1', { alpn: 'h2' }));
      await fails(() => connect('10.0.0.1:1', { alpn: ['h2'] }));
      await fails(() => connect('10.0.0.1:1', { secureTransport: 'off', sni: 'a.example' }));`),
  );
  world.connect();
  const notOpened =
    "TypeError - startTls(): the socket was not opened with secureTransport: 'starttls'";
  expect(world.lines).toEqual([
    notOpened,
    notOpened,
    notOpened,
    'TypeError - connect(): secureTransport cannot be "yes"',
    'TypeError - connect(): sni is the name of a server, or its address',
    'TypeError - connect(): alpn is a list of names like "h2"',
    'TypeError - connect(): alpn cannot be "h2"',
    "TypeError - connect(): sni and alpn are of TLS: secureTransport: 'on' or 'starttls'",
    "TypeError - connect(): sni and alpn are of TLS: secureTransport: 'on' or 'starttls'",
  ]);
});

test('splice() with TLS says what to do instead, and either end can go on', async () => {
  const world = await ConnWorld.of(
    claiming(`const s = connect('10.0.0.1:443', { secureTransport: 'on' });
      await fails(() => conn.splice(s));
      const bytes = await conn.read(); await s.write(bytes);`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.carrier.secured();
  world.send(conn, 'hello');
  expect(world.lines).toEqual([
    'SocketError tls splice() joins connections as they are, and not with TLS: ' +
      'copy with read() and write()',
  ]);
  expect(world.carrier.end(conn, socket).got).toBe('hello');
  expect(world.carrier.splices).toEqual([]);
});

test('a failure of TLS later on has the code `tls` too', async () => {
  const world = await ConnWorld.of(
    claiming(`const s = connect('10.0.0.1:443', { secureTransport: 'on' });
      await s.opened; await fails(() => s.read());`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.carrier.secured();
  world.carrier.say(() =>
    world.host.conns.closed(conn, socket, { reason: 'bad', code: 'tls', bytesUp: 0, bytesDown: 0 }),
  );
  world.run();
  expect(world.lines).toEqual(['SocketError tls bad']);
});
