/** `readableOf` and `writableOf`, which no script can call: run as a module of ours. */
import { expect, test } from 'bun:test';
import { makeBareEngine } from '../../../src/scripts-runtime/engine/bare-engine.ts';
import { Engine } from '../../../src/scripts-runtime/engine/engine.ts';
import { GuestModules } from '../../../src/scripts-runtime/engine/guest-modules.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';

/** What `body`, the inside of an async function, returns. */
async function runInside(body: string): Promise<unknown> {
  const clock = { now: () => performance.now() * 1000, cpuTime: () => 0 };
  const engine = new Engine(await makeBareEngine(), DEFAULT_SCRIPT_LIMITS, clock);
  const { context } = engine;
  engine.serveModules(new GuestModules(new Map()));
  const settings = JSON.stringify({ limits: {}, lengths: { transfer: 1000, message: 1000 } });
  const code = `import { readableOf, writableOf, ReadableStream } from './streams.js';
    export const outcome = { value: 'nothing' };
    (async () => {${body}\n})().then((value) => { outcome.value = JSON.stringify(value) },
      (error) => { outcome.value = JSON.stringify(String(error)) });`;
  let text = '';
  engine.turn(Number.POSITIVE_INFINITY, () => {
    const given = `globalThis.culvertHost = { settings: ${JSON.stringify(settings)} };`;
    context.unwrapResult(context.evalCode(given)).dispose();

    const module = context.unwrapResult(
      context.evalCode(code, 'culvert/test.js', { type: 'module' }),
    );
    context.setProp(context.global, 'module', module);
  });
  engine.turn(Number.POSITIVE_INFINITY, () => {
    text = context.getString(context.unwrapResult(context.evalCode('module.outcome.value')));
  });
  return JSON.parse(text);
}

test('readableOf gives what it pulls, one at a time, and ends with null', async () => {
  expect(
    await runInside(`const queue = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3), null];
      let pulling = 0, most = 0;
      const stream = readableOf(async () => {
        most = Math.max(most, ++pulling);
        await null;
        pulling--;
        return queue.shift();
      }, () => {});
      const seen = [];
      for await (const chunk of stream) seen.push(...chunk);
      return [seen, most, queue.length];`),
  ).toEqual([[1, 2, 3], 1, 0]);
});

test('readableOf pulls only when somebody reads, and tells who cancels', async () => {
  expect(
    await runInside(`let pulls = 0;
      const seen = [];
      const stream = readableOf(async () => { pulls++; return Uint8Array.of(pulls); },
        (reason) => seen.push(reason));
      for (let i = 0; i < 20; i++) await null;
      seen.push(pulls);
      const reader = stream.getReader();
      seen.push((await reader.read()).value[0]);
      for (let i = 0; i < 20; i++) await null;
      seen.push(pulls);
      await reader.cancel('enough');
      return seen;`),
  ).toEqual([0, 1, 1, 'enough']);
});

test('readableOf: a reader with a buffer of its own gets the bytes, and the end', async () => {
  expect(
    await runInside(`const queue = [Uint8Array.of(1, 2, 3), null];
      const reader = readableOf(async () => queue.shift(), () => {}).getReader({ mode: 'byob' });
      const one = await reader.read(new Uint8Array(2));
      const two = await reader.read(new Uint8Array(2));
      const three = await reader.read(new Uint8Array(2));
      return [[...one.value], [...two.value], three.done];`),
  ).toEqual([[1, 2], [3], true]);
});

test('readableOf: what a pull rejects with is what the reader hears', async () => {
  expect(
    await runInside(`const reset = async () => { throw new TypeError('reset') };
      const stream = readableOf(reset, () => {});
      return stream.getReader().read().catch((error) => error.message);`),
  ).toBe('reset');
});

test('writableOf writes bytes of every kind in order, waits for each, and closes', async () => {
  expect(
    await runInside(`const seen = [];
      const stream = writableOf(
        async (bytes) => { await null; seen.push(bytes.constructor.name, ...bytes) },
        () => { seen.push('close') }, (reason) => { seen.push(reason) });
      const writer = stream.getWriter();
      writer.write(Uint8Array.of(1, 2));
      writer.write(new DataView(Uint8Array.of(9, 3, 9).buffer, 1, 1));
      writer.write(Uint8Array.of(4).buffer);
      await writer.close();
      return seen;`),
  ).toEqual(['Uint8Array', 1, 2, 'Uint8Array', 3, 'Uint8Array', 4, 'close']);
});

test('writableOf refuses what are no bytes, and tells of an abort', async () => {
  expect(
    await runInside(`const seen = [];
      const make = () => writableOf(async () => {}, () => {}, (reason) => { seen.push(reason) });
      await make().getWriter().write('text').catch((error) => seen.push(error.name));
      await make().abort('why');
      return seen;`),
  ).toEqual(['TypeError', 'why']);
});
