/** Sandboxes go with their generations: they are megabytes of memory each. */

import { heapStats } from 'bun:jsc';
import { expect, test } from 'bun:test';
import { ScriptWorld, scriptOf } from '../script-world.ts';

const RELOADS = 40;
/** The script's, the spare one, and the first of the process, of which the others are made. */
const KEPT = 3;

/** Memories of WebAssembly that something refers to. */
async function sandboxes(): Promise<number> {
  // Not in one turn: what the stack of this one still shows is taken for a reference.
  for (let i = 0; i < 5; i++) {
    await Bun.sleep(0);
    Bun.gc(true);
  }
  return heapStats().objectTypeCounts['WebAssembly.Memory'] ?? Number.NaN;
}

test(`of ${RELOADS} bundles one after the other, the sandbox of the last is left`, async () => {
  const world = new ScriptWorld();
  await world.load({ a: scriptOf('return forward()') });
  for (let generation = 2; generation < RELOADS; generation++) {
    await world.load({ a: scriptOf(`return forward() /* ${generation} */`) }, { generation });
  }
  expect(world.host.generations).toEqual([RELOADS - 1]);
  expect(await sandboxes()).toBeLessThanOrEqual(KEPT);
}, 30_000);
