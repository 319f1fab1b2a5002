import { describe, expect, test } from 'bun:test';
import type { ScriptIssue, ScriptSource } from '../../../../src/gateway/messages/script-control.ts';
import {
  BundleRejectedError,
  NoSuchGenerationError,
  ScriptHostError,
  StaleChangeError,
} from '../../../../src/gateway/supervisor/scripts/change-errors.ts';
import type {
  BundleContent,
  Generation,
} from '../../../../src/gateway/supervisor/scripts/generation.ts';
import type {
  Checked,
  TrialRunner,
} from '../../../../src/gateway/supervisor/scripts/generation-parts.ts';
import {
  type Activator,
  Generations,
} from '../../../../src/gateway/supervisor/scripts/generations.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';

const ISSUE: ScriptIssue = {
  script: 'a',
  file: 'a.ts',
  line: 3,
  column: 5,
  kind: 'syntax',
  message: 'unexpected token',
};

const SCRIPT: ScriptSource = {
  name: 'a',
  file: 'a.ts',
  source: 'one',
  modules: { 'lib.ts': 'lib' },
  tests: { 'a.test.ts': 'test' },
  allow: ['10.0.0.1:443'],
  schedule: { a: { everyMs: 1000 } },
};
const CONTENT: Pick<BundleContent, 'sets' | 'vars'> = {
  sets: { blocked: { type: 'cidr', text: '10.0.0.1' } },
  vars: { a: '1' },
};

/** Refuses sources that say so, and notes what it activates. */
class FakeActivator implements Activator {
  readonly activated: number[] = [];
  running = 0;
  async check(bundle: Generation): Promise<Checked> {
    this.running++;
    expect(this.running).toBe(1);
    await Bun.sleep(1);
    this.running--;
    return { issues: bundle.scripts.some(({ source }) => source === 'broken') ? [ISSUE] : [] };
  }
  async activate(bundle: Generation): Promise<readonly ScriptIssue[]> {
    if (bundle.scripts.some(({ source }) => source === 'dies')) return [ISSUE];
    this.activated.push(bundle.number);
    return [];
  }
}

function setUp() {
  const activator = new FakeActivator();
  const generations = new Generations(activator, DEFAULT_SCRIPT_LIMITS, () => 1000);
  const put = (source: string, options = {}) =>
    generations.apply(
      'api',
      (active) => ({ ...active, scripts: [{ name: 'a', file: 'a.ts', source }] }),
      options,
    );
  return { activator, generations, put };
}

describe('a change', () => {
  test.each<[string, Partial<BundleContent>]>([
    ['source', { scripts: [{ ...SCRIPT, source: 'other' }] }],
    ['a module', { scripts: [{ ...SCRIPT, modules: { 'lib.ts': 'other' } }] }],
    ['a test', { scripts: [{ ...SCRIPT, tests: { 'a.test.ts': 'other' } }] }],
    ['what it may reach', { scripts: [{ ...SCRIPT, allow: ['10.0.0.1:80'] }] }],
    ['its schedule', { scripts: [{ ...SCRIPT, schedule: { a: { everyMs: 2000 } } }] }],
    ['a set', { sets: { blocked: { type: 'cidr', text: '10.0.0.2' } } }],
    ['a variable', { vars: { a: '2' } }],
  ])('%s is part of the hash', async (_, part) => {
    const { generations } = setUp();
    const first: BundleContent = { ...generations.active, scripts: [SCRIPT], ...CONTENT };
    await generations.apply('api', () => first);
    const { hash } = generations.active;
    expect((await generations.apply('api', () => ({ ...first, ...part }))).changed).toBe(true);
    expect(generations.active.hash).not.toBe(hash);
  });

  test('the order in which settings are written is not part of the hash', async () => {
    const { generations } = setUp();
    const content = (modules: Record<string, string>): BundleContent => ({
      ...generations.active,
      scripts: [{ ...SCRIPT, modules }],
    });
    await generations.apply('api', () => content({ 'a.ts': '1', 'b.ts': '2' }));
    const again = await generations.apply('api', () => content({ 'b.ts': '2', 'a.ts': '1' }));
    expect(again.changed).toBe(false);
  });

  test('has a hash in which nobody without the key can try guesses of a variable', async () => {
    const hashes = async (vars: BundleContent['vars'], fill: number) => {
      const store = {
        ...{ generations: [], lastNumber: 0, hashKey: new Uint8Array(32).fill(fill) },
        prepare: async () => {},
        commit: async () => {},
      };
      const all = new Generations(new FakeActivator(), DEFAULT_SCRIPT_LIMITS, () => 1, { store });
      await all.apply('api', (active) => ({ ...active, scripts: [SCRIPT], vars }));
      return all.active.hash;
    };
    const pin = { PIN: '1234' };
    expect(await hashes(pin, 1)).toBe(await hashes(pin, 1));
    expect(await hashes(pin, 1)).not.toBe(await hashes({ PIN: '1235' }, 1));
    expect(await hashes(pin, 1)).not.toBe(await hashes(pin, 2));
    // Where nothing is secret, two gateways can be compared.
    expect(await hashes({}, 1)).toBe(await hashes({}, 2));
  });

  test('is written down before it decides, and made a part of the history after that', async () => {
    const steps: string[] = [];
    const generations = new Generations(
      {
        check: async () => ({ issues: [] }),
        activate: async ({ number }) => {
          steps.push(`activate ${number}`);
          return [];
        },
      },
      DEFAULT_SCRIPT_LIMITS,
      () => 1,
      {
        store: {
          ...{ generations: [], lastNumber: 4, hashKey: new Uint8Array(32) },
          prepare: async ({ number }) => void steps.push(`prepare ${number}`),
          commit: async ({ number }) => void steps.push(`commit ${number}`),
        },
        trials: {
          start: async ({ number }) => {
            steps.push(`try ${number}`);
            return [];
          },
          promote: async () => [],
          abort: () => {},
        },
      },
    );
    const put = (source: string, options = {}) =>
      generations.apply(
        'api',
        (active) => ({ ...active, scripts: [{ ...SCRIPT, source }] }),
        options,
      );
    await put('one', { dryRun: true });
    await put('one');
    await put('two', { trial: { mode: 'shadow' } });
    await generations.promote();
    expect(steps).toEqual([
      ...['prepare 5', 'activate 5', 'commit 5'],
      ...['prepare 6', 'try 6', 'commit 6'],
    ]);
  });

  test('that no host could activate does not give its number to other content', async () => {
    const prepared: [number, string | undefined][] = [];
    const store = {
      hashKey: new Uint8Array(32),
      generations: [],
      lastNumber: 0,
      prepare: async ({ number, scripts }: Generation) =>
        void prepared.push([number, scripts[0]?.source]),
      commit: async () => {},
    };
    const activator = new FakeActivator();
    activator.activate = async ({ number }) => {
      if (number === 1) throw new ScriptHostError('busy');
      return [];
    };
    const generations = new Generations(activator, DEFAULT_SCRIPT_LIMITS, () => 1, { store });
    const put = (source: string) =>
      generations.apply('api', (active) => ({ ...active, scripts: [{ ...SCRIPT, source }] }));
    await expect(put('one')).rejects.toThrow(ScriptHostError);
    await put('two');
    expect(prepared).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
    expect(generations.active.number).toBe(2);
  });

  test('has a hash that is too long for two bundles to share it', async () => {
    const { generations, put } = setUp();
    await put('one');
    expect(generations.active.hash).toMatch(/^[\da-f]{32}$/);
  });

  test('makes a new generation with a new ETag', async () => {
    const { generations, put } = setUp();
    const before = generations.etag;
    const change = await put('one');
    expect(change).toMatchObject({ changed: true, generation: { number: 1, origin: 'api' } });
    expect(generations.etag).not.toBe(before);
  });

  test('that does not load changes nothing', async () => {
    const { activator, generations, put } = setUp();
    await put('one');
    const before = generations.etag;
    await expect(put('broken')).rejects.toThrow(BundleRejectedError);
    await expect(put('dies')).rejects.toThrow('a.ts:3:5: unexpected token');
    await put('one');
    expect(generations.etag).toBe(before);
    expect(activator.activated).toEqual([1]);
    expect(generations.history).toHaveLength(1);
  });

  test('that makes all scripts together too large is refused before any host sees it', async () => {
    const { activator, generations } = setUp();
    const add = (name: string) =>
      generations.apply('api', ({ scripts, ...rest }) => ({
        ...rest,
        scripts: [...scripts, { name, file: name, source: `/*${'x'.repeat(600_000)}*/` }],
      }));
    await add('a');
    await expect(add('b')).rejects.toThrow('1200008 bytes of source in all scripts');
    await expect(add('b')).rejects.toThrow(BundleRejectedError);
    expect(activator.activated).toEqual([1]);
  });

  test('that makes too many scripts is refused', async () => {
    const { generations } = setUp();
    const scripts = Array.from({ length: 65 }, (_, n) => ({
      name: `s${n}`,
      file: 'f',
      source: '',
    }));
    await expect(generations.apply('api', (active) => ({ ...active, scripts }))).rejects.toThrow(
      '65 scripts, at most 64',
    );
  });

  test('with identical content is none, unless it is forced', async () => {
    const { activator, put } = setUp();
    await put('one');
    expect((await put('one')).changed).toBe(false);
    expect((await put('one', { force: true })).generation.number).toBe(2);
    expect(activator.activated).toEqual([1, 2]);
  });

  test('of limits or vars alone is one', async () => {
    const { generations, put } = setUp();
    await put('one');
    const withVars = (active: BundleContent) => ({ ...active, vars: { region: 'eu' } });
    expect((await generations.apply('reload', withVars)).changed).toBe(true);
    expect((await generations.apply('reload', withVars)).changed).toBe(false);
  });

  test('from a state that is gone is refused, before it is checked', async () => {
    const { generations, put } = setUp();
    await put('one');
    const seen = generations.etag;
    await put('two');
    await expect(put('broken', { ifMatch: [seen] })).rejects.toThrow(StaleChangeError);
    expect((await put('three', { ifMatch: ['"1-x"', generations.etag] })).changed).toBe(true);
  });

  test('as a dry run is checked and not made', async () => {
    const { activator, generations, put } = setUp();
    const change = await put('one', { dryRun: true });
    expect(change).toMatchObject({ changed: false, generation: { number: 1 } });
    await expect(put('broken', { dryRun: true })).rejects.toThrow(BundleRejectedError);
    await put('broken', { dryRun: true }).catch(() => undefined);
    expect(generations.active.number).toBe(0);
    expect(activator.activated).toEqual([]);
  });

  test('waits for the one before: of two from one state, the second is stale', async () => {
    const { generations, put } = setUp();
    const seen = generations.etag;
    const results = await Promise.allSettled([
      put('one', { ifMatch: [seen] }),
      put('two', { ifMatch: [seen] }),
    ]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected']);
    expect(generations.active.scripts[0]?.source).toBe('one');
  });
});

test('a change that fails leaves what is on trial, and one that does not ends it', async () => {
  const aborted: string[] = [];
  const trials: TrialRunner = {
    start: async () => [],
    promote: async () => [],
    abort: (why) => aborted.push(why),
  };
  const generations = new Generations(new FakeActivator(), DEFAULT_SCRIPT_LIMITS, () => 1000, {
    trials,
  });
  const put = (source: string, options = {}) =>
    generations.apply(
      'api',
      (active) => ({ ...active, scripts: [{ name: 'a', file: 'a.ts', source }] }),
      options,
    );
  await put('one');
  await put('two', { trial: { mode: 'shadow' } });
  await expect(put('dies')).rejects.toThrow(BundleRejectedError);
  expect(generations.trial?.generation.number).toBe(2);
  expect(aborted).toEqual([]);
  await put('three');
  expect(generations.trial).toBeUndefined();
  expect(aborted).toEqual(['another change']);
});

describe('a rollback', () => {
  test('is a new generation with old content', async () => {
    const { generations, put } = setUp();
    await put('one');
    await put('two');
    const { generation } = await generations.rollback(undefined);
    expect(generation).toMatchObject({ number: 3, copyOf: 1, origin: 'rollback' });
    expect(generation.scripts[0]?.source).toBe('one');
    expect((await generations.rollback(2)).generation.scripts[0]?.source).toBe('two');
  });

  test('to what the history does not hold is an error', async () => {
    const { generations, put } = setUp();
    await expect(generations.rollback(undefined)).rejects.toThrow(NoSuchGenerationError);
    await put('one');
    await expect(generations.rollback(9)).rejects.toThrow('no generation 9 in the history');
  });
});

test('the history keeps 20 bundles, and the names of older ones', async () => {
  const { generations, put } = setUp();
  for (let n = 1; n <= 25; n++) await put(`source ${n}`);
  expect(generations.history.map((entry) => entry.number)).toEqual(
    Array.from({ length: 20 }, (_, index) => 25 - index),
  );
  expect(generations.scriptName(2, 0)).toBe('a');
  expect(generations.scriptName(2, 1)).toBeUndefined();
});
