/** `culvert capture`: packets of chosen flows, or those that are dropped, as a pcapng file. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { refusal } from '../client.ts';
import { CommandError } from '../command-error.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatBytes, printError } from '../output.ts';

const STDOUT = 1;
/** Packets are for whoever captured them: what clients send is in there. */
const FILE_MODE = 0o600;

interface CaptureFlags extends ClientFlags {
  readonly write: string;
  readonly flow?: string;
  readonly drops?: string | true;
  readonly count?: string;
  readonly seconds?: string;
  readonly snaplen?: string;
}

export function addCapture(program: Command): void {
  withClient(program.command('capture [filter...]'))
    .description('copy packets to a pcapng file; a filter is that of `culvert flows`')
    .option('-w, --write <file>', 'file to write; - is the standard output', '-')
    .option('--flow <id>', 'packets of one flow')
    .option('--drops [reason]', 'only packets that are dropped, for any reason or for one')
    .option('-c, --count <packets>', 'end after so many packets')
    .option('--seconds <seconds>', 'end after so many seconds')
    .option('-s, --snaplen <bytes>', 'bytes of a packet that are kept')
    .addHelpText('after', EXAMPLES)
    .action(capture);
}

const EXAMPLES = `
Examples:
  culvert capture 'dst = 10.0.0.5 and dport = 443' -w https.pcapng
  culvert capture | tcpdump -n -r -
  culvert capture --drops --seconds 10 | tshark -r - -T fields -e frame.comment`;

async function capture(filter: readonly string[], flags: CaptureFlags): Promise<void> {
  const isStdout = flags.write === '-';
  if (isStdout && process.stdout.isTTY) {
    throw new CommandError(
      ExitCode.USAGE,
      'packets are not for a terminal: use -w FILE, or a pipe',
    );
  }
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const path = `/v1/capture?${queryOf(filter, flags)}`;
  const response = await clientOf(flags).send('GET', path, { signal: stop.signal });
  if (!response.ok || response.body === null) throw await refusal(response);
  const fd = isStdout ? STDOUT : openFile(flags.write);
  const written = await copyTo(fd, response.body, stop.signal);
  if (!isStdout) {
    closeSync(fd);
    printError(`${formatBytes(written)} written to ${flags.write}`);
  }
}

function queryOf(filter: readonly string[], flags: CaptureFlags): URLSearchParams {
  const { flow, drops, count, seconds, snaplen } = flags;
  const query = new URLSearchParams({ filter: filter.join(' ') });
  if (drops !== undefined) query.set('drops', drops === true ? 'any' : drops);
  for (const [name, value] of Object.entries({ flow, count, seconds, snaplen })) {
    if (value !== undefined) query.set(name, value);
  }
  return query;
}

function openFile(path: string): number {
  try {
    return openSync(path, 'w', FILE_MODE);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CommandError(ExitCode.FAILED, `cannot write ${path}: ${code}`, { cause });
  }
}

/** Until the end, the signal, or a reader of ours that went away. @returns bytes */
async function copyTo(
  fd: number,
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<number> {
  let written = 0;
  try {
    for await (const bytes of body) {
      writeAll(fd, bytes);
      written += bytes.length;
    }
  } catch (error) {
    if (!signal.aborted && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
  return written;
}

function writeAll(fd: number, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      // A pipe whose reader is slower: nothing else is to be done here meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Bun.sleepSync(1);
    }
  }
}
