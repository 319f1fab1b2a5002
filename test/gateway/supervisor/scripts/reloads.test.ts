import { describe, expect, test } from 'bun:test';
import type { Generation } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import type { Change } from '../../../../src/gateway/supervisor/scripts/generations.ts';
import {
  NoSuchReloadError,
  Reloads,
  TooManyReloadsError,
} from '../../../../src/gateway/supervisor/scripts/reloads.ts';

const RELOAD: Change = {
  generation: { number: 1 } as Generation,
  changed: true,
};

describe('a reload', () => {
  test('goes through its states, and drains after it is decided', async () => {
    const drained = Promise.withResolvers<void>();
    const applied = Promise.withResolvers<void>();
    const record = new Reloads().start(false, async (onApplying) => {
      await Bun.sleep(1);
      onApplying();
      await applied.promise;
      return { ...RELOAD, drained: drained.promise };
    });
    expect(record.state).toBe('validating');
    await Bun.sleep(10);
    expect(record.state).toBe('applying');
    applied.resolve();
    await record.decided(1000);
    expect(record.state).toBe('draining');
    expect(record.reload?.generation.number).toBe(1);
    drained.resolve();
    await Bun.sleep(1);
    expect(record.state).toBe('done');
    expect(record.endedAt).toBeNumber();
  });

  test('that fails keeps its error', async () => {
    const record = new Reloads().start(false, () => Promise.reject(new Error('no')));
    await record.decided(1000);
    expect(record).toMatchObject({ state: 'failed', error: { message: 'no' } });
  });

  test('is waited for no longer than asked', async () => {
    const record = new Reloads().start(false, () => new Promise(() => undefined));
    const before = performance.now();
    await record.decided(20);
    expect(performance.now() - before).toBeWithin(15, 1000);
    expect(record.state).toBe('validating');
  });
});

describe('reloads', () => {
  test('are remembered up to a bound, and have ids of their own', async () => {
    const reloads = new Reloads();
    const first = reloads.start(false, async () => RELOAD);
    const ids = new Set([first.id]);
    for (let i = 0; i < 150; i++) {
      const record = reloads.start(false, async () => RELOAD);
      await record.decided(1000);
      ids.add(record.id);
    }
    expect(ids.size).toBe(151);
    expect(reloads.all).toHaveLength(100);
    expect(() => reloads.get(first.id)).toThrow(NoSuchReloadError);
    expect(reloads.all[0]?.id).toBe([...ids].at(-1) ?? '');
  });

  test('that wait are bounded, so that who repeats himself is told', () => {
    const reloads = new Reloads();
    const forever = () => new Promise<Change>(() => undefined);
    for (let i = 0; i < 16; i++) reloads.start(false, forever);
    expect(() => reloads.start(false, forever)).toThrow(TooManyReloadsError);
  });
});
