import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

const ECHO = 'for (let b; (b = await conn.read()) !== null; ) await conn.write(b);';

test('an echo: read until the client ends, and write it back', async () => {
  const world = await ConnWorld.of(claiming(ECHO));
  const conn = world.connect();
  world.send(conn, 'hello ');
  world.send(conn, 'world');
  expect(world.client(conn).got).toBe('hello world');
  world.sendFin(conn);
  expect(world.client(conn)).toMatchObject({ gotFin: true, wasClosed: true, wasAborted: false });
  world.finish(conn);
  expect(world.lines).toEqual([]);
  expect(world.host.claims).toBe(0);
});

test('many bytes come through in order, whatever the size of a run', async () => {
  const world = await ConnWorld.of(claiming(ECHO));
  const conn = world.connect();
  const all = Array.from({ length: 300_000 }, (_, i) => String.fromCharCode(i % 251)).join('');
  for (let at = 0; at < all.length; at += 70_001) world.send(conn, all.slice(at, at + 70_001));
  expect(world.client(conn).got === all).toBe(true);
});

test('a connection knows its flow and its addresses, and `opened` is done', async () => {
  const world = await ConnWorld.of(
    claiming(`const { remoteAddress, localAddress } = await conn.opened;
      say(conn.flow.id, conn.flow.proto, remoteAddress, localAddress, ctx.version);`),
  );
  world.connect('192.0.2.7', 8443);
  world.connect('fd00::1', 80);
  expect(world.lines).toEqual([
    '1 tcp 198.18.0.2:40000 192.0.2.7:8443 1',
    '2 tcp [fd00::2]:40000 [fd00::1]:80 1',
  ]);
});

test('text is written as UTF-8, also where a pair of units lies across two runs', async () => {
  const world = await ConnWorld.of(
    claiming(`await conn.write('ä€' + 'x'.repeat(5458) + '😀' + '');
      await conn.write(''); await conn.write(new Uint8Array(0));
      await conn.write('nul\\0, half \\ud800');`),
  );
  const { got } = world.client(world.connect());
  expect(Buffer.from(got, 'latin1').toString()).toBe(`ä€${'x'.repeat(5458)}😀nul\0, half \ufffd`);
});

test('a write waits for room, at most 64 KiB on their way', async () => {
  const world = await ConnWorld.of(
    claiming(`const bytes = new Uint8Array(200_000).fill(97);
      const done = conn.write(bytes).then(() => say('done'));
      bytes.fill(98);
      say('asked'); await done;`),
  );
  world.carrier.isTaking = false;
  const conn = world.connect();
  expect(world.lines).toEqual(['asked']);
  expect(world.client(conn).got.length).toBe(65_536);
  world.carrier.isTaking = true;
  world.run();
  expect(world.lines).toEqual(['asked', 'done']);
  expect(world.client(conn).got).toBe('a'.repeat(200_000));
  expect(world.client(conn).gotFin).toBe(true);
});

test('nothing is read ahead: who never reads leaves the bytes where they are', async () => {
  const world = await ConnWorld.of(claiming('await new Promise(() => {});'));
  const conn = world.connect();
  world.send(conn, 'x'.repeat(1000));
  expect(world.client(conn).waiting.length).toBe(1000);
});

test('closeWrite keeps the other direction, and writing is over', async () => {
  const world = await ConnWorld.of(
    claiming(`await conn.write('bye'); await conn.closeWrite(); await conn.closeWrite();
      await fails(() => conn.write('more'));
      say(text(await conn.read()), await conn.read(), await conn.read());`),
  );
  const conn = world.connect();
  expect(world.client(conn)).toMatchObject({ got: 'bye', gotFin: true, wasClosed: false });
  world.send(conn, 'late');
  world.sendFin(conn);
  expect(world.lines).toEqual([
    'TypeError - write(): after closeWrite() or close()',
    'late null null',
  ]);
});

test('close ends both directions once all is written, and reads fail', async () => {
  const world = await ConnWorld.of(
    claiming(`const reading = fails(() => conn.read());
      conn.write('x'); await conn.close('done'); await conn.close(); await reading;
      await fails(() => conn.write('y')); conn.closed.then(() => say('closed'));
      await new Promise(() => {});`),
  );
  const conn = world.connect();
  expect(world.client(conn)).toMatchObject({ got: 'x', gotFin: true, wasClosed: true });
  expect(world.lines).toEqual([
    'SocketError aborted closed here',
    'TypeError - write(): after closeWrite() or close()',
  ]);
  world.finish(conn);
  expect(world.lines.at(-1)).toBe('closed');
});

test('abort resets the client; what waits fails, and what comes after', async () => {
  const world = await ConnWorld.of(
    claiming(`const reading = fails(() => conn.read());
      conn.abort('no reason'); conn.abort();
      await reading; await fails(() => conn.read()); await fails(() => conn.write('x'));
      await fails(() => conn.closeWrite()); await fails(() => conn.peek());
      await fails(() => conn.closed);`),
  );
  const conn = world.connect();
  expect(world.client(conn)).toMatchObject({ wasAborted: true, gotFin: false });
  expect(world.lines).toEqual([
    'aborted',
    ...Array.from({ length: 6 }, () => 'SocketError aborted aborted here'),
  ]);
  expect(world.world.logs[0]).toMatchObject({
    level: 'debug',
    flow: 1,
    fields: { reason: 'no reason' },
  });
});

test('a client that resets ends reads, writes and the signal of the flow', async () => {
  const world = await ConnWorld.of(
    claiming(`conn.flow.signal.addEventListener('abort', () => say('signal'));
      await fails(() => conn.read()); await fails(() => conn.write('x'));
      await fails(() => conn.closed);`),
  );
  world.finish(world.connect(), 'client-reset');
  expect(world.lines.toSorted()).toEqual([
    'SocketError aborted client-reset',
    'SocketError aborted client-reset',
    'SocketError aborted client-reset',
    'signal',
  ]);
  expect(world.host.claims).toBe(0);
});

test('peek shows what waits and takes nothing, within its bounds and its time', async () => {
  const world = await ConnWorld.of(
    claiming(`say(text(await conn.peek({ min: 3 })), text(await conn.peek({ max: 2 })));
      say(text(await conn.peek({ min: 100, timeoutMs: 50 })));
      say(text(await conn.read()), text(await conn.peek({ min: 5, timeoutMs: 1000 })));
      say((await conn.peek({ min: 1 })).length);`),
  );
  const conn = world.connect();
  world.send(conn, 'ab');
  expect(world.lines).toEqual([]);
  world.send(conn, 'cd');
  expect(world.lines).toEqual(['abcd ab']);
  world.advance(49);
  expect(world.lines.length).toBe(1);
  world.advance(1);
  expect(world.lines.slice(1)).toEqual(['abcd']);
  world.send(conn, 'ef');
  world.sendFin(conn);
  expect(world.lines.slice(2)).toEqual(['abcd ef', '2']);
});

test('a peek comes before what had been read by chance', async () => {
  const world = await ConnWorld.of(
    claiming(`await conn.read(); await new Promise((done) => setTimeout(done, 10));
      say(text(await conn.peek({ min: 4, timeoutMs: 100 })), text(await conn.read()));
      say(text(await conn.read()));`),
  );
  const conn = world.connect();
  world.send(conn, '1');
  // The credit that the first read left over lets this one in.
  world.send(conn, '23');
  world.carrier.send(conn, 0, '45');
  world.client(conn).credit = 0;
  world.advance(10);
  expect(world.lines).toEqual(['2345 23', '45']);
});

test('options that make no sense are an error where they are given', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => conn.peek({ max: 20_000 }));
      await fails(() => conn.peek({ min: 5, max: 4 })); await fails(() => conn.peek(7));
      await fails(() => conn.peek({ mni: 1 })); await fails(() => conn.sniff({ with: 1 }));
      await fails(() => conn.sniff({ protocols: ['smtp'] }));
      await fails(() => conn.sniff({ protocols: ['quic'] }));
      await fails(() => conn.sniff({ protocols: [], with: () => 1 }));
      await fails(() => conn.write(5)); await fails(() => conn.write([1]));
      await fails(() => conn.splice()); await fails(() => conn.splice(conn));
      await fails(() => conn.splice({}, { maxBytes: -1 }));`),
  );
  world.connect();
  expect(world.lines).toEqual([
    'TypeError - peek(): min and max can be up to 16384 (peekBytes)',
    'TypeError - peek(): min and max can be up to 16384 (peekBytes)',
    'TypeError - peek(): options must be an object',
    'TypeError - peek(): no option "mni"',
    'TypeError - sniff(): with cannot be 1',
    'TypeError - sniff(): protocols cannot be ["smtp"]',
    'TypeError - sniff(): protocols cannot be ["quic"]',
    'TypeError - sniff(): "protocols" and "with" exclude each other',
    'TypeError - write(): a Uint8Array or text, not 5',
    'TypeError - write(): a Uint8Array or text, not [1]',
    'TypeError - splice(): a socket of connect(), not undefined',
    'TypeError - splice(): a socket of connect(), not {}',
    'TypeError - splice(): maxBytes cannot be -1',
  ]);
});

test('one read, one peek and one sniff at a time', async () => {
  const world = await ConnWorld.of(
    claiming(`conn.read().catch(() => {}); await fails(() => conn.read());
      conn.peek().catch(() => {}); await fails(() => conn.peek());
      await fails(() => conn.sniff());`),
  );
  world.connect();
  expect(world.lines).toEqual([
    'TypeError - read(): another one is not done yet',
    'TypeError - peek(): another one is not done yet',
    'TypeError - peek(): another one is not done yet',
  ]);
});

test('`await using` closes a connection', async () => {
  const world = await ConnWorld.of(
    claiming('{ await using client = conn; say(typeof client.read); }\nsay("there");'),
  );
  const conn = world.connect();
  expect(world.client(conn)).toMatchObject({ gotFin: true, wasClosed: true });
  expect(world.lines).toEqual(['function', 'there']);
});

test('`using` disposes of what scripts make themselves, also when they throw', async () => {
  const world = await ConnWorld.of(
    claiming(`
      const open = (name) => ({ [Symbol.dispose]() { say('closed', name); } });
      try {
        using a = open('a');
        using b = open('b');
        throw new Error('no');
      } catch (error) {
        say(error.message);
      }`),
  );
  world.connect();
  expect(world.lines).toEqual(['closed b', 'closed a', 'no']);
});

test('what the hook throws resets the client, and is logged with its place', async () => {
  const world = await ConnWorld.of(claiming("await conn.read();\nthrow new Error('no');"));
  const conn = world.connect();
  world.send(conn, 'x');
  expect(world.client(conn).wasAborted).toBe(true);
  expect(world.world.logs).toEqual([
    expect.objectContaining({
      level: 'warn',
      flow: 1,
      message: 'a.ts:14:16: Error: no',
      fields: expect.objectContaining({ error: 'error', line: 14 }),
    }),
  ]);
  world.advance(1000);
  expect(world.world.stats[0]).toMatchObject({ errors: 1 });
});

test('a connection stays on the generation that claimed it, which lives as long', async () => {
  const world = await ConnWorld.of(claiming(ECHO));
  const conn = world.connect();
  const waiting = world.world.ask('192.0.2.1', 443);
  await world.load(claiming('await conn.write("two");'), { generation: 2 });
  expect(world.host.generations).toEqual([1, 2]);
  world.send(conn, 'one');
  expect(world.client(conn).got).toBe('one');
  expect(world.client(world.connect()).got).toBe('two');
  world.sendFin(conn);
  world.finish(conn);
  expect(world.host.generations).toEqual([1, 2]);
  // A claim whose client was never heard of again.
  world.carrier.say(() =>
    world.host.conns.closed(7, 0, {
      ...{ reason: 'handshake-timeout', bytesUp: 0, bytesDown: 0 },
      requestId: waiting,
    }),
  );
  world.run();
  expect(world.host.generations).toEqual([2]);
});

test('when the carrier begins anew, all that waits is told', async () => {
  const world = await ConnWorld.of(claiming('await fails(() => conn.read());'));
  world.connect();
  world.world.ask();
  world.carrier.say(() => world.host.conns.lost(() => true));
  world.run();
  expect(world.lines).toEqual(['SocketError aborted restart']);
  expect(world.host.claims).toBe(0);
});

test('a claim that nobody made is reset', async () => {
  const world = await ConnWorld.of(claiming(''));
  const conn = world.carrier.open(999);
  world.run();
  expect(world.client(conn).wasAborted).toBe(true);
});

test('claim() without connect() is an error of the script', async () => {
  const world = await ConnWorld.of(
    "import { claim } from 'culvert';\nexport default { flow: () => claim() };",
  );
  expect(() => world.connect()).toThrow('failed error');
  expect(world.lines[0]).toContain('claim(): the script has no method connect()');
});

test('read({ max }) leaves the rest for the next call, in its order', async () => {
  const world = await ConnWorld.of(
    claiming(`for (let b; (b = await conn.read({ max: 3 })) !== null; ) say(text(b));
      await fails(() => conn.read({ max: 0 }));`),
  );
  const conn = world.connect();
  world.send(conn, 'abcdefgh');
  world.send(conn, 'ij');
  world.sendFin(conn);
  expect(world.lines).toEqual(['abc', 'def', 'gh', 'ij', 'TypeError - read(): max cannot be 0']);
});

test('bytes that read({ max }) has left are those of a peek, and of a splice', async () => {
  const world = await ConnWorld.of(
    claiming(`await conn.read({ max: 2 });
      say(text(await conn.peek({ min: 3 })));
      const up = connect('10.0.0.1:80');
      await conn.splice(up);`),
  );
  const conn = world.connect();
  world.send(conn, 'abcde');
  const socket = world.dialed();
  expect(world.lines).toEqual(['cde']);
  expect(world.carrier.end(conn, socket).got).toBe('cde');
});

test('a dial that the hook does not catch is logged as what it is', async () => {
  const world = await ConnWorld.of(claiming("await conn.splice(connect('10.0.0.1:80'));"));
  const conn = world.connect();
  world.dialed('refused');
  expect(world.client(conn).wasAborted).toBe(true);
  const gone = world.connect();
  world.finish(gone, 'client-reset');
  expect(world.world.logs).toMatchObject([
    { level: 'warn', flow: 1, message: 'SocketError: refused', fields: { peer: '10.0.0.1:80' } },
    { level: 'debug', flow: 2, message: 'SocketError: client-reset', fields: { code: 'aborted' } },
  ]);
  world.advance(1000);
  expect(world.world.stats[0]?.errors).toBe(0);
});
