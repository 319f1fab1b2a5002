/** Load tools in the client, and the gateway meanwhile. */

import { BenchError, run, waitFor } from './command.ts';
import type { RunningPeer } from './peer.ts';
import { cpuSeconds, machineCpuSeconds } from './procfs.ts';
import { goProgram } from './requirements.ts';
import { SERVER_ADDRESSES } from './server.ts';
import { inside, SERVER_ADDRESS } from './topology.ts';

/** What a load tool may take longer than asked for. */
const TOOL_GRACE_S = 12;

const HOLD_TIMEOUT_S = 60;

/** Cores that may be busy when a test begins, and how long to wait for that. */
const IDLE_CORES = 0.25;
const IDLE_WAIT_S = 6;

/** Waits until the machine has little to do, or has not for a while. */
export const awaitIdle = (): Promise<boolean> => waitFor(IDLE_WAIT_S, isIdle);

/** Runs a load tool in the client; tells what it wrote and the gateway's CPU seconds meanwhile. */
export async function underLoad(
  running: RunningPeer,
  command: readonly string[],
  seconds: number,
): Promise<{ output: string; gatewayCpu: number }> {
  const before = cpuSeconds(await running.pids());
  const timeout = seconds + TOOL_GRACE_S;
  const { code, stdout, stderr } = await run(inside(running.topology.client, command), { timeout });
  const gatewayCpu = cpuSeconds(await running.pids()) - before;
  if (code === -1) throw new BenchError(`${command[0]} had no end within ${timeout} s`);
  if (code !== 0 && stdout === '') {
    throw new BenchError(`${command[0]}: exit code ${code}: ${stderr.trim().slice(-200)}`);
  }
  return { output: stdout, gatewayCpu };
}

/**
 * Opens connections to an echo behind the gateway, looks at what there is to see, and proves that
 * all of them live on.
 *
 * @throws BenchError  when one of them does not
 */
export async function whileHeld<T>(
  { topology }: RunningPeer,
  port: number,
  count: number,
  look: () => Promise<T>,
): Promise<{ opened: HoldAnswer; seen: T }> {
  const target = ['-addr', `${SERVER_ADDRESS}:${port}`, '-ips', `${SERVER_ADDRESSES}`];
  const command = [goProgram('lt'), 'hold', ...target, '-n', `${count}`];
  const child = Bun.spawn(inside(topology.client, command), {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    timeout: HOLD_TIMEOUT_S * 1000,
    killSignal: 'SIGKILL',
  });
  const lines = readLines(child.stdout);
  const opened = await nextAnswer(lines);
  await Bun.sleep(1000);
  const seen = await look();
  child.stdin.write('\n');
  await child.stdin.end();
  const alive = await nextAnswer(lines);
  await child.exited;
  if (opened.ok < count || alive.ok < count) {
    const told = opened.last_error || alive.last_error;
    throw new BenchError(`of ${count}: ${opened.ok} opened, ${alive.ok} lived on: ${told}`);
  }
  return { opened, seen };
}

async function isIdle(): Promise<boolean> {
  const before = machineCpuSeconds();
  await Bun.sleep(400);
  return machineCpuSeconds() - before < IDLE_CORES * 0.4;
}

interface HoldAnswer {
  readonly ok: number;
  readonly sec: number;
  readonly last_error: string;
}

async function nextAnswer(lines: AsyncIterator<string, void>): Promise<HoldAnswer> {
  const line = await lines.next();
  if (line.done === true) throw new BenchError(`lt hold had no end within ${HOLD_TIMEOUT_S} s`);
  return JSON.parse(line.value);
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}
