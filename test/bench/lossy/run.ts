/**
 * `npm run bench:lossy`: goodput over a link that delays, loses, reorders and doubles packets,
 * with culvert, with HAProxy and with nothing but the kernel behind it. Paths are the innermost
 * loop, and the link treats the packets of each by the same random numbers.
 */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, launch, must, run, waitFor } from '../command.ts';
import { writeSection } from '../document.ts';
import { describeMachine, describeVersion } from '../machine.ts';
import { CACHE, checkMachine, describeMissing, install, isThere } from '../requirements.ts';
import { takeSamples } from '../sampling.ts';
import { parseIperf } from '../tool-output.ts';
import { inside, type Topology } from '../topology.ts';
import {
  CONGESTION_CONTROL,
  FAULTS,
  type Fault,
  Link,
  laneShape,
  ROUND_TRIPS_MS,
  removeVeth,
  useCongestionControl,
} from './link.ts';
import { type LossyOptions, parseLossyOptions, USAGE } from './options.ts';
import { ADDRESSES, PATH_ABOUT, PATH_PEERS, type PathName, startPaths } from './paths.ts';
import { type Direction, type LossySample, MARKERS, renderCells, TITLE } from './report.ts';

const SAMPLES_FILE = join(CACHE, 'lossy-samples.jsonl');

/** Of iperf3, on each end of the test; it may also wait for a reply over a link that loses it. */
const GRACE_S = 20;
const FIRST_PORT = 5300;

const SETTINGS = [
  // What one connection learned of the link must not help the next.
  'net.ipv4.tcp_no_metrics_save=1',
  // Buffers for the bandwidth-delay product and the queue, several times.
  'net.ipv4.tcp_rmem=4096 131072 33554432',
  'net.ipv4.tcp_wmem=4096 262144 33554432',
];

const REQUIREMENTS = ['ip', 'sysctl', 'prlimit', 'chrt', 'nft', 'iperf3'] as const;
const PACKAGES = {
  ip: 'iproute2',
  sysctl: 'procps',
  prlimit: 'util-linux',
  chrt: 'util-linux',
  nft: 'nftables',
};

let nextPort = FIRST_PORT;

async function main(): Promise<number> {
  const options = parseLossyOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  checkMachine();
  await checkRequirements(options.paths);
  mkdirSync(CACHE, { recursive: true });
  const startedAt = new Date();
  const samples = await measureAll(options);
  const section = await renderSection(startedAt, options, samples);
  console.log(`\n${section}`);
  if (options.report !== undefined) {
    writeSection(
      options.report,
      MARKERS,
      `${TITLE}

${section}`,
    );
  }
  return samples.some(({ error }) => error !== undefined) ? 1 : 0;
}

async function checkRequirements(paths: readonly PathName[]): Promise<void> {
  const needs = [
    ...REQUIREMENTS.map((path) => ({
      path,
      debian: PACKAGES[path as keyof typeof PACKAGES] ?? path,
    })),
    ...paths.flatMap((name) => PATH_PEERS[name]?.requires ?? []),
  ];
  await install(needs);
  const missing = needs.filter((need) => !isThere(need));
  if (missing.length > 0) throw new BenchError(`missing: ${describeMissing(missing)}`);
}

const measureAll = (options: LossyOptions): Promise<LossySample[]> =>
  takeSamples(SAMPLES_FILE, describeSample, async function* (topology, folder) {
    await removeVeth(topology);
    for (const namespace of [topology.client, topology.gateway, topology.server]) {
      await must(inside(namespace, ['sysctl', '-q', '-w', ...SETTINGS]));
    }
    await useCongestionControl(topology);
    await startPaths(topology, options.paths, folder);
    yield* cells(topology, options, folder);
  });

async function* cells(
  topology: Topology,
  options: LossyOptions,
  folder: string,
): AsyncGenerator<LossySample> {
  for (let repetition = 0; repetition < options.repetitions; repetition++) {
    for (const roundTripMs of ROUND_TRIPS_MS.filter((ms) => options.roundTrips.includes(ms))) {
      for (const [index, fault] of FAULTS.entries()) {
        if (!options.faults.includes(fault.name)) continue;
        for (const direction of ['down', 'up'] as const) {
          for (const path of options.paths) {
            const seed = (repetition * 100 + roundTripMs) * 10 + index + 1;
            const at = { path, direction, roundTripMs, fault: fault.name, repetition };
            yield await measure(topology, options, folder, at, fault, seed);
          }
        }
      }
    }
  }
}

type Place = Omit<LossySample, 'megabits' | 'relay' | 'error'>;

/** One transfer over a link of its own; one that fails is a sample as well. */
async function measure(
  topology: Topology,
  options: LossyOptions,
  folder: string,
  at: Place,
  fault: Fault,
  seed: number,
): Promise<LossySample> {
  const port = nextPort++;
  const shape = laneShape(options.megabits, at.roundTripMs, fault);
  const link = await Link.open(topology, shape, seed);
  const server = launch(
    inside(topology.server, ['iperf3', '-s', '-1', '-p', `${port}`]),
    join(folder, 'iperf3-server.log'),
  );
  let megabits = 0;
  let error: string | undefined;
  try {
    await awaitListener(topology, port);
    megabits = await transfer(topology, ADDRESSES[at.path], port, at.direction, options.seconds);
  } catch (cause) {
    if (!(cause instanceof BenchError)) throw cause;
    error = cause.message;
  }
  server.kill('SIGKILL');
  await server.exited;
  const relay = await link.close();
  return { ...at, megabits, relay, ...(error === undefined ? {} : { error }) };
}

/** @returns goodput at the receiver, in Mbit/s */
async function transfer(
  topology: Topology,
  address: string,
  port: number,
  direction: Direction,
  seconds: number,
): Promise<number> {
  // Small blocks, since a block counts when it is whole.
  const block = ['-l', '16K'];
  const client = ['iperf3', '-c', address, '-p', `${port}`, '-t', `${seconds}`, '-J', ...block];
  if (direction === 'down') client.push('-R');
  const { stdout } = await run(inside(topology.client, client), { timeout: seconds + GRACE_S });
  return parseIperf(stdout).bitsPerSecond / 1e6;
}

async function awaitListener(topology: Topology, port: number): Promise<void> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const isListening = async (): Promise<boolean> => {
    const { stdout } = await run(
      inside(topology.server, ['cat', '/proc/net/tcp', '/proc/net/tcp6']),
    );
    return new RegExp(`:${hex} 0+:0000 0A`).test(stdout);
  };
  if (!(await waitFor(5, isListening))) throw new BenchError('the iperf3 server does not listen');
}

async function renderSection(
  startedAt: Date,
  options: LossyOptions,
  samples: readonly LossySample[],
): Promise<string> {
  const words = ['npm run bench:lossy --', ...process.argv.slice(2)];
  const command = words.join(' ').replace(/ --$/, '');
  const head = [
    `Date: ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `Machine: ${describeMachine()}; every kernel here uses ${CONGESTION_CONTROL}`,
    `Command: \`${command}\``,
    `Link: ${options.megabits} Mbit/s each way, a queue of 1000 packets, MTU 1500`,
    `Transfer: 1 stream for ${options.seconds} s, ${options.repetitions} times`,
  ];
  const about: string[] = [];
  for (const path of options.paths) {
    const source = PATH_PEERS[path]?.version;
    const version = source === undefined ? '' : `; ${await describeVersion(source)}`;
    about.push(`- **${path}**: ${PATH_ABOUT[path]}${version}`);
  }
  return [head.join('\\\n'), about.join('\n'), renderCells(samples)].join('\n\n');
}

function describeSample(sample: LossySample): string {
  const { repetition, roundTripMs, fault, direction, path, megabits, relay, error } = sample;
  const lane = direction === 'down' ? relay.down : relay.up;
  const what = error === undefined ? `${megabits.toFixed(2)} Mbit/s` : `FAILED: ${error}`;
  const link = `lost ${lane.lost}, overflowed ${lane.overflowed}, jitter ${relay.latestUs} µs`;
  return `${repetition + 1} ${roundTripMs} ms, ${fault}, ${direction} ${path}: ${what} (${link})`;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
