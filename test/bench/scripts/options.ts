/** The command line of the bench of scripts. */

import { join } from 'node:path';
import { HOSTILE_SCRIPTS } from '../../support/hostile-scripts.ts';
import { count, parseArguments } from '../arguments.ts';
import { BenchError } from '../command.ts';
import { ROOT } from '../requirements.ts';
import { TESTS, type TestName } from './samples.ts';

export interface ScriptOptions {
  readonly tests: readonly TestName[];
  readonly repetitions: number;
  /** Of each load. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** New flows per second, each of which is measured. */
  readonly rates: readonly number[];
  /** Connections to hold. */
  readonly held: number;
  /** Names of hostile scripts. */
  readonly hostile: readonly string[];
  /** File with the section to replace; none when the tables are only printed. */
  readonly report: string | undefined;
}

/** What decides is compiled after some ten thousand decisions, by threads that take a processor. */
const FULL = { repetitions: 3, seconds: 3, warmUpSeconds: 8, held: 1000 };
const QUICK = { repetitions: 1, seconds: 1, warmUpSeconds: 1, held: 100 };
const RATES = [1000, 5000];

const asOptions = ({ repetitions, seconds, warmUpSeconds, held }: typeof QUICK): string =>
  `-n ${repetitions} --sec ${seconds} --warm ${warmUpSeconds} --hold ${held}`;

export const USAGE = `npm run bench:scripts -- [options]

Measures what scripts cost: in decisions, in bytes, in memory, and when they misbehave.

  -t, --tests LIST   of ${TESTS.join(',')} (all)
  -n, --reps N       repetitions, the outer loop (${FULL.repetitions})
      --sec N        seconds of each load (${FULL.seconds})
      --warm N       seconds of each way to decide before it counts (${FULL.warmUpSeconds})
      --rates LIST   new flows per second (${RATES.join(',')})
      --hold N       connections of the memory test (${FULL.held})
  -s, --script WORD  only hostile scripts with this word in their name
      --quick        as ${asOptions(QUICK)} --print
      --out FILE     write the tables there, as a section between markers (BENCHMARKS.md)
      --print        only print the tables
  -h, --help`;

/** @returns undefined when help was asked for. @throws BenchError for what is not understood */
export function parseScriptOptions(args: readonly string[]): ScriptOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true) return undefined;
  if (positionals.length > 0) throw new BenchError(`not understood: ${positionals.join(' ')}`);
  const usual = values.quick === true ? QUICK : FULL;
  const isPrinted = values.print === true || (values.quick === true && values.out === undefined);
  return {
    tests: (values.tests?.split(',') ?? TESTS).map(testName),
    repetitions: count('-n', values.reps, usual.repetitions),
    seconds: count('--sec', values.sec, usual.seconds),
    warmUpSeconds: count('--warm', values.warm, usual.warmUpSeconds, 0),
    rates: (values.rates?.split(',') ?? RATES.map(String)).map((rate) => count('--rates', rate, 0)),
    held: count('--hold', values.hold, usual.held),
    hostile: hostileNames(values.script ?? ''),
    report: isPrinted ? undefined : (values.out ?? join(ROOT, 'BENCHMARKS.md')),
  };
}

const parse = (args: readonly string[]) =>
  parseArguments(args, {
    tests: { type: 'string', short: 't' },
    reps: { type: 'string', short: 'n' },
    sec: { type: 'string' },
    warm: { type: 'string' },
    rates: { type: 'string' },
    hold: { type: 'string' },
    script: { type: 'string', short: 's' },
    quick: { type: 'boolean' },
    out: { type: 'string' },
    print: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });

function testName(text: string): TestName {
  const name = TESTS.find((test) => test === text);
  if (name === undefined) throw new BenchError(`no such test: ${text} (${TESTS.join(',')})`);
  return name;
}

function hostileNames(word: string): string[] {
  const names = Object.keys(HOSTILE_SCRIPTS).filter((name) => name.includes(word));
  if (names.length === 0) throw new BenchError(`no hostile script has ${word} in its name`);
  return names;
}
