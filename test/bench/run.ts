/**
 * `npm run bench`: measures gateways side by side. The repetitions are the outer loop and the peers
 * the inner one, so that every peer sees the same drift of the machine.
 */

import { join } from 'node:path';
import { BenchError } from './command.ts';
import { writeSection } from './document.ts';
import { describeMachine, describeVersion } from './machine.ts';
import { type Sample, sample, UDP_TESTS } from './measure.ts';
import { type Options, PEER_FOLDER, parseOptions, USAGE } from './options.ts';
import { type Peer, RunningPeer } from './peer.ts';
import { MARKERS, renderFailures, renderTables } from './report.ts';
import {
  BASE_REQUIREMENTS,
  buildGo,
  CACHE,
  checkMachine,
  describeMissing,
  GVISOR,
  install,
  isThere,
} from './requirements.ts';
import { takeSamples } from './sampling.ts';
import { startServer } from './server.ts';
import type { Topology } from './topology.ts';

const SAMPLES_FILE = join(CACHE, 'samples.jsonl');

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  checkMachine();
  const wanted = await loadPeers(options.peers);
  await install([...BASE_REQUIREMENTS, ...[...wanted.values()].flatMap((peer) => peer.requires)]);
  const lacking = BASE_REQUIREMENTS.filter((need) => !isThere(need));
  if (lacking.length > 0) throw new BenchError(`missing: ${describeMissing(lacking)}`);
  const { peers, missing } = selectPeers(wanted);
  for (const line of missing) console.error(`not measured: ${line}`);
  if (peers.size === 0) throw new BenchError('no peer is left to measure');
  await buildGo('lt');
  if ([...peers.values()].some((peer) => peer.requires.includes(GVISOR))) await buildGo('gvfwd');

  const startedAt = new Date();
  const samples = await measureAll(peers, options);
  const section = await renderSection(startedAt, peers, missing, samples);
  console.log(`\n${section}`);
  if (options.report !== undefined) writeSection(options.report, MARKERS, section);
  return missing.length > 0 || samples.some((s) => s.error !== undefined) ? 1 : 0;
}

const measureAll = (peers: ReadonlyMap<string, Peer>, options: Options): Promise<Sample[]> =>
  takeSamples(SAMPLES_FILE, describeSample, async function* (topology, folder) {
    await startServer(topology, folder);
    for (let repetition = 0; repetition < options.repetitions; repetition++) {
      for (const [name, peer] of peers) {
        yield* measurePeer(name, peer, repetition, topology, folder, options);
      }
    }
  });

/** All tests of one peer in one repetition. After a failed test it goes on with a fresh process. */
async function* measurePeer(
  name: string,
  peer: Peer,
  repetition: number,
  topology: Topology,
  folder: string,
  options: Options,
): AsyncGenerator<Sample> {
  let running: RunningPeer | undefined;
  try {
    for (const { test, isCold, seconds } of phasesOf(peer, options)) {
      const at = { peer: name, test, repetition, isCold };
      try {
        running ??= await RunningPeer.start(name, peer, topology, folder);
      } catch (error) {
        if (!(error instanceof BenchError)) throw error;
        yield { ...at, foreignCores: 0, values: {}, error: error.message };
        continue;
      }
      const taken = await sample(at, running, { ...options.load, seconds });
      yield taken;
      if (taken.error !== undefined) {
        await running.stop();
        running = undefined;
      }
    }
  } finally {
    await running?.stop();
  }
}

/** Each load, for a peer that warms up cold first; but held connections cost their memory once. */
function phasesOf({ warmsUp = false, tcpOnly = false }: Peer, { tests, load }: Options) {
  const { seconds, warmUpSeconds } = load;
  const possible = tests.filter((test) => !tcpOnly || !UDP_TESTS.includes(test));
  return possible.flatMap((test) => {
    const warm = { test, isCold: false, seconds };
    if (!warmsUp || warmUpSeconds === 0 || test === 'hold') return [warm];
    return [{ test, isCold: true, seconds: warmUpSeconds }, warm];
  });
}

async function loadPeers(names: readonly string[]): Promise<Map<string, Peer>> {
  const peers = new Map<string, Peer>();
  for (const name of names) {
    peers.set(name, (await import(join(PEER_FOLDER, `${name}.ts`))).peer);
  }
  return peers;
}

/** Those that can run here, and why the others cannot. */
function selectPeers(wanted: ReadonlyMap<string, Peer>) {
  const peers = new Map<string, Peer>();
  const missing: string[] = [];
  for (const [name, peer] of wanted) {
    const lacking = peer.requires.filter((need) => !isThere(need));
    if (lacking.length === 0) peers.set(name, peer);
    else missing.push(`${name}: missing ${describeMissing(lacking)}`);
  }
  return { peers, missing };
}

async function renderSection(
  startedAt: Date,
  peers: ReadonlyMap<string, Peer>,
  missing: readonly string[],
  samples: readonly Sample[],
): Promise<string> {
  const lines = [
    `Date: ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `Machine: ${describeMachine()}`,
    `Command: \`${['npm run bench --', ...process.argv.slice(2)].join(' ').replace(/ --$/, '')}\``,
  ];
  const about: string[] = [];
  for (const [name, peer] of peers) {
    const version = peer.version === undefined ? '' : `; ${await describeVersion(peer.version)}`;
    about.push(`- **${name}**: ${peer.about}${version}`);
  }
  const failures = renderFailures(samples);
  return [
    lines.join('\\\n'),
    about.join('\n'),
    ...missing.map((line) => `Not measured: ${line}`),
    renderTables(samples),
    ...(failures === '' ? [] : [`Failed samples, left out above:\n\n${failures}`]),
  ].join('\n\n');
}

function describeSample(taken: Sample): string {
  const { peer, test, repetition, isCold, foreignCores, values, error } = taken;
  const told = Object.entries(values).map(([metric, value]) => `${metric} ${value.toFixed(2)}`);
  const what = error === undefined ? told.join(', ') : `FAILED: ${error}`;
  const load = isCold ? `cold ${test}` : test;
  return `${repetition + 1} ${peer} ${load}: ${what} (foreign ${foreignCores.toFixed(2)})`;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
