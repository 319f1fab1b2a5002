/** Trials whose host is busy or lost: what is on trial is what the host has on trial. */
import { expect, test } from 'bun:test';
import { ScriptHostError } from '../../../../src/gateway/supervisor/scripts/change-errors.ts';
import type { Generation } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import type { CanaryTrial } from '../../../../src/gateway/supervisor/scripts/generation-parts.ts';
import { type TrialHost, Trials } from '../../../../src/gateway/supervisor/scripts/trials.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { rememberingLog } from '../support.ts';

const PLAN: CanaryTrial = { mode: 'canary', share: 1, errors: 0.1, windowMs: 1000, forMs: 0 };
const GENERATION: Generation = {
  ...{ number: 7, hash: 'h', origin: 'api', createdAt: 0, scripts: [], vars: {} },
  limits: DEFAULT_SCRIPT_LIMITS,
};
const STOPPED = { generation: 7, decisions: 9, failures: 5, stopped: 'too many' };

function setUp(host: Partial<TrialHost>) {
  const stopped: number[] = [];
  const { lines, log } = rememberingLog();
  const trials: Trials = new Trials({
    log,
    host: {
      loadCanary: async () => [],
      promoteCanary: async () => true,
      dropCanary: () => {},
      activate: async () => [],
      watch: () => {},
      asideOptions: () => ({ iface: 'x0' }),
      ...host,
    },
    onStopped: (generation) => stopped.push(generation),
    onPassed: async () => {},
  });
  return { trials, stopped, events: () => lines.map(({ msg }) => msg) };
}

test('a canary that is stopped before its load was told is no trial', async () => {
  const { trials, events } = setUp({
    loadCanary: async () => {
      trials.onCanary(STOPPED);
      return [];
    },
  });
  const issues = await trials.start(GENERATION, PLAN);
  expect(issues).toMatchObject([{ kind: 'trial', message: 'generation 7 was stopped meanwhile' }]);
  expect(trials.report).toEqual({});
  expect(events()).toEqual([]);
});

test('a canary that no host takes leaves nothing that could be lost later', async () => {
  const { trials, stopped } = setUp({
    loadCanary: () => Promise.reject(new ScriptHostError('no host')),
  });
  await expect(trials.start(GENERATION, PLAN)).rejects.toThrow('no host');
  expect(trials.report).toEqual({});
  trials.onHostLost('gone');
  expect(stopped).toEqual([]);
});

test('a canary that cannot take over is on trial no longer', async () => {
  const { trials, stopped, events } = setUp({ promoteCanary: async () => false });
  expect(await trials.start(GENERATION, PLAN)).toEqual([]);
  expect(await trials.promote(GENERATION, PLAN)).toMatchObject([{ kind: 'trial' }]);
  expect(stopped).toEqual([7]);
  expect(trials.report).toEqual({});
  expect(trials.outcomes).toEqual({ promoted: 0, stopped: 1, aborted: 0 });
  expect(events()).toEqual(['trial-started', 'trial-stopped']);
});

test('a canary that was stopped by its host is told of once', async () => {
  const { trials, stopped, events } = setUp({});
  await trials.start(GENERATION, PLAN);
  trials.onCanary({ ...STOPPED, generation: 6 });
  expect(stopped).toEqual([]);
  trials.onCanary(STOPPED);
  trials.onCanary(STOPPED);
  trials.onHostLost('gone');
  expect(stopped).toEqual([7]);
  expect(events()).toEqual(['trial-started', 'trial-stopped']);
});
