/** Activates a generation in the history of a folder, and dies before it is told that it could. */
import type { Generation } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import { Generations } from '../../../../src/gateway/supervisor/scripts/generations.ts';
import { HistoryFiles } from '../../../../src/gateway/supervisor/scripts/history-files.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { rememberingLog } from '../support.ts';

const [folder = ''] = process.argv.slice(2);
const files = new HistoryFiles(folder, rememberingLog().log, 3);
const die = async () => {
  process.kill(process.pid, 'SIGKILL');
  return [];
};
const generations = new Generations(
  { check: async () => ({ issues: [] }), activate: die },
  DEFAULT_SCRIPT_LIMITS,
  Date.now,
  {
    store: {
      ...files.load(),
      hashKey: new Uint8Array(32),
      prepare: (entry: Generation) => files.prepare(entry),
      commit: (entry: Generation) => files.commit(entry),
    },
  },
);
await generations.apply('start', (active) => ({
  ...active,
  scripts: [{ name: 'a', file: 'a.ts', source: 'two' }],
}));
