import { expect, test } from 'bun:test';
import { describe } from '../script-world.ts';
import { ConnWorld, claiming } from './conn-world.ts';

const HOLD = 'await new Promise(() => {});';

function hitsOf(world: ConnWorld): Readonly<Record<string, number>> {
  world.advance(1000);
  return world.world.stats[0]?.limitHits ?? {};
}

test('claims: more than there may be fail closed; a splice makes room', async () => {
  const world = await ConnWorld.of(
    claiming("await conn.read(); await conn.splice(connect('10.0.0.1:80'));"),
    { limits: { claims: 2 } },
  );
  const first = world.connect();
  world.connect();
  const ask = () => describe(world.world.answers.get(world.world.ask()));
  expect(ask()).toBe('failed claims');
  expect(world.host.claims).toBe(2);
  world.send(first, 'x');
  world.dialed();
  expect(world.host.claims).toBe(1);
  expect(ask()).toBe('claim');
  expect(ask()).toBe('failed claims');
  expect(hitsOf(world)).toMatchObject({ claims: 2 });
});

test('sockets of one connection: four; one that is closed makes room', async () => {
  const world = await ConnWorld.of(
    claiming(`const all = [1, 2, 3, 4].map((port) => connect('10.0.0.1:' + port));
      await fails(() => connect('10.0.0.1:5').opened);
      all[0].abort(); connect('10.0.0.1:6'); ${HOLD}`),
  );
  world.connect();
  expect(world.lines.toSorted()).toEqual([
    'SocketError limit more than 4 sockets for one connection (socketsPerFlow)',
    'more than 4 sockets for one connection (socketsPerFlow)',
  ]);
  expect(world.carrier.dials.map(({ dial }) => dial.to.port)).toEqual([1, 2, 3, 4, 6]);
  expect(world.world.logs[0]).toMatchObject({ level: 'warn', fields: { limit: 'sockets' } });
  expect(hitsOf(world)).toMatchObject({ sockets: 1 });
});

test('dials in flight of one script, names that are looked up among them', async () => {
  const world = await ConnWorld.of(
    claiming(`connect('a.example:1'); connect('10.0.0.1:2');
      await fails(() => connect('10.0.0.1:3').opened); ${HOLD}`),
    { limits: { dials: 3 } },
  );
  world.connect();
  world.dialed();
  world.connect();
  expect(world.lines.filter((line) => line.startsWith('SocketError'))).toEqual([
    'SocketError limit more than 3 dials at once (dials)',
  ]);
  // The one whose error nobody looks at is counted too.
  expect(hitsOf(world)).toMatchObject({ dials: 2 });
});

test('addresses of one name never use more than the sockets of a connection', async () => {
  const world = await ConnWorld.of(
    claiming(`connect('10.0.0.1:1'); connect('a.example:2');${HOLD}`),
  );
  world.connect();
  const many = Array.from({ length: 8 }, (_, i) => `10.0.1.${i}`);
  world.host.resolved(world.world.lookups[0]!.id, many, '');
  for (let i = 0; i < 10; i++) world.advance(250);
  expect(world.carrier.dials.length).toBe(4);
  world.dialed('refused', 1);
  expect(world.carrier.dials.length).toBe(5);
});

test('processor time of one connection, over all of its turns and timers', async () => {
  const spin = 'const until = Date.now() + 15; while (Date.now() < until);';
  const world = await ConnWorld.of(
    claiming(`conn.closed.catch((e: any) => say(e.code, e.message));
      for (;;) { ${spin} await new Promise((done) => setTimeout(done, 10)); }`),
    { limits: { connCpuMs: 60, cpuSoftMs: 1000, cpuHardMs: 5000 } },
    true,
  );
  const conn = world.connect();
  const other = world.connect('192.0.2.1', 80);
  for (let i = 0; i < 100 && !world.client(conn).wasAborted; i++) {
    await Bun.sleep(10);
    world.world.now = performance.now() * 1000;
    world.carrier.deliver();
    world.host.expire(performance.now() * 1000);
  }
  world.carrier.deliver();
  world.host.expire(performance.now() * 1000);
  expect(world.client(conn).wasAborted).toBe(true);
  const message = 'more than 60 ms of processor time for one connection (connCpuMs)';
  expect(world.lines).toContain(message);
  expect(world.lines).toContain(`limit ${message}`);
  // Each is charged for itself.
  expect(world.client(other).wasAborted || world.host.claims === 1).toBe(true);
});

test('what waits for a timer when the processor time is used up goes on once', async () => {
  const spin = 'const until = Date.now() + 25; while (Date.now() < until);';
  const world = await ConnWorld.of(
    claiming(`const late = setInterval(() => { ${spin} }, 10);
      const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
      try { for (;;) await sleep(40); }
      catch (e: any) { say(e.name, e.message); }
      finally { say('tidied up'); }`),
    { limits: { connCpuMs: 60, cpuSoftMs: 10_000, cpuHardMs: 10_000 } },
    true,
  );
  const conn = world.connect();
  for (let i = 0; i < 200 && !world.lines.includes('tidied up'); i++) {
    await Bun.sleep(5);
    world.carrier.deliver();
    world.host.expire(performance.now() * 1000);
  }
  expect(world.client(conn).wasAborted).toBe(true);
  expect(world.carrier.limited).toEqual([conn]);
  expect(world.lines).toEqual([
    'more than 60 ms of processor time for one connection (connCpuMs)',
    'LimitError the connection has used up its processor time (connCpuMs)',
    'tidied up',
  ]);
  expect(world.host.nextDeadline()).toBeGreaterThan(performance.now() * 1000 + 50_000);
});

test('what arrives stays below the memory limit of the script, or breaks it', async () => {
  const world = await ConnWorld.of(
    claiming('const kept: any[] = []; for (;;) kept.push(await conn.read());'),
    { limits: { memoryBytes: 3 * 2 ** 20, cpuHardMs: 10_000, connCpuMs: 60_000 } },
    true,
  );
  const conn = world.connect();
  for (let i = 0; i < 1500 && !world.client(conn).wasAborted; i++) {
    world.carrier.send(conn, 0, 'x'.repeat(16_384));
    world.carrier.deliver();
    world.host.expire(world.world.now);
  }
  expect(world.client(conn).wasAborted).toBe(true);
  expect(world.lines.some((line) => line.includes('memoryBytes'))).toBe(true);
});

test('peekBytes and sniffMs are what the script may', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => conn.peek({ max: 101 }));
      say((await conn.peek({ min: 100 })).length);
      say((await conn.sniff({ with: () => 'need-more' })).why);`),
    { limits: { peekBytes: 100, sniffMs: 50 } },
  );
  const conn = world.connect();
  world.send(conn, 'x'.repeat(60));
  world.advance(50);
  expect(world.lines).toEqual([
    'TypeError - peek(): min and max can be up to 100 (peekBytes)',
    '60',
  ]);
  world.send(conn, 'x'.repeat(60));
  expect(world.lines[2]).toBe('limit');
});
