import { describe, expect, test } from 'bun:test';
import { CrashPolicy } from '../../../src/gateway/supervisor/backoff.ts';
import { KillBreaker } from '../../../src/gateway/supervisor/scripts/breaker.ts';
import { ScriptTotalsTable } from '../../../src/gateway/supervisor/scripts/script-totals.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../src/scripts-runtime/limits.ts';

describe('a child that ends', () => {
  test('comes back at once, and slower each time', () => {
    const policy = new CrashPolicy();
    expect([0, 1, 2, 3].map((at) => policy.crashed(at))).toEqual([0, 100, 200, 400]);
    for (let n = 0; n < 20; n++) policy.crashed(4);
    expect(policy.crashed(5)).toBe(5000);
  });

  test('comes back at once again after a quiet minute', () => {
    const policy = new CrashPolicy();
    policy.crashed(0);
    policy.crashed(10);
    expect(policy.crashed(60_010)).toBe(0);
  });

  test('does not come back after too many ends within a minute', () => {
    const policy = new CrashPolicy(2);
    expect([0, 1, 2].map((at) => policy.crashed(at))).toEqual([0, 100, undefined]);
  });
});

describe('a script that gets its host killed', () => {
  const limits = { ...DEFAULT_SCRIPT_LIMITS, breakerHits: 3, breakerWindowMs: 1000 };

  test('is disabled after so many kills within the window, and no other is', () => {
    const breaker = new KillBreaker();
    expect([0, 10, 20].map((at) => breaker.killed('a', at, limits))).toEqual([false, false, true]);
    breaker.killed('b', 20, limits);
    expect(breaker.disabled).toEqual(['a']);
  });

  test('is not disabled by kills that lie apart', () => {
    const breaker = new KillBreaker();
    for (const at of [0, 600, 1200, 1800]) expect(breaker.killed('a', at, limits)).toBe(false);
  });

  test('gets a new chance with a change of scripts', () => {
    const breaker = new KillBreaker();
    for (const at of [0, 1, 2]) breaker.killed('a', at, limits);
    breaker.reset();
    expect(breaker.disabled).toEqual([]);
    expect(breaker.killed('a', 3, limits)).toBe(false);
  });
});

describe('totals of scripts', () => {
  const stats = {
    script: 'a',
    generation: 1,
    decisions: 5,
    errors: 1,
    limitHits: { cpu: 2 },
    cpuUs: 10,
    disabled: true,
  };

  test('go on over a host that ended', () => {
    const table = new ScriptTotalsTable();
    table.record([stats]);
    table.record([{ ...stats, decisions: 7 }]);
    expect(table.of('a')).toMatchObject({ decisions: 7, disabled: true });
    table.hostEnded();
    expect(table.of('a')).toMatchObject({ decisions: 7, disabled: false });
    table.record([{ ...stats, decisions: 3, limitHits: { wall: 1 }, disabled: false }]);
    expect(table.of('a')).toMatchObject({
      decisions: 10,
      errors: 2,
      limitHits: { cpu: 2, wall: 1 },
    });
  });
});
