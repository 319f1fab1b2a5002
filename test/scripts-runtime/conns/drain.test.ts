import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

const SOURCE = claiming(`ctx.signal.onabort = () => say('over', ctx.version);
  if (conn.flow.dst.port === 80) await conn.splice(connect('10.0.0.1:80'));
  else await conn.read();`);

/** A generation whose connections may go on for ten seconds, and somewhat more. */
async function replaced(port: number): Promise<{ world: ConnWorld; conn: number }> {
  const world = await ConnWorld.of(SOURCE);
  const conn = world.connect('192.0.2.1', port);
  if (port === 80) world.dialed();
  const next = { ...world.world.bundleOf({ a: SOURCE }), generation: 2 };
  expect(await world.host.load(next, { drainMs: 10_000 })).toEqual([]);
  world.advance(9_900);
  expect(world.lines).toEqual([]);
  expect(world.host.generations).toEqual([1, 2]);
  world.advance(1_200);
  expect(world.lines).toEqual(['over 1']);
  expect(world.client(conn).wasAborted).toBe(false);
  world.advance(1_100);
  return { world, conn };
}

test('a connection ends with its generation: its script is told, then it is reset', async () => {
  const { world, conn } = await replaced(443);
  expect(world.client(conn).wasAborted).toBe(true);
  expect(world.carrier.outdated).toEqual([conn]);
  world.finish(conn, 'reloaded');
  world.advance(1);
  expect(world.host.generations).toEqual([2]);
});

test('a connection that is spliced goes on without the generation', async () => {
  const { world, conn } = await replaced(80);
  expect(world.client(conn).wasAborted).toBe(false);
  expect(world.host.generations).toEqual([2]);
  world.finish(conn, 'eof', 0, 1, 2);
  expect(world.host.claims).toBe(0);
});

test('a claim whose client has not come yet is dropped with its generation', async () => {
  const world = await ConnWorld.of(SOURCE);
  const id = world.world.ask('192.0.2.1', 443, { flow: 77 });
  const next = { ...world.world.bundleOf({ a: SOURCE }), generation: 2 };
  await world.host.load(next, { drainMs: 10_000 });
  world.advance(13_000);
  world.advance(2_000);
  expect(world.host.generations).toEqual([2]);
  const conn = world.carrier.open(id);
  world.run();
  expect(world.client(conn).wasAborted).toBe(true);
});

test('a connection that is claimed by a call in flight ends with its generation too', async () => {
  const source = claiming('await conn.read();').replace(
    'flow() { return claim(); }',
    'async flow() { await new Promise((r) => setTimeout(r, 500)); return claim(); }',
  );
  const world = await ConnWorld.of(source);
  const id = world.world.ask('192.0.2.1', 443, { flow: 77 });
  const next = { ...world.world.bundleOf({ a: source }), generation: 2 };
  await world.host.load(next, { drainMs: 10_000 });
  world.advance(500);
  const conn = world.carrier.open(id);
  world.run();
  world.advance(9_000);
  expect(world.host.generations).toEqual([1, 2]);
  expect(world.client(conn).wasAborted).toBe(false);
  world.advance(3_000);
  expect(world.client(conn).wasAborted).toBe(true);
});

test('a connection that is claimed after the time of its generation ends at once', async () => {
  const source = claiming('await conn.read();').replace(
    'flow() { return claim(); }',
    'async flow() { await new Promise((r) => setTimeout(r, 5000)); return claim(); }',
  );
  const world = await ConnWorld.of(source, { limits: { wallMs: 10_000 } });
  const id = world.world.ask('192.0.2.1', 443, { flow: 77 });
  const next = { ...world.world.bundleOf({ a: source }), generation: 2 };
  await world.host.load(next, { drainMs: 100 });
  world.advance(2_000);
  world.advance(3_000);
  const conn = world.carrier.open(id);
  world.run();
  world.advance(1);
  expect(world.client(conn).wasAborted).toBe(true);
  world.finish(conn, 'killed');
  expect(world.host.generations).toEqual([2]);
});
