import { afterEach, expect, test } from 'bun:test';
import { mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScriptWatch } from '../../../../src/gateway/supervisor/scripts/script-watch.ts';
import { rememberingLog, until } from '../support.ts';

const SETTLE_MS = 50;
const watches: ScriptWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
});

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  const file = join(folder, 'a.ts');
  writeFileSync(file, 'one');
  const { log, lines } = rememberingLog();
  const seen = { changes: 0 };
  const watch = new ScriptWatch(log, () => seen.changes++, SETTLE_MS);
  watches.push(watch);
  return { folder, file, lines, seen, watch };
}

test('many writes in a row are one change', async () => {
  const { file, seen, watch } = setUp();
  watch.watch([file]);
  for (let i = 0; i < 5; i++) writeFileSync(file, `${i}`);
  await until(() => seen.changes > 0, 'the change');
  await Bun.sleep(3 * SETTLE_MS);
  expect(seen.changes).toBe(1);
});

test('a file that is replaced is seen, each time', async () => {
  const { folder, file, seen, watch } = setUp();
  watch.watch([file]);
  for (const count of [1, 2]) {
    writeFileSync(join(folder, 'next'), 'two');
    renameSync(join(folder, 'next'), file);
    await until(() => seen.changes === count, 'the change');
  }
});

test('what an editor leaves beside it is not', async () => {
  const { folder, file, seen, watch } = setUp();
  watch.watch([file]);
  for (const name of ['.a.ts.swp', 'a.ts~', '4913', '#a.ts#']) {
    writeFileSync(join(folder, name), 'x');
  }
  await Bun.sleep(4 * SETTLE_MS);
  expect(seen.changes).toBe(0);
});

test('a folder that is not watched any more is not; one that is not there is told of', async () => {
  const { folder, file, seen, watch, lines } = setUp();
  watch.watch([file]);
  watch.watch([join(folder, 'none', 'b.ts')]);
  expect(lines).toMatchObject([{ msg: 'watch-failed', folder: join(folder, 'none') }]);
  writeFileSync(file, 'two');
  await Bun.sleep(4 * SETTLE_MS);
  expect(seen.changes).toBe(0);
});
