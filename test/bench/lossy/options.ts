/** The command line of the lossy bench. */

import { join } from 'node:path';
import { count, parseArguments } from '../arguments.ts';
import { BenchError } from '../command.ts';
import { ROOT } from '../requirements.ts';
import { FAULTS, ROUND_TRIPS_MS } from './link.ts';
import { PATHS, type PathName } from './paths.ts';

export interface LossyOptions {
  readonly paths: readonly PathName[];
  readonly roundTrips: readonly number[];
  /** Names of faults. */
  readonly faults: readonly string[];
  readonly repetitions: number;
  readonly seconds: number;
  /** Rate of the link, in Mbit/s. */
  readonly megabits: number;
  /** File with the section to replace; none when the table is only printed. */
  readonly report: string | undefined;
}

const FULL = { repetitions: 3, seconds: 6 };
const QUICK = { repetitions: 1, seconds: 3 };
const MEGABITS = 100;

export const USAGE = `npm run bench:lossy -- [options] [path ...]

Measures goodput over a link that delays, loses, reorders and doubles packets.
Paths: ${PATHS.join(', ')} (all)

  -r, --rtt LIST    round-trip times in ms, of ${ROUND_TRIPS_MS.join(',')} (all)
  -f, --fault WORD  only faults with this word in their name, of
                    ${FAULTS.map(({ name }) => name).join(', ')}
      --rate N      of the link, in Mbit/s (${MEGABITS})
  -n, --reps N      repetitions, the outer loop (${FULL.repetitions})
      --sec N       seconds of each transfer (${FULL.seconds})
      --quick       as -n ${QUICK.repetitions} --sec ${QUICK.seconds} --print
      --out FILE    write the table there, as a section between markers (BENCHMARKS.md)
      --print       print it only
  -h, --help        this text`;

/** @returns undefined when help was asked for. @throws BenchError for what is not understood */
export function parseLossyOptions(args: readonly string[]): LossyOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true) return undefined;
  const usual = values.quick === true ? QUICK : FULL;
  const isPrinted = values.print === true || (values.quick === true && values.out === undefined);
  return {
    paths: positionals.length > 0 ? positionals.map(pathName) : PATHS,
    roundTrips: values.rtt === undefined ? ROUND_TRIPS_MS : values.rtt.split(',').map(roundTrip),
    faults: faultNames(values.fault ?? ''),
    repetitions: count('-n', values.reps, usual.repetitions),
    seconds: count('--sec', values.sec, usual.seconds),
    megabits: count('--rate', values.rate, MEGABITS),
    report: isPrinted ? undefined : (values.out ?? join(ROOT, 'BENCHMARKS.md')),
  };
}

const parse = (args: readonly string[]) =>
  parseArguments(args, {
    rtt: { type: 'string', short: 'r' },
    fault: { type: 'string', short: 'f' },
    rate: { type: 'string' },
    reps: { type: 'string', short: 'n' },
    sec: { type: 'string' },
    quick: { type: 'boolean' },
    out: { type: 'string' },
    print: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });

function pathName(text: string): PathName {
  const name = PATHS.find((path) => path === text);
  if (name === undefined) throw new BenchError(`no such path: ${text} (${PATHS.join(', ')})`);
  return name;
}

function roundTrip(text: string): number {
  const ms = ROUND_TRIPS_MS.find((known) => `${known}` === text);
  if (ms === undefined) throw new BenchError(`--rtt ${text}: not of ${ROUND_TRIPS_MS.join(',')}`);
  return ms;
}

function faultNames(word: string): string[] {
  const names = FAULTS.map(({ name }) => name).filter((name) => name.includes(word));
  if (names.length === 0) throw new BenchError(`no fault has ${word} in its name`);
  return names;
}
