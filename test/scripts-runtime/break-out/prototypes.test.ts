/**
 * A script that replaces what the language is made of, and watches what our half of the sandbox
 * then hands to it. It can break its own globals; it must not see `host`, whose functions make
 * verdicts, and nothing it does may reach the gateway but the verdict of its own flow.
 */
import { expect, test } from 'bun:test';
import {
  describe as describeDecision,
  ScriptWorld,
  scriptOf,
  syncScriptOf,
} from '../script-world.ts';
import { evaluate } from '../web/sandbox.ts';
import { rawEvaluate, rawGuest } from './raw-guest.ts';

/** Uses each global and each function of the module that crosses into the gateway. */
const USE_ALL = `
  const attempts = [
    () => new URL('http://a.example/?b=c').searchParams.append('d', 'e'),
    () => new TextEncoder().encode('text'),
    () => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([65, 66])),
    () => crypto.getRandomValues(new Uint8Array(8)),
    () => crypto.randomUUID(),
    () => crypto.subtle.digest('SHA-256', new Uint8Array(3)),
    () => atob(btoa('text')),
    () => structuredClone({ a: new Map([[1, new Set([2])]]), b: new Uint8Array(2) }),
    () => AbortSignal.any([flow.signal, ctx.signal, AbortSignal.timeout(1000)]).onabort = () => {},
    () => new AbortController().abort(),
    () => new EventTarget().dispatchEvent(new Event('x')),
    () => clearTimeout(setTimeout(() => {}, 10)),
    () => clearInterval(setInterval(() => {}, 10)),
    () => queueMicrotask(() => {}),
    () => performance.now(),
    () => env.KV.set('key', 'value'),
    () => env.KV.incr('n'),
    () => env.KV.keys({ prefix: 'k' }),
    () => ctx.log.info({ a: 1 }, 'text'),
    () => console.log('text', { a: 1 }),
    () => reject({ reason: 'text' }),
    () => forward('10.0.0.1:80', { mark: 1 }),
    () => new ReadableStream({ start(c) { c.enqueue('a'); c.close(); } })
      .pipeThrough(new TextEncoderStream()).pipeThrough(new TextDecoderStream()).getReader().read(),
  ];
  for (const attempt of attempts) { try { attempt()?.catch?.(() => {}) } catch {} }
  for (let i = 0; i < 200; i++) await null;`;

/**
 * Looks into everything that a replaced function is given: `host` is known by its members.
 */
const WATCH = `
  const found = [];
  const NAMES = ['settle', 'startTimer', 'module', 'kv', 'web', 'digest'];
  const { apply, ownKeys } = Reflect;
  let isLooking = false;
  const has = apply.bind(null, Object.prototype.hasOwnProperty);
  const look = (value, where) => {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return;
    if (NAMES.every((name) => has(value, [name]))) found.push('host in ' + where);
    if (typeof value === 'object' && has(value, ['settings']) && has(value, ['page'])) {
      found.push('host in ' + where);
    }
  };
  const watch = (owner, key, where) => {
    const how = Reflect.getOwnPropertyDescriptor(owner, key);
    if (how === undefined || !how.configurable) return;
    const wrap = (real) => typeof real !== 'function' ? real : new Proxy(real, {
      apply(target, self, args) {
        if (!isLooking) {
          isLooking = true;
          look(self, where);
          for (let i = 0; i < args.length; i++) look(args[i], where);
          isLooking = false;
        }
        return apply(target, self, args);
      },
    });
    const { value, get } = how;
    if (typeof value === 'function') Reflect.defineProperty(owner, key, { value: wrap(value) });
    else if (get !== undefined) Reflect.defineProperty(owner, key, { get: wrap(get) });
  };
  const functions = Object.getPrototypeOf(() => {});
  const OWNERS = { Object, Array, Reflect, JSON, Promise, Map, Set, Symbol, Number, String, Math,
    ArrayBuffer, Error };
  for (const [name, owner] of Object.entries(OWNERS)) {
    for (const key of ownKeys(owner)) {
      if (key !== 'prototype') watch(owner, key, name + '.' + String(key));
    }
    if (owner.prototype === undefined) continue;
    for (const key of ownKeys(owner.prototype)) {
      if (key !== 'constructor') watch(owner.prototype, key, name + '.prototype.' + String(key));
    }
  }
  for (const key of ['call', 'apply', 'bind', Symbol.hasInstance]) {
    watch(functions, key, 'Function.prototype.' + String(key));
  }`;

test('no function of the language that a script replaced is ever given host', async () => {
  expect(await rawEvaluate(`${WATCH}${USE_ALL} return found;`)).toEqual([]);
});

test('the watch above would find host, were it handed around', async () => {
  expect(
    await rawEvaluate(`${WATCH}
      const host = { settings: '', page: 1 };
      const self = Object.fromEntries(NAMES.map((name) => [name, () => {}]));
      Object.keys(host); [].map.call([1], () => {}, self);
      return found;`),
  ).toEqual([
    'host in Object.keys',
    'host in Function.prototype.call',
    'host in Array.prototype.map',
  ]);
});

test('setters and getters on Object.prototype and Array.prototype see no host', async () => {
  expect(
    await rawEvaluate(`const found = [];
      const { hasOwn } = Object;
      let looks = 0;
      const look = (value) => {
        looks++;
        if (typeof value !== 'object' || value === null) return;
        if (hasOwn(value, 'startTimer') || hasOwn(value, 'settings')) found.push('host');
      };
      const NAMES = ['settle', 'host', 'get', 'set', 'value', 'then', 'toJSON', 'error', 'signal',
        'stream', 'fatal', 'type', 'size', 'start', 'pull', 'once', 'culvertHost', '0', '1'];
      for (const prototype of [Object.prototype, Array.prototype]) {
        for (const name of NAMES) {
          Object.defineProperty(prototype, name, {
            __proto__: null, configurable: true,
            get() { look(this); return undefined; },
            set(value) {
              look(this); look(value);
              Object.defineProperty(this, name, { __proto__: null, value, writable: true,
                configurable: true, enumerable: true });
            },
          });
        }
      }
      ${USE_ALL}
      for (const name of NAMES) { delete Object.prototype[name]; delete Array.prototype[name]; }
      return [looks > 0, found];`),
  ).toEqual([true, []]);
});

test('stack traces and their preparation show names, and no object of ours', async () => {
  expect(
    await rawEvaluate(`const found = [];
      Error.prepareStackTrace = (error, frames) => {
        for (const frame of frames ?? []) {
          for (const name of ['getThis', 'getFunction']) {
            const value = frame[name]?.();
            if (typeof value === 'object' && value !== null && 'settle' in value) found.push(name);
          }
        }
        return 'prepared';
      };
      try { new URL('none') } catch (error) { String(error.stack) }
      try { env.KV.get(1) } catch (error) { String(error.stack) }
      return found;`),
  ).toEqual([]);
});

test('no chain of constructors leads to code from text', async () => {
  const ways = [
    'eval',
    'Function',
    'globalThis.eval',
    'globalThis.Function',
    '(() => {}).constructor',
    '(async () => {}).constructor',
    '(function* () {}).constructor',
    '(async function* () {}).constructor',
    'decline.constructor',
    'setTimeout.constructor',
    'console.log.constructor',
    'URL.constructor',
    'new URL("http://a").toString.constructor',
    'env.KV.get.constructor',
    'ctx.constructor.constructor',
    'flow.constructor.constructor',
    'Object.getPrototypeOf(URL).constructor',
    'Reflect.get(parseInt, "constructor")',
    'ReadableStream.prototype.tee.constructor',
    'crypto.constructor.constructor',
    'flow.signal.constructor.constructor',
    'Object.getPrototypeOf(reject()).constructor',
    'class { static x = 1 }.constructor',
    'new Proxy(() => {}, {}).constructor',
    'Promise.constructor',
    'Symbol.constructor',
    'Reflect.apply.constructor',
  ];
  expect(
    await evaluate(`const made = [];
      const ways = [${ways.map((way) => `['${way}', () => ${way}]`).join(',\n')}];
      for (const [name, way] of ways) {
        try {
          const maker = way();
          const thing = Reflect.construct(maker, ['return 42']);
          if (typeof thing === 'function' && thing() === 42) made.push(name);
        } catch {}
        try { if (way()('return 42')() === 42) made.push(name) } catch {}
        try { if (way()('40 + 2') === 42) made.push(name) } catch {}
      }
      return made;`),
  ).toEqual([]);
});

test('timers do not take text for code', async () => {
  expect(
    await evaluate(`globalThis.ran = 0;
      for (const timer of [setTimeout, setInterval, queueMicrotask]) {
        try { timer('globalThis.ran = 1', 10) } catch {}
      }
      await new Promise((done) => setTimeout(done, 50));
      return globalThis.ran;`),
  ).toBe(0);
});

test('a prototype that one sandbox pollutes is clean outside, and in the next', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`Object.prototype.polluted = 1; Array.prototype.polluted = 1;
      Object.prototype.kind = 'forward'; Object.prototype.to = '10.6.6.6:1';
      ctx.log.info(JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"p":1}}}'));
      env.KV.set('__proto__', 'x'); env.KV.set('constructor', 'x');
      return decline();`),
    b: syncScriptOf('return reject({ reason: String(({}).polluted) + String([].polluted) })'),
  });
  expect(world.outcome()).toBe('reject rst undefinedundefined');
  expect('polluted' in {}).toBe(false);
  expect('p' in {}).toBe(false);
  expect(JSON.stringify(world.logs[0]?.fields)).toContain('polluted');
});

test('what is inherited is no option and no verdict', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`Object.prototype.to = '10.6.6.6:1'; Object.prototype.kind = 'forward';
      Object.prototype.mark = 6; Object.prototype.with = 'drop';
      return flow.dst.port === 1 ? {} : forward('10.0.0.1:2', {});`),
  });
  expect(world.outcome('192.0.2.1', 1)).toBe('failed bad-verdict');
  const decision = world.decide('192.0.2.1', 2);
  expect(describeDecision(decision)).toBe('forward 10.0.0.1:2');
  expect(JSON.stringify(decision)).not.toContain('mark');
});

test('getters, proxies and conversions never get into a host function', async () => {
  const raw = await rawGuest(`
    const log = [];
    const trap = new Proxy({}, { get(_, name) { log.push(String(name)); return trap; },
      apply() { return trap }, has() { return true } });
    const odd = { valueOf() { log.push('valueOf'); return 1 }, toString() { log.push('toString');
      return 'odd' }, [Symbol.toPrimitive]() { log.push('toPrimitive'); return 'x' },
      toJSON() { log.push('toJSON'); return 'j' }, get then() { log.push('then'); } };
    for (const value of [trap, odd, Symbol('s'), 1n, Object.create(null), new Proxy([], {}),
      { get ip() { throw 1 } }, () => {}, NaN, Infinity, -1, '\\0', '\\ud800']) {
      for (const use of [
        () => env.KV.set(value, value), () => env.KV.get(value), () => env.KV.set('k', value),
        () => env.KV.set('k', 1, { ttlMs: value }), () => env.KV.set('k', 1, value),
        () => env.KV.incr('k', value), () => env.KV.keys(value),
        () => env.KV.cas('k', value, value),
        () => ctx.log.info(value, value), () => console.log(value),
        () => setTimeout(() => {}, value), () => clearTimeout(value), () => clearInterval(value),
        () => new URL(value, value), () => new URLSearchParams(value), () => atob(value),
        () => new TextEncoder().encode(value), () => new TextDecoder(value, value).decode(value),
        () => crypto.getRandomValues(value), () => crypto.subtle.digest(value, value),
        () => structuredClone(value), () => AbortSignal.timeout(value),
        () => AbortSignal.any(value),
        () => reject(value), () => reject({ reason: value }), () => forward(value, value),
        () => new ReadableStream(value, value), () => new DOMException(value, value),
        () => new Event(value, value).type,
      ]) { try { await use() } catch {} }
    }`);
  for (let i = 0; i < 3; i++) raw.decide();
  expect(raw.guest.breakage).toBeUndefined();
  // Only what the guest meant to send has come out, as what it is.
  for (const call of raw.calls) {
    expect(call).toMatch(
      /^(log \w+ \d+|settle \d \d .*|startTimer \d+ [\w.-]+|stopTimer \d+|hit \w+)$/,
    );
  }
  expect(raw.calls.filter((call) => call.startsWith('settle'))).toEqual([
    'settle 1 1 ',
    'settle 2 1 ',
    'settle 3 1 ',
  ]);
});

test('a host function converts nothing, so no code of a script runs inside of it', async () => {
  const raw = await rawGuest(`
    // What the guest calls to make a number is the script's now.
    globalThis.Number = () => ({ valueOf() { console.log('inside'); return 20; } });
    Map.prototype.delete = () => true;
    setTimeout(() => {}, 20);
    clearTimeout({ valueOf() { console.log('inside'); return 1; } });`);
  raw.decide();
  expect(raw.lines).toEqual([]);
});

test.each([
  [
    'then is a getter that throws',
    'return { get then() { throw new Error("x") } }',
    'failed error',
  ],
  [
    'then is a getter that changes',
    `let n = 0;
    return { get then() { return n++ ? undefined : (done) => done(forward('10.0.0.1:1')) } }`,
    'failed bad-verdict',
  ],
  [
    'then calls back twice',
    `return { then(done, fail) { done(decline()); done(forward());
    fail(new Error('x')) } }`,
    'decline',
  ],
  ['then calls back with itself', 'const t = { then(done) { done(t) } }; return t', 'failed cpu'],
  [
    'then calls back with what looks like a verdict',
    'return { then(done) { done({ kind: "forward" }) } }',
    'failed bad-verdict',
  ],
  [
    'then of a promise is replaced',
    `const p = Promise.resolve(reject());
    p.then = (done) => done(forward()); return p`,
    'reject rst',
  ],
  [
    'Promise.prototype.then is replaced',
    `Promise.prototype.then = function (done) {
    done(forward()) }; return Promise.resolve(reject())`,
    'reject rst',
  ],
  [
    'Promise.resolve is replaced',
    `Promise.resolve = () => ({ then(done) { done(forward()) } });
    return Promise.reject(new Error('x'))`,
    'failed error',
  ],
  [
    'species of promises is replaced',
    `class P extends Promise { static get [Symbol.species]() {
    throw new Error('x') } } return P.resolve(reject())`,
    'failed error',
  ],
])('a verdict by a thenable whose %s', async (_, body, outcome) => {
  const world = new ScriptWorld(outcome === 'failed cpu');
  await world.load({ a: syncScriptOf(body) });
  const request = world.ask();
  if (!world.answers.has(request)) world.advance(3_000);
  expect(describeDecision(world.answers.get(request))).toBe(outcome);
});

test('a verdict is used once for the flow that was decided, and not by another flow', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: scriptOf(`globalThis.kept ??= [];
      let done;
      const promise = new Promise((resolve) => { done = resolve; });
      globalThis.kept.push(done);
      if (globalThis.kept.length === 3) for (const one of globalThis.kept) one(reject());
      return promise;`),
  });
  const asked = [world.ask(), world.ask(), world.ask()];
  expect(asked.map((id) => describeDecision(world.answers.get(id)))).toEqual(
    asked.map(() => 'reject rst'),
  );
  expect(world.answers.size).toBe(3);
});
