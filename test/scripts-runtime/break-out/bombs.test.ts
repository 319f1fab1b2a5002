/**
 * What the globals could be misused for: memory that the engine does not count, work that it does
 * not interrupt, timers without number, and an engine that is used after its end.
 */
import { expect, test } from 'bun:test';
import { makeBareEngine } from '../../../src/scripts-runtime/engine/bare-engine.ts';
import { Engine } from '../../../src/scripts-runtime/engine/engine.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';
import { ScriptWorld, scriptOf } from '../script-world.ts';
import { rawGuest } from './raw-guest.ts';

const MIB = 1024 * 1024;

/** The machine that runs this may be busy; what counts is that it ends, and how. */
const TIMEOUT_MS = 60_000;

test.each([
  ['encoded text', "for (;;) kept.push(new TextEncoder().encode('x'.repeat(500_000)))"],
  ['decoded text', 'for (;;) kept.push(new TextDecoder().decode(new Uint8Array(500_000)) + 1)'],
  ['random bytes', 'for (;;) kept.push(crypto.getRandomValues(new Uint8Array(65_536)))'],
  ['base64', "for (;;) kept.push(btoa('x'.repeat(500_000)))"],
  ['clones', 'const a = new Uint8Array(500_000); for (;;) kept.push(structuredClone(a))'],
  ['queries', "for (;;) kept.push(new URLSearchParams('a=1&'.repeat(10_000)))"],
  [
    'a stream that nobody reads',
    `new ReadableStream({ start(controller) {
    for (;;) controller.enqueue(new Uint8Array(500_000)); } })`,
  ],
  [
    'signals that are waited for',
    `const { signal } = new AbortController();
    for (;;) AbortSignal.any([signal]).onabort = () => {};`,
  ],
  [
    'listeners',
    `const target = new EventTarget();
    for (let i = 0; ; i++) target.addEventListener(i + 'x'.repeat(10_000), () => {});`,
  ],
])(
  'memory that a script fills with %s is counted',
  async (_, body) => {
    const raw = await rawGuest(`const kept = []; ${body}`, '', { memoryBytes: 8 * MIB });
    raw.decide();
    // By the limit of memory where the engine could go on, by that of time where it could not.
    const last = raw.calls.at(-1) ?? '';
    const isFull = raw.guest.breakage === 'memory' || last.includes('out of memory');
    expect(isFull || raw.guest.breakage === 'cpu' ? 'stopped' : raw.guest.breakage).toBe('stopped');
    // An instance has 16 MiB from the start.
    expect(raw.memoryBytes()).toBeLessThanOrEqual((16 + 8) * MIB);
  },
  TIMEOUT_MS,
);

test.each([
  ['digests', 'const a = new Uint8Array(1e6); for (;;) await crypto.subtle.digest("SHA-512", a)'],
  ['decoding', 'const a = new Uint8Array(1e6); for (;;) new TextDecoder().decode(a)'],
  ['URLs', "for (;;) new URL('http://a/' + 'x'.repeat(10_000))"],
  [
    'a stream that never ends',
    `const endless = new ReadableStream({ pull(controller) {
    controller.enqueue(1); } }); for await (const _ of endless);`,
  ],
  [
    'a pipe that never ends',
    `await new ReadableStream({ pull(controller) {
    controller.enqueue(1); } }).pipeTo(new WritableStream())`,
  ],
  [
    'events that make events',
    `const target = new EventTarget();
    target.addEventListener('x', () => queueMicrotask(() => target.dispatchEvent(new Event('x'))));
    target.dispatchEvent(new Event('x')); await new Promise(() => {});`,
  ],
])(
  'time that a script spends with %s is limited',
  async (_, body) => {
    const raw = await rawGuest(body, '', {}, 200_000);
    const startedAt = performance.now();
    raw.decide();
    expect(raw.guest.breakage).toBe('cpu');
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  },
  TIMEOUT_MS,
);

test('time in calls of the gateway is limited, though QuickJS counts them as nothing', async () => {
  const world = new ScriptWorld();
  let calls = 0;
  const slowly = () => {
    calls++;
    world.now += 5_000;
    return 1_700_000_000_000;
  };
  await world.load({
    a: scriptOf("env.KV.set('k', 1); for (;;) { try { env.KV.get('k'); } catch {} }"),
  });
  Object.defineProperty(world, 'epochMs', { get: slowly });
  expect(world.outcome()).toBe('failed cpu');
  // 50 ms are ten calls of 5 ms.
  expect(calls).toBeLessThan(15);
});

test('a turn that waited for the processor has its budget left', async () => {
  const clock = { us: 0, cpu: 0 };
  const times = { now: () => clock.us, cpuTime: () => clock.cpu };
  const engine = new Engine(await makeBareEngine(), DEFAULT_SCRIPT_LIMITS, times);
  const seen: boolean[] = [];
  engine.turn(50_000, () => {
    for (const cpu of [0, 49_000, 51_000]) {
      clock.us += 5_000_000;
      clock.cpu = cpu;
      seen.push(engine.isSpent);
    }
  });
  expect(seen).toEqual([false, false, true]);
  expect(engine.breakage).toBe('cpu');
});

test.each([
  [
    'a value nested 100,000 deep',
    'let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; structuredClone(o)',
  ],
  [
    'a signal that follows itself through 10,000 others',
    `const first = new AbortController();
    let signal = first.signal; const kept = [];
    for (let i = 0; i < 1e4; i++) kept.push(signal = AbortSignal.any([signal]));
    first.abort();`,
  ],
  [
    'an event that sends itself',
    `const target = new EventTarget();
    target.addEventListener('x', () => target.dispatchEvent(new Event('x')));
    target.dispatchEvent(new Event('x'));`,
  ],
  [
    'a getter that clones what it is in',
    `const o = { get a() { return structuredClone(o) } };
    structuredClone(o);`,
  ],
])(
  '%s is an error or nothing, and no crash',
  async (_, body) => {
    const raw = await rawGuest(`try { ${body} } catch {}`);
    raw.decide();
    expect(raw.guest.breakage).not.toBe('crash');
  },
  TIMEOUT_MS,
);

test('timers of every kind count together, and their limit is the same for all', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: scriptOf(`let n = 0;
        try { for (;;) { n++; [() => setTimeout(() => {}, 50), () => setInterval(() => {}, 50),
          () => AbortSignal.timeout(50)][n % 3](); } } catch (error) {
          return reject({ reason: n + error.name }); }`),
    },
    { limits: { timers: 30 } },
  );
  expect(world.outcome()).toBe('reject rst 31LimitError');
  // Each interval starts again when it fires, in the room that it had.
  for (let i = 0; i < 10; i++) world.advance(50);
  expect(world.lines).toEqual([]);
});

test('an engine that broke is not entered again, whoever asks', async () => {
  const raw = await rawGuest(
    'setTimeout(() => console.log("late"), 10); flow.signal.onabort = () => console.log("late");' +
      'ctx.signal.onabort = () => console.log("late"); for (;;) {}',
    '',
    {},
    100_000,
  );
  raw.decide();
  expect(raw.guest.breakage).toBe('cpu');
  const before = [...raw.calls];
  raw.decide();
  raw.guest.abort(1, 'gone', 100_000);
  raw.guest.retire(100_000);
  expect(raw.guest.fire(1, 100_000)).toBeUndefined();
  raw.guest.load('console.log("late")', 'b.js', 100_000);
  expect(raw.calls).toEqual(before);
});

test('what was never asked for does nothing: calls, timers and ends that are unknown', async () => {
  const raw = await rawGuest('await new Promise(() => {});');
  raw.guest.abort(99, 'gone', 100_000);
  expect(raw.guest.fire(99, 100_000)).toBeUndefined();
  raw.decide();
  raw.guest.abort(1, 'gone', 100_000);
  raw.guest.abort(1, 'gone', 100_000);
  expect(raw.calls).toEqual([]);
  expect(raw.guest.breakage).toBeUndefined();
});

test(
  'a listener of a signal that the gateway fires can do no more than any other code',
  async () => {
    const raw =
      await rawGuest(`flow.signal.onabort = () => { console.log('in'); throw new Error() };
    flow.signal.addEventListener('abort', () => { for (;;) {} });
    await new Promise(() => {});`);
    raw.decide();
    raw.guest.abort(1, 'gone', 100_000);
    expect(raw.lines[0]).toBe('in');
    expect(raw.guest.breakage).toBe('cpu');
  },
  TIMEOUT_MS,
);
