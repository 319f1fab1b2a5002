import { expect, test } from 'bun:test';
import { ScriptWorld, scriptOf } from '../script-world.ts';
import { evaluate, evaluateIn, thrownBy } from './sandbox.ts';

test('AbortController fires its signal once, in the order of listening', async () => {
  expect(
    await evaluate(`const seen = [];
      const controller = new AbortController();
      const { signal } = controller;
      signal.addEventListener('abort', (event) => seen.push('first ' + event.type));
      signal.addEventListener('abort', { handleEvent: (e) => seen.push(e.target === signal) });
      signal.onabort = (event) => seen.push(event.currentTarget === signal);
      seen.push(signal.aborted, signal.reason ?? 'none');
      controller.abort('why');
      controller.abort('again');
      return [...seen, signal.aborted, signal.reason, signal.onabort !== null];`),
  ).toEqual([false, 'none', 'first abort', true, true, true, 'why', true]);
});

test('without a reason the reason is an AbortError, and throwIfAborted throws it', async () => {
  expect(await thrownBy('new AbortController().signal.throwIfAborted()')).toBe(
    'nothing was thrown',
  );
  expect(await thrownBy('AbortSignal.abort().throwIfAborted()')).toBe(
    'AbortError: the operation was aborted',
  );
  expect(await thrownBy('AbortSignal.abort(new RangeError("r")).throwIfAborted()')).toBe(
    'RangeError: r',
  );
});

test('AbortSignal.timeout fires after its time, as a TimeoutError', async () => {
  expect(
    await evaluate(`const signal = AbortSignal.timeout(100);
      await new Promise((done) => setTimeout(done, 90));
      const before = signal.aborted;
      await new Promise((done) => signal.addEventListener('abort', done));
      return [before, signal.aborted, signal.reason.name, signal.reason instanceof DOMException];`),
  ).toEqual([false, true, 'TimeoutError', true]);
});

test('AbortSignal.timeout wants a delay', async () => {
  expect(
    await evaluate(`return [-1, NaN, '5', undefined].map((delay) => {
      try { return AbortSignal.timeout(delay); } catch (error) { return String(error); }
    });`),
  ).toEqual(
    [-1, NaN, '5', undefined].map(
      (delay) => `TypeError: AbortSignal.timeout: the delay cannot be ${delay}`,
    ),
  );
});

test('AbortSignal.any fires with the first of its signals, also through another any', async () => {
  expect(
    await evaluate(`const one = new AbortController(), two = new AbortController();
      const both = AbortSignal.any([one.signal, two.signal]);
      const outer = AbortSignal.any([both, new AbortController().signal]);
      const seen = [];
      outer.addEventListener('abort', () => seen.push('outer'));
      two.abort('two');
      one.abort('one');
      return [both.reason, outer.reason, seen, AbortSignal.any([both]).reason,
        AbortSignal.any([]).aborted];`),
  ).toEqual(['two', 'two', ['outer'], 'two', false]);
});

test('a signal that nobody kept but a listener still fires; others leave no trace', async () => {
  expect(
    await evaluate(
      `const source = new AbortController();
      let fired = 0;
      AbortSignal.any([source.signal]).addEventListener('abort', () => fired++);
      AbortSignal.any([source.signal]).onabort = () => fired++;
      for (let i = 0; i < 5_000; i++) AbortSignal.any([source.signal]);
      source.abort();
      return fired;`,
      { limits: { memoryBytes: 4 * 1024 * 1024 } },
    ),
  ).toBe(2);
});

test('listeners are removed by hand, by once and by a signal', async () => {
  expect(
    await evaluate(`const target = new EventTarget(), stop = new AbortController();
      const seen = [];
      const removed = () => seen.push('removed');
      target.addEventListener('x', removed);
      target.addEventListener('x', removed);
      target.removeEventListener('x', removed);
      target.addEventListener('x', () => seen.push('once'), { once: true });
      target.addEventListener('x', () => seen.push('until'), { signal: stop.signal });
      target.addEventListener('x', null);
      target.dispatchEvent(new Event('x'));
      stop.abort();
      target.dispatchEvent(new Event('x'));
      target.dispatchEvent(new Event('y'));
      return seen;`),
  ).toEqual(['once', 'until']);
});

test('a listener can prevent the default, stop the others, and fail alone', async () => {
  const { result, world } = await evaluateIn(
    new ScriptWorld(),
    `const target = new EventTarget();
      const event = new Event('x', { cancelable: true });
      target.addEventListener('x', () => { throw new Error('mine') });
      target.addEventListener('x', (e) => e.preventDefault());
      target.addEventListener('x', (e) => e.stopImmediatePropagation());
      target.addEventListener('x', () => { throw new Error('never') });
      const went = target.dispatchEvent(event);
      const deaf = new Event('y');
      deaf.preventDefault();
      return [went, event.defaultPrevented, event.cancelable, event.currentTarget,
        deaf.defaultPrevented];`,
  );
  expect(result).toEqual([false, true, true, null, false]);
  const threw = world.lines.filter((line) => line.startsWith('a listener threw'));
  expect(threw.map((line) => line.split('\n')[0])).toEqual(['a listener threw Error: mine']);
});

test('nobody makes a signal, and no other object passes for one', async () => {
  expect(await thrownBy('new AbortSignal()')).toStartWith('TypeError');
  expect(await thrownBy('new AbortSignal({})')).toStartWith('TypeError');
  expect(await thrownBy('AbortSignal.any([{ aborted: false }])')).toStartWith('TypeError');
  expect(await thrownBy('Object.create(AbortSignal.prototype).aborted')).toStartWith('TypeError');
  expect(await thrownBy('new EventTarget().dispatchEvent({ type: "x" })')).toStartWith('TypeError');
});

test('the signals of the gateway are of the same class as those of the script', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: scriptOf(`const all = AbortSignal.any([flow.signal, ctx.signal]);
      console.log(flow.signal instanceof AbortSignal, ctx.signal === ctx.signal);
      all.onabort = () => console.log(all.reason.name, all.reason.message, all.reason.code);
      await new Promise(() => {});`),
  });
  world.ask();
  world.ask();
  world.advance(2_000);
  expect(world.lines.slice(0, 2)).toEqual(['true true', 'true true']);
  expect(world.lines.filter((line) => line.startsWith('AbortError'))).toHaveLength(2);
});

test('ctx.signal fires for a script that first looks at it after its time was over', async () => {
  const world = new ScriptWorld();
  const source = scriptOf(`await new Promise((done) => setTimeout(done, 100));
    console.log(ctx.signal.aborted, ctx.signal.reason?.message);
    return reject();`);
  await world.load({ a: source });
  world.ask();
  await world.load({ a: source }, { generation: 2 });
  world.advance(100);
  expect(world.lines).toContain('true a new generation took over');
});

test('DOMException is an error with a name, and a code where the standard has one', async () => {
  expect(
    await evaluate(`const error = new DOMException('text', 'DataCloneError');
      const odd = new DOMException('text', 'OddError');
      const plain = new DOMException();
      return [error instanceof Error, error.name, error.message, error.code,
        odd.name, odd.code, plain.name, plain.message, String(error)];`),
  ).toEqual([
    true,
    'DataCloneError',
    'text',
    25,
    'OddError',
    0,
    'Error',
    '',
    'DataCloneError: text',
  ]);
});
