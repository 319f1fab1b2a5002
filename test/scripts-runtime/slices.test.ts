/** How long scripts work before whoever runs them is heard again. */
import { expect, test } from 'bun:test';
import { describe, ScriptWorld, scriptOf, syncScriptOf } from './script-world.ts';

/** A turn that takes longer than a slice. */
const TURN_MS = 45;

/** Does what is due, one call of `expire` at a time. Returns the turns of each. */
function expireAll(world: ScriptWorld): number[] {
  const turns: number[] = [];
  while (world.host.nextDeadline() <= world.now) {
    const before = world.turns;
    world.host.expire(world.now);
    turns.push(world.turns - before);
    if (turns.length > 10_000) throw new Error('there is no end to it');
  }
  return turns;
}

test('a hundred slow timers that are due at once run one by one', async () => {
  const world = new ScriptWorld();
  const timers = 'for (let i = 0; i < 100; i++) setTimeout(() => console.log(String(i)), 10);';
  await world.load(
    { a: `${timers}\n${syncScriptOf('return forward()')}` },
    { limits: { logLinesPerSecond: 1000 } },
  );
  world.turnMs = TURN_MS;
  world.now += 10_000;
  const turns = expireAll(world);
  expect(Math.max(...turns)).toBe(1);
  const numbers = world.logs.filter(({ level }) => level === 'info').map((line) => line.message);
  expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
});

test('quick timers run many in a slice', async () => {
  const world = new ScriptWorld();
  const timers = 'for (let i = 0; i < 100; i++) setTimeout(() => {}, 10);';
  await world.load({ a: `${timers}\n${syncScriptOf('return forward()')}` });
  world.turnMs = 0.1;
  world.now += 10_000;
  expect(expireAll(world).length).toBeLessThan(5);
});

test('the slow timers of one script leave room for those of the next', async () => {
  const world = new ScriptWorld();
  const storm = `const burn = () => { setTimeout(burn, 10); };
    for (let i = 0; i < 100; i++) burn();`;
  const other = "setTimeout(() => console.log('heard'), 10);";
  const rest = syncScriptOf('return forward()');
  await world.load({ a: `${storm}\n${rest}`, b: `${other}\n${rest}` });
  world.turnMs = TURN_MS;
  world.now += 10_000;
  for (let i = 0; i < 3; i++) world.host.expire(world.now);
  expect(world.lines).toContain('heard');
});

test('flows that one timer lets go ask the next script one by one', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: `let go: () => void; const gate = new Promise<void>((r) => { go = r; });
      setTimeout(() => go(), 10);
      ${scriptOf('await gate; return decline()')}`,
    b: syncScriptOf('return reject({ reason: flow.id })'),
  });
  const ids = Array.from({ length: 50 }, (_, i) => world.ask('192.0.2.1', 80, { flow: i + 1 }));
  world.turnMs = TURN_MS;
  world.now += 10_000;
  world.host.expire(world.now);
  expect(world.answers.size).toBeLessThan(5);
  world.turnMs = 0;
  expireAll(world);
  // Whatever was not answered by then had waited for too long.
  expect(ids.map((id) => describe(world.answers.get(id)))).not.toContain('no answer');
});

test('flows that waited too long are answered at once, their signals fire in slices', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: scriptOf('flow.signal.onabort = () => {}; await new Promise(() => {}); return forward()'),
    },
    { limits: { wallMs: 1000 } },
  );
  const ids = Array.from({ length: 50 }, () => world.ask());
  const before = world.turns;
  world.turnMs = TURN_MS;
  world.now += 1_000_000;
  world.host.expire(world.now);
  for (const id of ids) expect(describe(world.answers.get(id))).toBe('failed wall');
  expect(world.turns - before).toBeLessThan(5);
  expireAll(world);
  expect(world.turns - before).toBe(50);
});

test('a request older than the time for a verdict is refused and not asked', async () => {
  const world = new ScriptWorld();
  await world.load({ a: syncScriptOf('return forward()') }, { limits: { wallMs: 1000 } });
  const before = world.turns;
  expect(world.outcome('192.0.2.1', 80, { arrivedAt: world.now - 1_000_000 })).toBe('failed wall');
  expect(world.turns).toBe(before);
  expect(world.outcome('192.0.2.1', 80, { arrivedAt: world.now - 999_999 })).toBe('forward');
});

test('the time for a verdict counts from the arrival of the request', async () => {
  const world = new ScriptWorld();
  await world.load(
    { a: scriptOf('await new Promise(() => {}); return forward()') },
    { limits: { wallMs: 1000 } },
  );
  world.ask('192.0.2.1', 80, { arrivedAt: world.now - 400_000 });
  expect(world.host.nextDeadline()).toBe(world.now + 600_000);
});
