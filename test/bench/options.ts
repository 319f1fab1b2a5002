/** The command line of the bench. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { count, parseArguments } from './arguments.ts';
import { BenchError } from './command.ts';
import { type Load, TESTS, type TestName } from './measure.ts';
import { ROOT } from './requirements.ts';

export interface Options {
  readonly peers: readonly string[];
  readonly tests: readonly TestName[];
  readonly repetitions: number;
  readonly load: Load;
  /** File with the section to replace; none when the tables are only printed. */
  readonly report: string | undefined;
}

export const PEER_FOLDER = join(import.meta.dir, 'peers');

/** Those of a run that names none, in the order of the tables. */
const DEFAULT_PEERS = [
  'culvert',
  'culvert-nat',
  'routed',
  'nginx-stream',
  'haproxy',
  'gvisor-gso',
  'gvisor',
  'pasta',
];

const FULL = { repetitions: 3, seconds: 4, warmUpSeconds: 6, held: 9500 };
const QUICK = { repetitions: 1, seconds: 1, warmUpSeconds: 0, held: 1000 };

const asOptions = ({ repetitions, seconds, warmUpSeconds, held }: typeof QUICK): string =>
  `-n ${repetitions} --sec ${seconds} --warm ${warmUpSeconds} --hold ${held}`;

export const USAGE = `npm run bench -- [options] [peer ...]

Measures gateways side by side and writes the tables into BENCHMARKS.md.
Peers: ${peerNames().join(', ')}
Without names: ${DEFAULT_PEERS.join(', ')}

  -t, --tests LIST   of ${TESTS.join(',')} (all)
  -n, --reps N       repetitions, the outer loop (${FULL.repetitions})
      --sec N        seconds of each test (${FULL.seconds})
      --warm N       seconds of a load before it counts, where needed (${FULL.warmUpSeconds})
      --hold N       connections of the hold test (${FULL.held})
      --quick        as ${asOptions(QUICK)} --print
      --out FILE     write the tables there, as a section between markers (BENCHMARKS.md)
      --print        only print the tables
  -h, --help`;

/** Undefined when the help is asked for. @throws BenchError  naming the wrong argument */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parse(args);
  if (values.help === true) return undefined;
  const usual = values.quick === true ? QUICK : FULL;
  const known = peerNames();
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new BenchError(`no such peer: ${unknown.join(', ')} (there are ${known.join(', ')})`);
  }
  const quiet = values.print === true || (values.quick === true && values.out === undefined);
  return {
    peers: positionals.length > 0 ? positionals : DEFAULT_PEERS,
    tests: (values.tests?.split(',') ?? TESTS).map(testName),
    repetitions: count('-n', values.reps, usual.repetitions),
    load: {
      seconds: count('--sec', values.sec, usual.seconds),
      warmUpSeconds: count('--warm', values.warm, usual.warmUpSeconds, 0),
      held: count('--hold', values.hold, usual.held),
    },
    report: quiet ? undefined : (values.out ?? join(ROOT, 'BENCHMARKS.md')),
  };
}

const parse = (args: readonly string[]) =>
  parseArguments(args, {
    tests: { type: 'string', short: 't' },
    reps: { type: 'string', short: 'n' },
    sec: { type: 'string' },
    warm: { type: 'string' },
    hold: { type: 'string' },
    quick: { type: 'boolean' },
    out: { type: 'string' },
    print: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });

function peerNames(): string[] {
  const files = readdirSync(PEER_FOLDER).filter((file) => file.endsWith('.ts'));
  return files.map((file) => file.slice(0, -'.ts'.length)).sort();
}

function testName(text: string): TestName {
  const name = TESTS.find((test) => test === text);
  if (name === undefined) throw new BenchError(`no such test: ${text} (${TESTS.join(',')})`);
  return name;
}
