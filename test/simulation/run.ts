/**
 * `npm run simulate`: as many seeds of the simulation as one likes, and the table of goodputs.
 *
 *   npm run simulate                   5000 seeds from 1
 *   npm run simulate -- 100 7          100 seeds from 7
 *   npm run simulate -- goodput        the table
 */
import { converse } from './conversation.ts';
import { measureGoodputs, renderGoodputs } from './goodput.ts';
import { scenarioOf } from './scenario.ts';

const SEEDS = 5000;
const FAILURES_SHOWN = 20;

const words = process.argv.slice(2);
if (words[0] === 'goodput') {
  console.log(renderGoodputs(measureGoodputs()));
} else {
  const [count = SEEDS, first = 1] = words.map(Number);
  if (!Number.isInteger(count) || !Number.isInteger(first)) {
    console.error('usage: npm run simulate -- [COUNT [FIRST] | goodput]');
    process.exit(2);
  }
  process.exit(runSeeds(first, count) === 0 ? 0 : 1);
}

/** @returns how many failed */
function runSeeds(first: number, count: number): number {
  const started = performance.now();
  let failures = 0;
  for (let seed = first; seed < first + count; seed++) {
    try {
      converse(scenarioOf(seed));
    } catch (error) {
      failures += 1;
      if (failures <= FAILURES_SHOWN) console.error(error instanceof Error ? error.message : error);
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${count} seeds from ${first}: ${failures} failed, ${seconds} s`);
  return failures;
}
