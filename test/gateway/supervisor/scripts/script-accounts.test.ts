import { expect, test } from 'bun:test';
import { ScriptAccounts } from '../../../../src/gateway/supervisor/scripts/script-accounts.ts';

const stats = (script: string) => ({
  ...{ script, generation: 1, decisions: 2, errors: 0 },
  ...{ limitHits: {}, cpuUs: 5, disabled: false },
});

test('what scripts did is forgotten with the scripts, over all hosts', () => {
  const accounts = new ScriptAccounts(() => {});
  for (let i = 0; i < 100; i++) {
    const name = `s${i}`;
    accounts.receive({ kind: 'stats', scripts: [stats(name), stats('stays')] });
    if (i % 2 === 0) accounts.hostEnded();
    accounts.prune(new Set([name, 'stays']));
  }
  expect([...accounts.totals.all().keys()].sort()).toEqual(['s99', 'stays']);
  expect(accounts.totals.of('stays').decisions).toBe(102);
});
