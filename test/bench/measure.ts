/** The tests. Each puts one kind of load on a running peer and tells what it took. */

import { BenchError } from './command.ts';
import { awaitIdle, underLoad, whileHeld } from './load.ts';
import type { RunningPeer } from './peer.ts';
import { cpuSeconds, foreignCpuSeconds, machineCpuSeconds, memoryKib } from './procfs.ts';
import { goProgram } from './requirements.ts';
import { ECHO_PORT, SERVER_ADDRESSES, UDP_PORT, WEB_PORT } from './server.ts';
import { parseIperf, parseWrk } from './tool-output.ts';
import { SERVER_ADDRESS } from './topology.ts';

export const TESTS = [
  'dl1',
  'ul1',
  'dl8',
  'ul8',
  'conn',
  'lat',
  'http',
  'udp64',
  'udp1400',
  'hold',
] as const;
export type TestName = (typeof TESTS)[number];

/** Those of datagrams, which not every peer carries. */
export const UDP_TESTS: readonly TestName[] = ['udp64', 'udp1400'];

/** What one test found, by metric; the columns of the report name the metrics. */
type Values = Readonly<Record<string, number>>;

export interface Sample {
  readonly peer: string;
  readonly test: TestName;
  readonly repetition: number;
  /** The first of this load that the process has seen; it is measured again when warm. */
  readonly isCold: boolean;
  /** Cores that were busy with other programs of this machine meanwhile. */
  readonly foreignCores: number;
  readonly values: Values;
  /** Why there are no values. */
  readonly error?: string;
}

export interface Load {
  /** Duration of a test. */
  readonly seconds: number;
  /** How long a load runs before it is measured; 0 measures it at once. */
  readonly warmUpSeconds: number;
  /** Connections to hold. */
  readonly held: number;
}

const CONN_WORKERS = 32;
const HTTP_CONNECTIONS = 64;
const PARALLEL_STREAMS = 8;

const TEST_BODIES: Record<TestName, (peer: RunningPeer, load: Load) => Promise<Values>> = {
  dl1: (peer, load) => bulk(peer, load, ['-R']),
  ul1: (peer, load) => bulk(peer, load, []),
  dl8: (peer, load) => bulk(peer, load, ['-R', '-P', `${PARALLEL_STREAMS}`]),
  ul8: (peer, load) => bulk(peer, load, ['-P', `${PARALLEL_STREAMS}`]),
  conn: (peer, load) => connections(peer, load, CONN_WORKERS),
  lat: (peer, load) => connections(peer, load, 1),
  http: keepalive,
  udp64: (peer, load) => datagrams(peer, load, 64),
  udp1400: (peer, load) => datagrams(peer, load, 1400),
  hold,
};

/** One test of one peer; a test that fails is a sample as well. */
export async function sample(
  at: Pick<Sample, 'peer' | 'test' | 'repetition' | 'isCold'>,
  running: RunningPeer,
  load: Load,
): Promise<Sample> {
  await awaitIdle();
  const start = performance.now();
  const foreignBefore = foreignCpuSeconds(await running.topology.pids());
  const outcome = await attempt(async () => {
    const values = await TEST_BODIES[at.test](running, load);
    running.checkAlive();
    return values;
  });
  const foreign = foreignCpuSeconds(await running.topology.pids()) - foreignBefore;
  const foreignCores = Math.max(0, foreign) / ((performance.now() - start) / 1000);
  return { ...at, foreignCores, ...outcome };
}

/** Values, or the message of the BenchError that stood in their way. */
async function attempt(test: () => Promise<Values>): Promise<Pick<Sample, 'values' | 'error'>> {
  try {
    return { values: await test() };
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    return { values: {}, error: error.message };
  }
}

async function bulk(running: RunningPeer, load: Load, flags: readonly string[]): Promise<Values> {
  const command = ['iperf3', '-c', SERVER_ADDRESS, '-J', '-t', `${load.seconds}`, ...flags];
  const machineBefore = machineCpuSeconds();
  const { output, gatewayCpu } = await underLoad(running, command, load.seconds);
  const machineCpu = machineCpuSeconds() - machineBefore;
  const { bytes, bitsPerSecond, retransmits } = parseIperf(output);
  const gigabytes = bytes / 1e9;
  return {
    gbps: bitsPerSecond / 1e9,
    gatewayCpuPerGb: gatewayCpu / gigabytes,
    machineCpuPerGb: machineCpu / gigabytes,
    retransmits,
  };
}

/** New connections, one after the other in each worker: connect, request, reply, close. */
async function connections(running: RunningPeer, load: Load, workers: number): Promise<Values> {
  const target = ['-addr', `${SERVER_ADDRESS}:${WEB_PORT}`, '-ips', `${SERVER_ADDRESSES}`];
  const flags = ['-c', `${workers}`, '-d', `${load.seconds}s`];
  const command = [goProgram('lt'), 'connrate', ...target, ...flags];
  const { output, gatewayCpu } = await underLoad(running, command, load.seconds);
  const answer = JSON.parse(output);
  if (answer.n === 0) throw new BenchError(`no connection succeeded: ${answer.last_error}`);
  return {
    // Over the time asked for: a straggler must not stretch the base.
    perSecond: answer.n / load.seconds,
    p50Us: answer.p50_us,
    p99Us: answer.p99_us,
    gatewayCpuUs: (gatewayCpu * 1e6) / answer.n,
    errors: answer.errors,
  };
}

async function keepalive(running: RunningPeer, load: Load): Promise<Values> {
  const url = `http://${SERVER_ADDRESS}:${WEB_PORT}/`;
  const flags = ['-t', '1', '-c', `${HTTP_CONNECTIONS}`, '-d', `${load.seconds}s`, '--latency'];
  const { output, gatewayCpu } = await underLoad(running, ['wrk', ...flags, url], load.seconds);
  const { requests, perSecond, p50Us, p99Us, errors } = parseWrk(output);
  return { perSecond, p50Us, p99Us, errors, gatewayCpuUs: (gatewayCpu * 1e6) / requests };
}

/** Datagrams per second while none is lost, each way for half of the time. */
async function datagrams(running: RunningPeer, load: Load, bytes: number): Promise<Values> {
  const up = await oneWay(running, load.seconds / 2, bytes, []);
  const down = await oneWay(running, load.seconds / 2, bytes, ['-down']);
  return {
    upPerSecond: up.perSecond,
    downPerSecond: down.perSecond,
    upCpuUs: up.gatewayCpuUs,
    downCpuUs: down.gatewayCpuUs,
    upWindow: up.window,
    downWindow: down.window,
  };
}

async function oneWay(
  running: RunningPeer,
  seconds: number,
  bytes: number,
  flags: readonly string[],
) {
  const { topology } = running;
  const target = ['-addr', `${SERVER_ADDRESS}:${UDP_PORT}`];
  const far = ['-server-ns', `/run/netns/${topology.server}`];
  const load = ['-size', `${bytes}`, '-d', `${seconds}s`, ...flags];
  const command = [goProgram('lt'), 'udp', ...target, ...far, ...load];
  const { output, gatewayCpu } = await underLoad(running, command, seconds);
  const answer = JSON.parse(output);
  if (answer.pps === 0) throw new BenchError(`lt udp: every window lost some of ${answer.n}`);
  return {
    perSecond: answer.pps,
    window: answer.window,
    gatewayCpuUs: (gatewayCpu * 1e6) / answer.n,
  };
}

/** Memory of the gateway with connections open and idle, each proven by an echo. */
async function hold(running: RunningPeer, load: Load): Promise<Values> {
  const count = Math.min(load.held, running.peer.maxHeld ?? load.held);
  const kibBefore = memoryKib(await running.pids());
  const { opened, seen } = await whileHeld(running, ECHO_PORT, count, async () => {
    const pids = await running.pids();
    const kib = memoryKib(pids);
    const cpuBefore = cpuSeconds(pids);
    await Bun.sleep(1000);
    return { kib, idleCpu: cpuSeconds(pids) - cpuBefore };
  });
  return {
    held: count,
    openSeconds: opened.sec,
    idleMib: kibBefore / 1024,
    heldMib: seen.kib / 1024,
    kibPerConnection: (seen.kib - kibBefore) / count,
    idleCpuPercent: seen.idleCpu * 100,
  };
}
