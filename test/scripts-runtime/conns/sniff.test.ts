import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

const SNIFF = claiming('say(JSON.stringify(await conn.sniff())); await new Promise(() => {});');

test('a protocol is known as soon as its bytes are there, and none is taken', async () => {
  const world = await ConnWorld.of(SNIFF);
  const conn = world.connect();
  world.send(conn, 'GET /a HTT');
  expect(world.lines).toEqual([]);
  world.send(conn, 'P/1.1\r\nHost: A.example\r\n\r\n');
  expect(JSON.parse(world.lines[0]!)).toEqual({
    ...{ proto: 'http', method: 'GET', host: 'a.example', path: '/a' },
  });
  expect(world.client(conn).waiting).toStartWith('GET /a HTTP/1.1');
});

test('only the protocols that are asked for', async () => {
  const world = await ConnWorld.of(
    claiming("say(JSON.stringify(await conn.sniff({ protocols: ['ssh'] })));"),
  );
  world.send(world.connect(), 'GET / HTTP/1.1\r\n');
  expect(world.lines).toEqual(['{"proto":"unknown","why":"no-match"}']);
});

test('a silent client is `timeout` after 300 ms, one that has ended `no-match`', async () => {
  const world = await ConnWorld.of(SNIFF);
  world.connect();
  world.advance(299);
  expect(world.lines).toEqual([]);
  world.advance(1);
  expect(world.lines).toEqual(['{"proto":"unknown","why":"timeout"}']);
  world.sendFin(world.connect());
  expect(world.lines[1]).toBe('{"proto":"unknown","why":"no-match"}');
});

test('a client that dribbles does not stretch the time', async () => {
  const world = await ConnWorld.of(
    claiming('say(JSON.stringify(await conn.sniff({ timeoutMs: 100 })));'),
  );
  const conn = world.connect();
  for (let i = 0; i < 4; i++) {
    world.send(conn, 'G');
    world.advance(20);
    world.client(conn).waiting = 'GET / HTTP/1.1\r\nA: b\r\n'.slice(0, i + 1);
  }
  world.advance(20);
  expect(world.lines).toEqual(['{"proto":"unknown","why":"timeout"}']);
});

test('server-first: a socket that is dialled meanwhile ends it with its first byte', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:22');
      say(JSON.stringify(await conn.sniff({ timeoutMs: 10_000 }))); await conn.splice(up);`),
  );
  const conn = world.connect();
  const socket = world.dialed();
  world.send(conn, 'G');
  expect(world.lines).toEqual([]);
  world.send(conn, 'SSH-2.0-x', socket);
  expect(world.lines).toEqual(['{"proto":"unknown","why":"server-first"}']);
  // It was looked at, and not taken: the splice carries it.
  expect(world.carrier.splices.length).toBe(1);
  expect(world.carrier.end(conn, socket).waiting).toBe('SSH-2.0-x');
});

test('server-first: also of a socket that was open before', async () => {
  const world = await ConnWorld.of(
    claiming(`const up = connect('10.0.0.1:22'); await up.opened;
      const { why } = await conn.sniff(); say(why, text(await up.read()));`),
  );
  const conn = world.connect();
  world.send(conn, 'hi', world.dialed());
  expect(world.lines).toEqual(['server-first hi']);
});

test('a script’s own sniffer is asked again while it needs more', async () => {
  const world = await ConnWorld.of(
    claiming(`const seen: any[] = [];
      const found = await conn.sniff({ with(bytes: any) {
        seen.push(bytes.length); bytes.fill(0);
        return bytes.length < 4 ? 'need-more' : { proto: 'mine' };
      } });
      say(found.proto, seen, text(await conn.read()));`),
  );
  const conn = world.connect();
  world.send(conn, 'ab');
  world.send(conn, 'cdef');
  expect(world.lines).toEqual(['mine 2,6 abcdef']);
});

test('a script’s own sniffer: nothing, FIN, too much, too late, and an error', async () => {
  const world = await ConnWorld.of(
    claiming(`const more = { with: () => 'need-more' };
      say((await conn.sniff({ with: () => undefined })).why);
      await fails(() => conn.sniff({ with: async () => 'need-more' }));
      await fails(() => conn.sniff({ with() { throw new RangeError('mine'); } }));
      say((await conn.sniff(more)).why); say((await conn.sniff(more)).why);
      say((await conn.sniff(more)).why);`),
  );
  const conn = world.connect();
  world.send(conn, 'x');
  world.advance(300);
  expect(world.lines).toEqual([
    'no-match',
    'TypeError - sniff(): a sniffer must answer at once, and not by a promise',
    'RangeError - mine',
    'timeout',
  ]);
  world.send(conn, 'x'.repeat(20_000));
  expect(world.lines.slice(4)).toEqual(['limit', 'limit']);
  const other = await ConnWorld.of(
    claiming("say((await conn.sniff({ with: () => 'need-more' })).why);"),
  );
  const short = other.connect();
  other.carrier.sendFin(short, 0);
  other.send(short, 'x');
  expect(other.lines).toEqual(['no-match']);
});

test('a claim says that it sniffs, and that is for TCP only', async () => {
  const world = await ConnWorld.of(SNIFF.replace('claim()', 'claim({ sniff: true })'));
  world.connect();
  const id = world.world.ask('192.0.2.1', 53, { protocol: 'udp' });
  expect(world.world.answers.get(1)).toMatchObject({ verdict: { kind: 'claim', sniff: true } });
  expect(world.world.answers.get(id)).toMatchObject({ failure: 'bad-verdict' });
});
