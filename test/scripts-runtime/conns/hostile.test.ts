import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

test('getters and proxies as options are read once, and see no half done work', async () => {
  const world = await ConnWorld.of(
    claiming(`let reads = 0;
      const shifty = { get connectTimeoutMs() { return ++reads === 1 ? 5 : -1; } };
      const up = connect('10.0.0.1:80', shifty); say('reads', reads); up.opened.catch(() => {});
      const thrower = { get bind() { throw new RangeError('mine'); } };
      await fails(() => connect('10.0.0.1:80', thrower));
      const proxy = new Proxy({}, { ownKeys() { conn.abort(); return ['max']; },
        getOwnPropertyDescriptor: () => ({ value: 3, enumerable: true, configurable: true }) });
      await fails(() => conn.peek(proxy));`),
  );
  const conn = world.connect();
  expect(world.lines).toEqual(['reads 1', 'RangeError - mine', 'SocketError aborted aborted here']);
  expect(world.carrier.dials.map(({ dial }) => dial.timeoutMs)).toEqual([5]);
  expect(world.client(conn).wasAborted).toBe(true);
});

test('a then() on the prototype of all objects runs, and breaks nothing but itself', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80');
      Object.defineProperty(Object.prototype, 'then', { configurable: true, get() {
        conn.write('!').catch(() => {}); return undefined; } });
      await up.opened; say(text(await conn.read())); delete (Object.prototype as any).then;`),
  );
  const conn = world.connect();
  world.dialed();
  world.send(conn, 'x');
  expect(world.lines).toEqual(['x']);
  expect(world.client(conn).gotFin).toBe(true);
});

test('replaced globals do not reach the page or another end', async () => {
  const world = await ConnWorld.of(
    claiming(`const seen: any[] = [];
      const proto = Object.getPrototypeOf(Uint8Array.prototype);
      const { set } = proto;
      for (const [name, owner] of [['set', proto], ['slice', proto], ['subarray', proto]] as any)
        owner[name] = function (...all: any[]) { seen.push([this, ...all]); };
      Object.defineProperty(Uint8Array, Symbol.species, { value: function (...all: any[]) {
        seen.push(all); return new Uint8Array(4); } });
      (globalThis as any).Uint8Array = function () { seen.push('made'); };
      (globalThis as any).Promise = function () { seen.push('promise'); };
      const got = await conn.read(); await conn.write(got); await conn.write('text');
      say(seen.length, typeof set, text(got));`),
  );
  const conn = world.connect();
  world.send(conn, 'hello');
  expect(world.lines).toEqual(['0 function hello']);
  expect(world.client(conn).got).toBe('hellotext');
});

test('a socket cannot be made, and what is none is told from one', async () => {
  const world = await ConnWorld.of(
    claiming(`const Conn = conn.constructor; const Socket = Object.getPrototypeOf(Conn);
      await fails(() => new Conn()); await fails(() => new Socket({}, {}));
      await fails(() => Socket.prototype.read.call({}));
      await fails(() => conn.splice(Object.create(Socket.prototype)));
      await fails(() => conn.splice(new Proxy(connect('10.0.0.1:1'), {})));
      say(Object.getOwnPropertyNames(conn), Object.getOwnPropertyNames(Socket).sort());`),
  );
  world.connect();
  expect(world.lines.map((line) => line.split(':')[0])).toEqual([
    'TypeError - Illegal constructor',
    'TypeError - Illegal constructor',
    ...Array(3).fill(expect.stringMatching(/^TypeError - /)),
    ' length,name,prototype',
  ]);
});

test('ends of a connection that is gone do nothing any more', async () => {
  const world = await ConnWorld.of(
    claiming(
      `if (!kept) { kept = conn; keptUp = connect('10.0.0.1:1'); await keptUp.opened; return; }
       for (const end of [kept, keptUp]) {
         await fails(() => end.read()); await fails(() => end.write('x'));
         await fails(() => end.closeWrite()); await end.close(); end.abort('late');
       }
       await fails(() => kept.peek()); await fails(() => kept.sniff());
       await fails(() => conn.splice(keptUp)); await fails(() => kept.splice(keptUp));
       await fails(() => connect('10.0.0.1:2', { signal: kept.flow.signal }).opened);`,
      'let kept: any; let keptUp: any;',
    ),
  );
  const first = world.connect();
  world.dialed();
  world.finish(first, 'eof');
  world.connect();
  const failures = world.lines.filter((line) => line !== 'aborted');
  expect(failures.length).toBe(11);
  // Who has heard that all is said can be told so again.
  expect(failures.filter((line) => !/^(SocketError aborted|TypeError -) /.test(line))).toEqual([
    ...['null', 'null', '{}', '{"proto":"unknown","why":"no-match"}'].map((it) => `no error ${it}`),
  ]);
  expect(world.carrier.dials.length).toBe(1);
  expect(world.carrier.strays).toEqual([]);
});

test('calls from within the settling of another do not confuse either', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:1');
      const reads: any[] = [];
      const next = (): any => conn.read().then((b: any) => { reads.push(text(b));
        up.write(b); if (b) return next(); });
      up.opened.then(() => {
        conn.write('a'); up.write('b'); conn.abort(); up.abort(); conn.close(); });
      await next().catch((e: any) => say(e.code, reads)); conn.abort(); up.abort();`),
  );
  const conn = world.connect();
  world.send(conn, '1');
  const socket = world.dialed();
  expect(world.lines).toEqual(['aborted 1']);
  expect(world.client(conn)).toMatchObject({ wasAborted: true, got: 'a' });
  expect(world.carrier.end(conn, socket)).toMatchObject({ wasAborted: true, got: '1b' });
});

test('messages that make no sense to the host are ignored', async () => {
  const world = await ConnWorld.of(claiming('say(text(await conn.read()));'));
  const conn = world.connect();
  const { conns } = world.host;
  world.carrier.say(() => {
    for (const at of [conn, 9999]) {
      conns.peeked(at, 0, 77, { bytes: new Uint8Array(3), isFin: true, isTimedOut: false });
      conns.room(at, 0, 2 ** 31);
      conns.room(at, 5, 1);
      conns.dialed(at, 5, 'ok');
      conns.closed(at, 5, { reason: 'eof', bytesUp: 0, bytesDown: 0 });
      conns.data(at, 5, new Uint8Array(3));
      conns.fin(at, 5);
    }
    conns.closed(9999, 0, { reason: 'eof', bytesUp: 0, bytesDown: 0, requestId: 12_345 });
  });
  world.run();
  expect(world.lines).toEqual([]);
  world.send(conn, 'fine');
  expect(world.lines).toEqual(['fine']);
});

test('a sandbox that breaks in an event resets its connections, and serves the next', async () => {
  const world = await ConnWorld.of(
    claiming(`const b = await conn.read(); if (text(b) === 'spin') for (;;) {}
      await conn.write('ok');`),
    { limits: { cpuHardMs: 20, cpuSoftMs: 20 } },
    true,
  );
  while (world.host.isPreparing) await Bun.sleep(1);
  const spinning = world.connect();
  const bystander = world.connect();
  world.send(spinning, 'spin');
  expect([spinning, bystander].map((conn) => world.client(conn).wasAborted)).toEqual([true, true]);
  expect(world.host.claims).toBe(0);
  const next = world.connect();
  world.send(next, 'x');
  expect(world.client(next).got).toBe('ok');
  const waiting = world.world.ask();
  while (world.host.isPreparing) await Bun.sleep(1);
  world.carrier.open(waiting);
  world.run();
  expect(world.host.claims).toBe(2);
});

test('5,000 connections leave no memory behind', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:80', { signal: conn.flow.signal });
      up.opened.catch(() => {}); conn.peek({ timeoutMs: 1 }).catch(() => {});
      await conn.write('hello'); if (conn.flow.dst.port === 2) conn.abort();`),
    // A leak of 300 bytes a connection would not fit.
    { limits: { memoryBytes: 2 ** 21 + 2 ** 19, cpuSoftMs: 1000, cpuHardMs: 5000, claims: 10 } },
    true,
  );
  for (let i = 0; i < 5_000; i++) {
    const conn = world.connect('192.0.2.1', i % 3);
    world.finish(conn, i % 2 === 0 ? 'eof' : 'client-reset');
    world.carrier.ends.clear();
    world.carrier.dials.length = 0;
    world.world.answers.clear();
  }
  expect(world.host.claims).toBe(0);
  expect(world.lines).toEqual([]);
});
