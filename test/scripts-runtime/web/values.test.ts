/** crypto, structuredClone, timers, the clock. */
import { expect, test } from 'bun:test';
import { ScriptWorld } from '../script-world.ts';
import { evaluate, evaluateIn, thrownBy } from './sandbox.ts';

test('getRandomValues fills arrays of integers, each time otherwise', async () => {
  expect(
    await evaluate(`const one = new Uint8Array(32), two = new Uint32Array(8);
      const part = new Uint8Array(one.buffer, 8, 8);
      const same = crypto.getRandomValues(part) === part;
      const before = one.slice(0, 8).every((byte) => byte === 0);
      crypto.getRandomValues(two);
      crypto.getRandomValues(new BigInt64Array(1));
      return [same, before, part.some((byte) => byte !== 0), two.some((word) => word > 65_535),
        crypto.getRandomValues(new Uint8Array(0)).length];`),
  ).toEqual([true, true, true, true, 0]);
  expect(await thrownBy('crypto.getRandomValues(new Uint8Array(65537))')).toStartWith(
    'QuotaExceededError',
  );
  expect(await thrownBy('crypto.getRandomValues(new Float64Array(1))')).toStartWith(
    'TypeMismatchError',
  );
  expect(await thrownBy('crypto.getRandomValues([1])')).toStartWith('TypeMismatchError');
});

test('randomUUID gives UUIDs of version 4', async () => {
  const uuids = (await evaluate('return [crypto.randomUUID(), crypto.randomUUID()]')) as string[];
  for (const uuid of uuids) {
    expect(uuid).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  }
  expect(uuids[0]).not.toBe(uuids[1]);
});

test('subtle.digest: each hash, of bytes wherever they lie, and of none', async () => {
  const hex = (name: Bun.SupportedCryptoAlgorithms, text: string) =>
    new Bun.CryptoHasher(name).update(text).digest('hex');
  expect(
    await evaluate(`const hex = async (name, data) =>
        [...new Uint8Array(await crypto.subtle.digest(name, data))]
          .map((byte) => byte.toString(16).padStart(2, '0')).join('');
      const bytes = new TextEncoder().encode('xabcx');
      return [await hex('SHA-1', bytes.subarray(1, 4)),
        await hex('sha-256', bytes.slice(1, 4).buffer),
        await hex({ name: 'SHA-384' }, new DataView(bytes.buffer, 1, 3)),
        await hex('SHA-512', new ArrayBuffer(0))];`),
  ).toEqual([hex('sha1', 'abc'), hex('sha256', 'abc'), hex('sha384', 'abc'), hex('sha512', '')]);
  expect(await thrownBy(`await crypto.subtle.digest('MD5', new Uint8Array(1))`)).toStartWith(
    'NotSupportedError',
  );
  expect(await thrownBy(`await crypto.subtle.digest('SHA-1', 'text')`)).toStartWith('TypeError');
});

test('structuredClone copies every kind of value, circles and what meets twice', async () => {
  expect(
    await evaluate(`const shared = { s: 1 };
      const value = { u: undefined, n: null, b: 1n, d: new Date(5), r: /a+/gi, l: [1, , shared],
        m: new Map([[shared, 'x']]), t: new Set([shared]), o: Object(7), x: Object('s') };
      value.self = value;
      const copy = structuredClone(value);
      const [key] = copy.m.keys();
      return [copy !== value, copy.self === copy, 'u' in copy, copy.n, String(copy.b),
        copy.d instanceof Date && copy.d.getTime(), String(copy.r), 1 in copy.l, copy.l.length,
        copy.l[2] !== shared, copy.l[2] === key, copy.t.has(key), copy.o + 1, copy.x + ''];`),
  ).toEqual([
    ...[true, true, true, null, '1', 5, '/a+/gi', false, 3],
    ...[true, true, true, 8, 's'],
  ]);
});

test('structuredClone: views on one buffer share the copy of it', async () => {
  expect(
    await evaluate(`const { buffer } = Uint8Array.of(1, 2, 3, 4);
      const copy = structuredClone({ buffer, view: new Uint16Array(buffer, 2, 1),
        data: new DataView(buffer, 1, 2) });
      new Uint8Array(buffer).fill(9);
      new Uint8Array(copy.buffer)[2] = 7;
      return [copy.view.constructor.name, copy.view.length, copy.view[0], copy.data.getUint8(0),
        copy.view.buffer === copy.buffer, copy.data.byteLength];`),
  ).toEqual(['Uint16Array', 1, 4 * 256 + 7, 2, true, 2]);
});

test('structuredClone: errors keep name, message and cause; instances become plain', async () => {
  expect(
    await evaluate(`const error = new RangeError('r', { cause: { a: 1 } });
      const copy = structuredClone(error);
      const dom = structuredClone(new DOMException('m', 'AbortError'));
      class Point { x = 1; get y() { return 2 } }
      const point = structuredClone(new Point());
      return [copy instanceof RangeError, Error.isError(copy), copy.message, copy.cause.a,
        typeof copy.stack, dom instanceof DOMException, dom.name, point.x, point.y ?? 'none',
        Object.getPrototypeOf(point) === Object.prototype];`),
  ).toEqual([true, true, 'r', 1, 'string', true, 'AbortError', 1, 'none', true]);
});

test.each(['() => {}', 'Symbol("s")', '{ a: [() => {}] }', 'Promise.resolve()', 'new WeakMap()'])(
  'structuredClone refuses %s with a DataCloneError',
  async (value) => {
    expect(await thrownBy(`structuredClone(${value})`)).toStartWith('DataCloneError');
  },
);

test('structuredClone transfers nothing, and says so', async () => {
  expect(
    await thrownBy('const b = new ArrayBuffer(1); structuredClone(b, { transfer: [b] })'),
  ).toStartWith('DataCloneError');
});

test('an interval fires until it is cleared, with its arguments', async () => {
  expect(
    await evaluate(`const seen = [];
      await new Promise((done) => {
        const id = setInterval((a, b) => {
          seen.push(a + b);
          if (seen.length === 3) { clearInterval(id); setTimeout(done, 100); }
        }, 20, 1, 2);
      });
      return seen;`),
  ).toEqual([3, 3, 3]);
});

test('an interval that throws is logged and goes on, and clearTimeout ends it too', async () => {
  const { result, world } = await evaluateIn(
    new ScriptWorld(),
    `let times = 0;
      const id = setInterval(() => { times++; throw new Error('tick'); }, 20);
      await new Promise((done) => setTimeout(done, 70));
      clearTimeout(id);
      await new Promise((done) => setTimeout(done, 70));
      return times;`,
  );
  expect(result).toBe(3);
  expect(world.lines.filter((line) => line.includes('tick'))).toHaveLength(3);
});

test('intervals and AbortSignal.timeout count against the limit of timers', async () => {
  expect(
    await evaluate(
      `const names = [];
      for (const start of [() => setInterval(() => {}, 10), () => AbortSignal.timeout(10),
        () => setTimeout(() => {}, 10)]) {
        try { start(); names.push('ok') } catch (error) { names.push(error.name) }
      }
      await null;
      return names;`,
      { limits: { timers: 2 } },
    ),
  ).toEqual(['ok', 'ok', 'LimitError']);
});

test('queueMicrotask runs before timers, and what it throws is logged', async () => {
  const { result, world } = await evaluateIn(
    new ScriptWorld(),
    `const seen = [];
      setTimeout(() => seen.push('timer'), 10);
      queueMicrotask(() => seen.push('micro'));
      queueMicrotask(() => { throw new Error('mine') });
      await new Promise((done) => setTimeout(done, 20));
      return seen;`,
  );
  expect(result).toEqual(['micro', 'timer']);
  expect(world.lines[0]).toStartWith('Error: mine');
  expect(await thrownBy('queueMicrotask("x")')).toStartWith('TypeError');
});

test('performance.now counts whole milliseconds from the start of the script', async () => {
  expect(
    await evaluate(`const before = performance.now();
      await new Promise((done) => setTimeout(done, 50));
      return [Number.isInteger(before), performance.now() - before];`),
  ).toEqual([true, 50]);
});

test('an error of the engine is an InternalError', async () => {
  expect(
    await evaluate(`const deep = () => deep() + 1;
      try { deep() } catch (error) { return error instanceof InternalError }`),
  ).toBe(true);
});
