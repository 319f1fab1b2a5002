import { heapStats } from 'bun:jsc';
import { expect, spyOn, test } from 'bun:test';
import { Kv, KvError } from '../../../src/scripts-runtime/kv/kv.ts';
import { ScriptWorld, syncScriptOf } from '../script-world.ts';

const LIMITS = { kvBytes: 1000, kvKeyBytes: 10, kvValueBytes: 100 };

function makeKv(limits: Partial<typeof LIMITS> = {}) {
  const clock = { ms: 1000 };
  return { clock, kv: new Kv('a', { ...LIMITS, ...limits }, () => clock.ms) };
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof KvError ? error.code : String(error);
  }
  return 'none';
};

test('set, get, delete, and a count of bytes that comes back to nothing', () => {
  const { kv } = makeKv();
  kv.set('k', 'é');
  kv.set('k', 5);
  expect(kv.get('k')).toBe(5);
  expect(kv.delete('k')).toBe(true);
  expect(kv.delete('k')).toBe(false);
  expect(kv.get('k')).toBeUndefined();
  expect(kv.bytes).toBe(0);
});

test('an entry with a time to live is gone when it has passed', () => {
  const { kv, clock } = makeKv();
  kv.set('k', 'v', 100);
  clock.ms += 99;
  expect(kv.get('k')).toBe('v');
  expect(kv.keys()).toEqual(['k']);
  clock.ms += 1;
  expect(kv.keys()).toEqual([]);
  expect(kv.get('k')).toBeUndefined();
  expect(kv.bytes).toBe(0);
});

test('add sets only where there is nothing', () => {
  const { kv, clock } = makeKv();
  expect(kv.add('k', 1, 10)).toBe(true);
  expect(kv.add('k', 2)).toBe(false);
  clock.ms += 10;
  expect(kv.add('k', 3)).toBe(true);
  expect(kv.get('k')).toBe(3);
});

test('cas replaces only the expected value and keeps the time to live', () => {
  const { kv, clock } = makeKv();
  expect(kv.cas('k', 1, 2)).toBe(false);
  expect(kv.cas('k', undefined, 1)).toBe(true);
  expect(kv.cas('k', undefined, 2)).toBe(false);
  expect(kv.cas('k', '1', 2)).toBe(false);
  kv.set('k', 1, 50);
  expect(kv.cas('k', 1, 2)).toBe(true);
  clock.ms += 50;
  expect(kv.get('k')).toBeUndefined();
});

test('incr starts at init and keeps its window', () => {
  const { kv, clock } = makeKv();
  expect(kv.incr('k', 2, 10, 100)).toBe(12);
  clock.ms += 60;
  expect(kv.incr('k', -1, 10, 100)).toBe(11);
  clock.ms += 40;
  expect(kv.incr('k', 1, 0, 100)).toBe(1);
  kv.set('t', 'text');
  expect(codeOf(() => kv.incr('t', 1, 0))).toBe('type');
  kv.set('big', Number.MAX_VALUE);
  expect(codeOf(() => kv.incr('big', Number.MAX_VALUE, 0))).toBe('type');
});

test('keys are found by prefix, up to a limit', () => {
  const { kv } = makeKv();
  for (const key of ['a:1', 'b:1', 'a:2', 'a:3']) kv.set(key, 0);
  expect(kv.keys('a:', 2)).toEqual(['a:1', 'a:2']);
  expect(kv.keys('c')).toEqual([]);
});

test('keys, values and the whole are limited in bytes, and a refused call changes nothing', () => {
  const { kv } = makeKv();
  expect(codeOf(() => kv.set('é'.repeat(6), 1))).toBe('limit');
  expect(codeOf(() => kv.set('k', 'é'.repeat(51)))).toBe('limit');
  expect(codeOf(() => kv.set('k', Number.NaN))).toBe('type');
  for (let i = 0; i < 6; i++) kv.set(`k${i}`, 'x'.repeat(90));
  const { bytes } = kv;
  expect(codeOf(() => kv.set('over', 'x'.repeat(90)))).toBe('limit');
  expect(kv.bytes).toBe(bytes);
  expect(kv.get('over')).toBeUndefined();
  kv.set('k0', 'x'.repeat(80));
  expect(kv.bytes).toBe(bytes - 10);
});

test('a full store makes room by what has expired, and by nothing else', () => {
  const { kv, clock } = makeKv({ kvBytes: 250 });
  kv.set('a', 1, 10);
  kv.set('b', 1);
  kv.set('c', 1);
  expect(codeOf(() => kv.set('d', 1))).toBe('limit');
  clock.ms += 10;
  kv.set('d', 1);
  expect(kv.keys()).toEqual(['b', 'c', 'd']);
});

test('a full store that may evict loses what expired, and then what was made first', () => {
  const { kv, clock } = makeKv();
  const gone: string[] = [];
  const set = (key: string, ttlMs?: number) => {
    const before = kv.keys();
    kv.set(key, 'x'.repeat(100), ttlMs, () => gone.push(''));
    gone.push(...before.filter((one) => !kv.keys().includes(one)));
  };
  // Six of 165 bytes fit.
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) set(key, key === 'c' ? 50 : undefined);
  expect(gone).toEqual([]);
  set('g');
  expect(kv.keys()).toEqual(['b', 'c', 'd', 'e', 'f', 'g']);
  clock.ms += 1000;
  set('h');
  expect(kv.keys()).toEqual(['b', 'd', 'e', 'f', 'g', 'h']);
  expect(gone).toEqual(['', 'a']);
  // What is written again stays, and so does its place.
  set('b');
  set('i');
  expect(kv.keys()).toEqual(['d', 'e', 'f', 'g', 'h', 'i']);
  expect(kv.incr('j', 1, 0, undefined, () => {})).toBe(1);
  expect(kv.keys()).toContain('j');
  expect(kv.bytes).toBeLessThanOrEqual(LIMITS.kvBytes);
});

test('what stayed because it was being written is still what goes first', () => {
  const { kv } = makeKv();
  const set = (key: string, length = 100) => kv.set(key, 'x'.repeat(length), undefined, () => {});
  set('a', 10);
  for (const key of ['b', 'c', 'd', 'e', 'f']) set(key);
  set('g', 30);
  set('a');
  expect(kv.keys()).toEqual(['a', 'c', 'd', 'e', 'f', 'g']);
  set('h');
  expect(kv.keys()).toEqual(['c', 'd', 'e', 'f', 'g', 'h']);
  set('a');
  set('i', 30);
  expect(kv.keys()).toEqual(['e', 'f', 'g', 'h', 'a', 'i']);
});

test('an eviction does not look for its place anew, past all that was removed', () => {
  const { kv } = makeKv({ kvBytes: 100_000 });
  const set = (key: number) => kv.set(`${10_000 + key}`, 1, undefined, () => {});
  for (let i = 0; i < 2000; i++) set(i);
  const count = kv.keys('', 5000).length;
  const keys = spyOn(Map.prototype, 'keys');
  try {
    for (let i = 2000; i < 10_000; i++) set(i);
    expect(keys.mock.calls.length).toBeLessThan(10);
  } finally {
    keys.mockRestore();
  }
  const left = kv.keys('', 5000);
  expect([left[0], left.at(-1)]).toEqual([`${20_000 - count}`, '19999']);
});

test('a store that has evicted once holds on to nothing that it had', () => {
  const { kv } = makeKv({ kvBytes: 200_000 });
  for (let i = 0; i < 4000; i++) kv.set(`${i}`, 1, undefined, () => {});
  kv.takeChanges();
  const heapBytes = () => {
    Bun.gc(true);
    return heapStats().heapSize;
  };
  for (const key of kv.keys('', 1000)) kv.delete(key);
  const before = heapBytes();
  for (let i = 4000; i < 300_000; i++) {
    kv.delete(`${i - 1000}`);
    kv.set(`${i}`, 1);
  }
  expect(heapBytes() - before).toBeLessThan(5e6);
});

test('what is larger than the store evicts nothing', () => {
  const { kv } = makeKv({ kvBytes: 150 });
  kv.set('a', 1);
  expect(codeOf(() => kv.set('b', 'x'.repeat(100), undefined, () => {}))).toBe('limit');
  expect(kv.keys()).toEqual(['a']);
});

test('a script says what may be evicted, and the statistics say how much was', async () => {
  const world = new ScriptWorld();
  const limits = { kvBytes: 1000, kvValueBytes: 100 };
  await world.load(
    {
      a: syncScriptOf(`const evict = flow.dst.port === 80; const { KV } = env;
        for (let i = 0; i < 30; i++) KV.incr(\`k\${i}\`, 1, { evict });
        KV.set('\\0', 'x', { evict }); KV.add('last', 1, { evict, ttlMs: 10 });
        return reject({ reason: KV.keys().slice(-2).join() + KV.get('k28') });`),
    },
    { limits },
  );
  expect(world.outcome()).toBe('reject rst \0,last1');
  world.advance(1000);
  expect(world.stats[0]?.limitHits).toEqual({ 'kv-evicted': expect.any(Number) });
  expect(world.outcome('192.0.2.1', 81)).toBe('failed error');
  expect(world.lines.at(-1)).toContain('LimitError: KV is full: 1000 bytes (kvBytes)');
});

test('the journal tells each changed key once, as it is, and restores a store', () => {
  const { kv, clock } = makeKv();
  kv.set('a', 1);
  kv.set('a', 2);
  kv.set('b', 'x', 50);
  const changes = kv.takeChanges();
  expect(changes).toEqual([
    { script: 'a', key: 'a', value: 2 },
    { script: 'a', key: 'b', value: 'x', expiresAt: clock.ms + 50 },
  ]);
  expect(kv.hasChanges).toBe(false);
  const { kv: next } = makeKv();
  for (const entry of changes) next.restore(entry);
  expect(next.keys()).toEqual(['a', 'b']);
  expect(next.hasChanges).toBe(false);
});

test('the journal tells a deletion of what it has, and not what came and went in between', () => {
  const { kv } = makeKv({ kvBytes: 10_000 });
  kv.restore({ script: 'a', key: 'old', value: 1 });
  kv.set('kept', 1);
  kv.takeChanges();
  for (let i = 0; i < 100_000; i++) {
    kv.set(`k${i}`, 1);
    kv.delete(`k${i}`);
  }
  expect(kv.takeChanges()).toEqual([]);
  kv.delete('old');
  kv.delete('kept');
  expect(kv.takeChanges()).toEqual([
    { script: 'a', key: 'old' },
    { script: 'a', key: 'kept' },
  ]);
  kv.set('kept', 2);
  kv.delete('kept');
  expect(kv.hasChanges).toBe(false);
});

test('an entry of the journal that does not fit any more can still be deleted there', () => {
  const { kv } = makeKv({ kvValueBytes: 10 });
  kv.restore({ script: 'a', key: 'k', value: 'x'.repeat(11) });
  expect(kv.get('k')).toBeUndefined();
  kv.set('k', 1);
  kv.delete('k');
  expect(kv.takeChanges()).toEqual([{ script: 'a', key: 'k' }]);
});

test('an entry of the journal that is left out, as expired or too large, is told as gone', () => {
  const { kv, clock } = makeKv({ kvValueBytes: 10 });
  kv.restore({ script: 'a', key: 'old', value: 1, expiresAt: clock.ms });
  kv.restore({ script: 'a', key: 'large', value: 'x'.repeat(11) });
  kv.restore({ script: 'a', key: 'kept', value: 1 });
  expect(kv.takeChanges()).toEqual([
    { script: 'a', key: 'old' },
    { script: 'a', key: 'large' },
  ]);
});

test('the store of a script: every method, through the sandbox', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`const { KV } = env;
      const seen = [
        KV.set('a', 'x'), KV.get('a'), KV.get('none'),
        KV.add('a', 'y'), KV.add('n', 1, { ttlMs: 50 }),
        KV.cas('a', 'x', 'z'), KV.cas('m', undefined, 0),
        KV.incr('n'), KV.incr('i', 2, { init: 40 }),
        KV.delete('m'), KV.delete('m'), KV.keys({ prefix: '', limit: 2 }), KV.keys(),
      ];
      return reject({ reason: JSON.stringify(seen) });`),
  });
  expect(world.outcome()).toBe(
    `reject rst [null,"x",null,false,true,true,true,2,42,true,false,["a","n"],["a","n","i"]]`,
  );
  world.advance(100);
  expect(world.journal).toEqual([
    { script: 'a', key: 'a', value: 'z' },
    { script: 'a', key: 'n', value: 2, expiresAt: world.epochMs - 50 },
    { script: 'a', key: 'i', value: 42 },
  ]);
});

test.each([
  ["KV.set('k', 'x'.repeat(101))", 'LimitError: KV value of 101 bytes, at most 100 (kvValueBytes)'],
  ["KV.set('k', {} as any)", 'TypeError: KV: a value must be text or a number, not {}'],
  ['KV.get(5 as any)', 'TypeError: KV: a key must be text, not 5'],
  ["KV.set('k', 1, { ttlMs: -1 })", 'TypeError: KV: ttlMs cannot be -1'],
  ["KV.set('k', 1, { ttl: 5 } as any)", 'TypeError: KV: no option "ttl"'],
  ["KV.add('k', 1, 5 as any)", 'TypeError: KV: options must be an object'],
  ["KV.incr('k', NaN)", 'TypeError: KV: by cannot be NaN'],
  ["KV.incr('k', 1, { init: '1' } as any)", 'TypeError: KV: init cannot be "1"'],
  ['KV.keys({ prefix: 5 } as any)', 'TypeError: KV: prefix cannot be 5'],
  ["KV.set('k', 'x'); KV.incr('k')", 'TypeError: KV "k" is not a number'],
  ["KV.set('k', NaN)", 'TypeError: KV cannot hold NaN'],
])('a script that calls %s gets an error that it can catch', async (call, expected) => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf(
        `const { KV } = env; try { ${call} } catch (e) { return reject({ reason: \`\${e}\` }) }`,
      ),
    },
    { limits: { kvValueBytes: 100 } },
  );
  expect(world.outcome()).toBe(`reject rst ${expected}`);
});

test('options that are null are none', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`const { KV } = env; const none = null as any;
      KV.set('k', 1, none); KV.add('l', 1, none); KV.incr('k', 1, none);
      return reject({ reason: KV.keys(none).join() + KV.get('k') })`),
  });
  expect(world.outcome()).toBe('reject rst k,l2');
});

test('scripts do not see each other’s store', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf("env.KV.set('k', 1); return decline()"),
    b: syncScriptOf("return reject({ reason: String(env.KV.get('k')) })"),
  });
  expect(world.outcome()).toBe('reject rst undefined');
});

test('text that cannot cross the border as it is comes back as it was', async () => {
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`const { KV } = env;
      KV.set('a', 'plain'); KV.set('a\\0b', 'x\\0y'); KV.set('\\ud800', '\\udfff\\0');
      const same = [KV.get('a') === 'plain', KV.get('a\\0b') === 'x\\0y',
        KV.get('\\ud800') === '\\udfff\\0', KV.get('\\ud801') === undefined,
        KV.cas('a\\0b', 'x', 1) === false, KV.cas('a\\0b', 'x\\0y', 1), KV.get('a\\0b') === 1,
        KV.incr('a\\0b', 2) === 3, KV.add('a\\0b', 1) === false, KV.delete('\\ud800'),
        KV.keys({ prefix: 'a\\0' }).length === 1, KV.keys().length === 2];
      return reject({ reason: same.map(Number).join('') })`),
  });
  expect(world.outcome()).toBe('reject rst 111111111111');
  world.advance(200);
  expect(world.journal.map(({ key, value }) => [key, value])).toEqual([
    ['a', 'plain'],
    ['a\0b', 3],
  ]);
});

test('a set looks for the whole of a text, and a log shows all of a line', async () => {
  const world = new ScriptWorld();
  await world.load(
    {
      a: syncScriptOf(`ctx.log.info('one\\0two');
      const { sets } = env;
      return reject({ reason: [sets.has('s', '10.0.0.1'), sets.has('s', '10.0.0.1\\0')].join() })`),
    },
    { sets: { s: { type: 'cidr', text: '10.0.0.0/8' } } },
  );
  expect(world.outcome()).toBe('reject rst true,false');
  expect(world.lines).toEqual(['one\u2400two']);
});
