/**
 * `bun test/fuzz/run.ts [--seconds N] [--seed N]`: rounds of the fuzzer until the time is over. A
 * failure prints its seed, and `--seed` with it and `--seconds 0` runs that round alone.
 */
import { parseArgs } from 'node:util';
import { fuzzRound } from './ingest.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
});
const seconds = Number(values.seconds);
const first = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
if (!Number.isInteger(seconds) || seconds < 0 || !Number.isInteger(first)) {
  console.error('usage: bun test/fuzz/run.ts [--seconds N] [--seed N]');
  process.exit(2);
}

const end = Date.now() + seconds * 1000;
const drops = new Map<string, number>();
let rounds = 0;
let frames = 0;
do {
  const seed = first + rounds;
  try {
    const round = fuzzRound(seed);
    frames += round.frames;
    for (const [reason, count] of Object.entries(round.drops)) {
      drops.set(reason, (drops.get(reason) ?? 0) + count);
    }
  } catch (cause) {
    console.error(`fuzz: round with --seed ${seed} failed`);
    console.error(cause);
    process.exit(1);
  }
  rounds += 1;
} while (Date.now() < end);

console.log(`${rounds} rounds from seed ${first}, ${frames} frames`);
for (const [reason, count] of [...drops].sort(([, a], [, b]) => b - a)) {
  console.log(`  ${String(count).padStart(9)}  ${reason}`);
}
