/**
 * `npm run bench:scripts`: what scripts cost, and what others notice of hostile ones. Repetitions
 * are the outer loop, and what is compared stands side by side in the inner one.
 */

import { join } from 'node:path';
import { BenchError } from '../command.ts';
import { writeSection } from '../document.ts';
import { awaitIdle } from '../load.ts';
import { describeMachine, describeVersion } from '../machine.ts';
import { RunningPeer } from '../peer.ts';
import {
  BASE_REQUIREMENTS,
  buildGo,
  CACHE,
  checkMachine,
  describeMissing,
  install,
  isThere,
} from '../requirements.ts';
import { takeSamples } from '../sampling.ts';
import { startServer } from '../server.ts';
import type { Topology } from '../topology.ts';
import {
  bulk,
  CARRIERS,
  DECIDERS,
  ECHOES,
  echoed,
  handshakes,
  memory,
  REFUSERS,
  refusals,
} from './cost.ts';
import { HARMLESS, misbehave } from './hostile.ts';
import { parseScriptOptions, type ScriptOptions, USAGE } from './options.ts';
import { peer, peerBehindHostile, startServices } from './peer.ts';
import { MARKERS, renderScriptFailures, renderScriptTables, TITLE } from './report.ts';
import type { ScriptSample, TestName } from './samples.ts';

const SAMPLES_FILE = join(CACHE, 'scripts.jsonl');
/** Bytes are compared in so many pairs for each repetition. */
const PAIRS = 3;
const WARM_UP_RATE = 4000;

type Samples = AsyncGenerator<ScriptSample>;

/** The bench at work: where, and how it is to be done. */
interface Bench {
  readonly topology: Topology;
  readonly folder: string;
  readonly options: ScriptOptions;
}

async function main(): Promise<number> {
  const options = parseScriptOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  checkMachine();
  const needs = [...BASE_REQUIREMENTS, ...peer.requires];
  await install(needs);
  const lacking = needs.filter((need) => !isThere(need));
  if (lacking.length > 0) throw new BenchError(`missing: ${describeMissing(lacking)}`);
  await buildGo('lt');
  const startedAt = new Date();
  const samples = await takeSamples(
    SAMPLES_FILE,
    describeSample,
    async function* (topology, folder) {
      await startServer(topology, folder);
      startServices(topology, folder);
      for (const test of options.tests) yield* TEST_BODIES[test]({ topology, folder, options });
    },
  );
  const section = await renderSection(startedAt, samples);
  console.log(`\n${section}`);
  if (options.report !== undefined) {
    writeSection(options.report, MARKERS, `${TITLE}\n\n${section}`);
  }
  return samples.some(({ error }) => error !== undefined) ? 1 : 0;
}

const TEST_BODIES: Record<TestName, (bench: Bench) => Samples> = {
  refuse: (bench) =>
    withPeer(bench, peer, (running) => {
      return decisions(running, bench.options, 'refuse', REFUSERS, refusals);
    }),
  syn: (bench) =>
    withPeer(bench, peer, (running) => {
      return decisions(running, bench.options, 'syn', DECIDERS, handshakes);
    }),
  bulk: (bench) => withPeer(bench, peer, (running) => bytes(running, bench.options)),
  memory: memories,
  hostile: (bench) => withPeer(bench, peerBehindHostile, (running) => hostilities(running, bench)),
};

async function* withPeer(
  { topology, folder }: Bench,
  chosen: typeof peer,
  samplesOf: (running: RunningPeer) => Samples,
): Samples {
  const running = await RunningPeer.start('culvert', chosen, topology, folder);
  try {
    yield* samplesOf(running);
    running.checkAlive();
  } finally {
    await running.stop();
  }
}

async function* decisions(
  running: RunningPeer,
  { seconds, warmUpSeconds, repetitions, rates }: ScriptOptions,
  test: TestName,
  deciders: Readonly<Record<string, number>>,
  measure: typeof handshakes,
): Samples {
  if (warmUpSeconds > 0) {
    for (const port of Object.values(deciders)) {
      await measure(running, port, WARM_UP_RATE, warmUpSeconds);
    }
  }
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const rate of rates) {
      for (const [row, port] of Object.entries(deciders)) {
        const work = () => measure(running, port, rate, seconds);
        yield await sample({ test, row, rate, repetition }, work);
      }
    }
  }
}

async function* bytes(running: RunningPeer, options: ScriptOptions): Samples {
  const { repetitions, seconds, warmUpSeconds } = options;
  if (warmUpSeconds > 0) {
    for (const port of Object.values(CARRIERS)) await bulk(running, port, warmUpSeconds);
    for (const port of Object.values(ECHOES)) await echoed(running, port, warmUpSeconds);
  }
  const carriers = Object.entries(CARRIERS);
  for (let repetition = 0; repetition < repetitions * PAIRS; repetition++) {
    // A B, B A: a machine that becomes slower must not look like the second being slower.
    for (const [row, port] of repetition % 2 === 0 ? carriers : carriers.toReversed()) {
      yield await sample({ test: 'bulk', row, repetition }, () => bulk(running, port, seconds));
    }
  }
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const [row, port] of Object.entries(ECHOES)) {
      yield await sample({ test: 'bulk', row, repetition }, () => echoed(running, port, seconds));
    }
  }
}

/** Each in a gateway of its own, which has held nothing before. */
async function* memories(bench: Bench): Samples {
  const { repetitions, held } = bench.options;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const [row, port] of Object.entries(ECHOES)) {
      yield* withPeer(bench, peer, async function* (running) {
        yield await sample({ test: 'memory', row, repetition }, () => memory(running, port, held));
      });
    }
  }
}

async function* hostilities(running: RunningPeer, { folder, options }: Bench): Samples {
  const { repetitions, seconds, warmUpSeconds, hostile } = options;
  const gateway = join(folder, 'culvert');
  if (warmUpSeconds > 0) await misbehave(running, gateway, HARMLESS, warmUpSeconds);
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const row of [HARMLESS, ...hostile]) {
      const work = () => misbehave(running, gateway, row, seconds);
      yield await sample({ test: 'hostile', row, repetition }, work);
    }
  }
}

/** What `work` finds, or the message of the BenchError that stood in its way. */
async function sample(
  at: Omit<ScriptSample, 'values' | 'error'>,
  work: () => Promise<ScriptSample['values']>,
): Promise<ScriptSample> {
  await awaitIdle();
  try {
    return { ...at, values: await work() };
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    return { ...at, values: {}, error: error.message };
  }
}

async function renderSection(startedAt: Date, samples: readonly ScriptSample[]): Promise<string> {
  const version = peer.version === undefined ? '' : await describeVersion(peer.version);
  const command = ['npm run bench:scripts --', ...process.argv.slice(2)].join(' ');
  const head = [
    `Date: ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `Machine: ${describeMachine()}`,
    `Version: ${version}`,
    `Command: \`${command.replace(/ --$/, '')}\``,
  ].join('\\\n');
  const failures = renderScriptFailures(samples);
  return [
    head,
    renderScriptTables(samples),
    'Median (lowest..highest) of the repetitions.',
    ...(failures === '' ? [] : [`Failed samples, left out above:\n\n${failures}`]),
  ].join('\n\n');
}

function describeSample({ test, row, rate, repetition, values, error }: ScriptSample): string {
  const told = Object.entries(values).map(([metric, value]) => `${metric} ${value.toFixed(2)}`);
  const what = error === undefined ? told.join(', ') : `FAILED: ${error}`;
  return `${repetition + 1} ${test} ${rate ?? ''} ${row}: ${what}`;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
