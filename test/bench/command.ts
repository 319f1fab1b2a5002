/** Starting other programs. */

import { openSync } from 'node:fs';
import { hardFileLimit } from './procfs.ts';

/** The bench cannot go on, or one of its samples failed; the message tells an operator why. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}

export interface Finished {
  /** Exit code; -1 when it was killed, because of the time limit or otherwise. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Seconds after which it is killed. */
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const DEFAULT_TIMEOUT_S = 30;

/** Runs a program to its end. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = Bun.spawn([...command], {
    stdin: new Blob([options.input ?? '']),
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: (options.timeout ?? DEFAULT_TIMEOUT_S) * 1000,
    killSignal: 'SIGKILL',
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { code: child.exitCode ?? -1, stdout, stderr };
}

/**
 * Runs a program that must succeed; returns its standard output.
 *
 * @throws BenchError  with the command and the end of what it wrote
 */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, options);
  if (code !== 0) {
    const told = (stderr.trim() || stdout.trim()).slice(-500);
    throw new BenchError(`${command.join(' ')}: exit code ${code}: ${told}`);
  }
  return stdout;
}

/** Starts a program that goes on, with all the open files it may have; it writes to a log. */
export function launch(command: readonly string[], logFile: string): Bun.Subprocess {
  const log = openSync(logFile, 'a');
  const files = hardFileLimit();
  return Bun.spawn(['prlimit', `--nofile=${files}:${files}`, ...command], {
    stdin: 'ignore',
    stdout: log,
    stderr: log,
  });
}

/** Asks until the answer is yes; false when it was not in time. */
export async function waitFor(
  seconds: number,
  condition: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const end = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > end) return false;
    await Bun.sleep(50);
  }
  return true;
}
