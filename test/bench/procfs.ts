/** What the bench reads from `/proc`: CPU times and memory of processes and of the machine. */

import { readdirSync, readFileSync } from 'node:fs';

/** Ticks per second of the times in `/proc`: USER_HZ, 100 on every port of Linux that Bun has. */
const USER_HZ = 100;

const KTHREADD_PID = 2;

interface Times {
  readonly parent: number;
  /** Ticks, user and system. */
  readonly own: number;
  /** Ticks of the children it has waited for. */
  readonly reaped: number;
}

/** CPU seconds so far of these processes, ended children included; those that are gone count 0. */
export function cpuSeconds(pids: Iterable<number>): number {
  let ticks = 0;
  for (const pid of pids) {
    const times = timesOf(pid);
    if (times !== undefined) ticks += times.own + times.reaped;
  }
  return ticks / USER_HZ;
}

/** CPU seconds so far of the whole machine: user, nice, system, irq and softirq. proc(5). */
export function machineCpuSeconds(): number {
  const first = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  const ticks = first.split(/\s+/).slice(1).map(Number);
  const busy = [0, 1, 2, 5, 6].reduce((sum, i) => sum + (ticks[i] ?? 0), 0);
  return busy / USER_HZ;
}

/** CPU seconds so far of processes that are neither ours nor threads of the kernel. */
export function foreignCpuSeconds(ours: ReadonlySet<number>): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || ours.has(pid)) continue;
    const times = timesOf(pid);
    if (times === undefined || times.parent === KTHREADD_PID) continue;
    // What init has reaped was counted before, in the process itself.
    ticks += pid === 1 ? times.own : times.own + times.reaped;
  }
  return ticks / USER_HZ;
}

/**
 * Memory of these processes together, in KiB: the sum of their proportional set sizes, so that
 * pages that several of them map (code, shared arenas) count once.
 */
export function memoryKib(pids: Iterable<number>): number {
  let sum = 0;
  for (const pid of pids) {
    const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? '');
    sum += Number(pss?.[1] ?? 0);
  }
  return sum;
}

/** Most files that a process here may be allowed to open. */
export function hardFileLimit(): number {
  const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return Number(limit?.[1] ?? 1024);
}

function timesOf(pid: number): Times | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name of the program stands in parentheses and may hold anything: fields count behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = (from: number): number => Number(fields[from]) + Number(fields[from + 1]);
  return { parent: Number(fields[1]), own: ticks(11), reaped: ticks(13) };
}

/** The file's text; undefined when its process ended meanwhile. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
