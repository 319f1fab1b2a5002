/** What scripts cost: decisions, bytes that they carry, memory of what they claim. */
import { readFileSync } from 'node:fs';
import { BenchError } from '../command.ts';
import { underLoad, whileHeld } from '../load.ts';
import type { RunningPeer } from '../peer.ts';
import { memoryKib } from '../procfs.ts';
import { goProgram } from '../requirements.ts';
import { SERVER_ADDRESSES } from '../server.ts';
import { parseIperf } from '../tool-output.ts';
import { SERVER_ADDRESS } from '../topology.ts';
import { Port } from './peer.ts';

type Values = Readonly<Record<string, number>>;

/** Ways to decide; the first is what the others are compared with. */
export const DECIDERS = {
  'a listener': Port.DIAL_LISTENER,
  'a script': Port.DIAL_SYNC,
  'an async script': Port.ASYNC,
  'a counter in KV': Port.KV,
  'a set of 100,000 networks': Port.SET,
  'a claim': Port.CLAIM,
} as const;

/** The same without a dial: the answer is a reset. */
export const REFUSERS = {
  'a listener': Port.REFUSE_LISTENER,
  'a script': Port.REFUSE_SYNC,
  'an async script': Port.REFUSE_ASYNC,
  'a counter in KV': Port.REFUSE_KV,
  'a set of 100,000 networks': Port.REFUSE_SET,
} as const;

/** Ways to carry bytes up and down with iperf3; each is run beside the first, in turn. */
export const CARRIERS = {
  'forward()': Port.FORWARD_BULK,
  'a spliced claim': Port.SPLICE_BULK,
} as const;

/** Echoes, by who carries or makes them. */
export const ECHOES = {
  'forward()': Port.SYNC,
  'a spliced claim': Port.SPLICE,
  'the script itself': Port.ECHO,
} as const;

/** From SYN to SYN-ACK at a fixed rate. */
export async function handshakes(
  running: RunningPeer,
  port: number,
  rate: number,
  seconds: number,
): Promise<Values> {
  const { answer, values } = await newFlows('syn', running, port, rate, seconds);
  const failed = answer.refused + answer.skipped + answer.unanswered;
  return { ...values, retransmitted: answer.retransmitted, failed };
}

/** From a bare SYN to the reset that answers it, at a fixed rate. */
export async function refusals(
  running: RunningPeer,
  port: number,
  rate: number,
  seconds: number,
): Promise<Values> {
  const { answer, values } = await newFlows('ask', running, port, rate, seconds);
  return { ...values, failed: answer.unanswered };
}

/** Flows without a figure; `ask` knows of the unanswered only. */
type Failures = Readonly<Record<'unanswered' | 'refused' | 'skipped' | 'retransmitted', number>>;

/** What a load that begins flows at a fixed rate says, and what all such loads say alike. */
async function newFlows(
  load: 'syn' | 'ask',
  running: RunningPeer,
  port: number,
  rate: number,
  seconds: number,
): Promise<{ answer: Failures; values: Values }> {
  const target = ['-addr', `${SERVER_ADDRESS}:${port}`, '-ips', `${SERVER_ADDRESSES}`];
  const command = [goProgram('lt'), load, ...target, '-rate', `${rate}`, '-d', `${seconds}s`];
  const { output, gatewayCpu } = await underLoad(running, command, seconds);
  const answer = JSON.parse(output);
  if (answer.n === 0) throw new BenchError('no SYN was answered');
  return {
    answer,
    values: {
      perSecond: answer.per_second,
      p50Us: answer.p50_us,
      p99Us: answer.p99_us,
      gatewayCpuUs: (gatewayCpu * 1e6) / answer.n,
    },
  };
}

/** One stream each way, one after the other. */
export async function bulk(running: RunningPeer, port: number, seconds: number): Promise<Values> {
  const one = async (flags: readonly string[]): Promise<number> => {
    const target = ['-c', SERVER_ADDRESS, '-p', `${port}`];
    const command = ['iperf3', ...target, '-J', '-t', `${seconds}`, ...flags];
    return parseIperf((await underLoad(running, command, seconds)).output).bitsPerSecond / 1e9;
  };
  return { down: await one(['-R']), up: await one([]) };
}

/** What one connection to an echo gives back. */
export async function echoed(running: RunningPeer, port: number, seconds: number): Promise<Values> {
  const target = ['-addr', `${SERVER_ADDRESS}:${port}`, '-d', `${seconds}s`];
  const command = [goProgram('lt'), 'pump', ...target];
  const { output, gatewayCpu } = await underLoad(running, command, seconds);
  const answer = JSON.parse(output);
  if (answer.bytes === 0 || answer.last_error !== '') throw new BenchError(answer.last_error);
  return {
    echoed: (answer.bytes * 8) / answer.sec / 1e9,
    echoCpuPerGb: gatewayCpu / (answer.bytes / 1e9),
  };
}

/** What each process takes for a connection that is open and idle, in KiB. */
export async function memory(running: RunningPeer, port: number, held: number): Promise<Values> {
  // Whatever the first connections of a process make for all others.
  await whileHeld(running, port, Math.ceil(held / 10), async () => {});
  const before = await memoryByProcess(running);
  const { seen } = await whileHeld(running, port, held, () => memoryByProcess(running));
  const perConn = (of: keyof ProcessMemory): number => (seen[of] - before[of]) / held;
  return {
    dataPlane: perConn('dataPlane'),
    scriptHost: perConn('scriptHost'),
    supervisor: perConn('supervisor'),
  };
}

interface ProcessMemory {
  readonly supervisor: number;
  readonly dataPlane: number;
  readonly scriptHost: number;
}

async function memoryByProcess(running: RunningPeer): Promise<ProcessMemory> {
  const pids = await running.pids();
  const of = (kind: string) => memoryKib(pids.filter((pid) => commandOf(pid).includes(kind)));
  return {
    supervisor: of('\0run\0'),
    dataPlane: of('__data-plane'),
    scriptHost: of('__script-host'),
  };
}

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, 'latin1');
