/** What a process holds, as /proc tells it. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  /** Resident memory that no file and no other process has, in KiB. */
  readonly anonymousKib: number;
  /** Resident pages of mappings that several processes share, in KiB. */
  readonly sharedKib: number;
  /** Open files. */
  readonly fds: number;
  /** Memories of WebAssembly, by the addresses that are reserved for each. */
  readonly sandboxes: number;
}

/** JavaScriptCore reserves as much for the memory of an instance, so that it can grow in place. */
const SANDBOX_BYTES_MIN = 3 * 2 ** 30;

export function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (field: string): number =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN);
  return {
    anonymousKib: kib('RssAnon'),
    sharedKib: kib('RssShmem'),
    fds: readdirSync(`/proc/${pid}/fd`).length,
    sandboxes: readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').filter(isSandbox).length,
  };
}

/** `55d0c0a00000-55d0c0a21000 rw-p …` */
function isSandbox(line: string): boolean {
  const [from = 0, to = 0] = (line.split(' ', 1)[0] ?? '')
    .split('-')
    .map((hex) => parseInt(hex, 16));
  return to - from >= SANDBOX_BYTES_MIN;
}
