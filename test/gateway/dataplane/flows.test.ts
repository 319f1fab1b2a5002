/** What the owner of flows does when who decides about them changes. */
import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig } from '../../../src/gateway/config/plane.ts';
import { type FlowParts, Flows } from '../../../src/gateway/dataplane/flows.ts';
import type { Instant } from '../../../src/stack/time.ts';

const NOW = 1 as Instant;
const LIVE = toLiveConfig(parseConfig('', 'test'), 1);

/** Parts that do nothing; `calls` has the names of what was called. */
function flowsAndCalls(): { flows: Flows; calls: string[] } {
  const calls: string[] = [];
  const part = new Proxy({}, { get: (_, name) => () => calls.push(String(name)) });
  const parts = new Proxy({}, { get: () => part });
  const flows = new Flows(LIVE, { state: 'up', epoch: 1 });
  flows.attach(parts as unknown as FlowParts);
  calls.length = 0;
  return { flows, calls };
}

test('a new configuration forgets who was refused', () => {
  const { flows, calls } = flowsAndCalls();
  flows.configure(LIVE);
  expect(calls).toContain('forgetRefusals');
});

test('so does a script host that came, went or is no more wanted, and not the one that is', () => {
  const { flows, calls } = flowsAndCalls();
  flows.setScripts({ state: 'up', epoch: 1 }, NOW);
  expect(calls).not.toContain('forgetRefusals');
  for (const scripts of [
    { state: 'down', epoch: 1 },
    { state: 'up', epoch: 2 },
    { state: 'none', epoch: 2 },
  ] as const) {
    calls.length = 0;
    flows.setScripts(scripts, NOW);
    expect(calls).toContain('forgetRefusals');
  }
});

test('a host that comes in the place of a lost one is told to the claims', () => {
  const { flows, calls } = flowsAndCalls();
  flows.setScripts({ state: 'down', epoch: 2 }, NOW);
  calls.length = 0;
  flows.setScripts({ state: 'up', epoch: 2 }, NOW);
  expect(calls).toContain('setHost');
});
