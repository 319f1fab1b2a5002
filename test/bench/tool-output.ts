/** What iperf3 and wrk print, parsed. */

import { BenchError } from './command.ts';

export interface IperfResult {
  readonly bytes: number;
  readonly bitsPerSecond: number;
  readonly retransmits: number;
}

/** Reads `iperf3 -J`, the receiver's sum. @throws BenchError  when it moved nothing */
export function parseIperf(text: string): IperfResult {
  const report = parseJson(text);
  const received = report?.end?.sum_received;
  if (report === undefined || report.error !== undefined || !(Number(received?.bytes) > 0)) {
    throw new BenchError(`iperf3: ${report?.error ?? 'moved nothing'}`);
  }
  return {
    bytes: Number(received?.bytes),
    bitsPerSecond: Number(received?.bits_per_second),
    retransmits: report.end?.sum_sent?.retransmits ?? 0,
  };
}

export interface WrkResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of sockets, and replies that were not 2xx or 3xx. */
  readonly errors: number;
}

/** Reads `wrk --latency`. @throws BenchError  when no request was answered */
export function parseWrk(text: string): WrkResult {
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  if (requests === 0) throw new BenchError(`wrk: no reply: ${text.trim().slice(-200)}`);
  const socketErrors = /Socket errors: (.*)/.exec(text)?.[1] ?? '';
  const counts = [...socketErrors.matchAll(/\d+/g)].map(Number);
  const badReplies = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0);
  return {
    requests,
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p50Us: microseconds(/ 50%\s+(\S+)/.exec(text)?.[1] ?? ''),
    p99Us: microseconds(/ 99%\s+(\S+)/.exec(text)?.[1] ?? ''),
    errors: counts.reduce((sum, n) => sum + n, badReplies),
  };
}

const MICROSECONDS = new Map([
  ['us', 1],
  ['ms', 1e3],
  ['s', 1e6],
  ['m', 6e7],
]);

/** `1.25ms` is 1250; NaN for anything else. */
function microseconds(text: string): number {
  const [, value, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text) ?? [];
  return Number(value) * (MICROSECONDS.get(unit ?? '') ?? Number.NaN);
}

interface IperfReport {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: { readonly bytes?: number; readonly bits_per_second?: number };
    readonly sum_sent?: { readonly retransmits?: number };
  };
}

function parseJson(text: string): IperfReport | undefined {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
