/** From samples to the tables of BENCHMARKS.md. */

import type { Markers } from './document.ts';
import type { Sample, TestName } from './measure.ts';

interface Column {
  readonly title: string;
  readonly test: TestName;
  readonly metric: string;
  /** Of the first samples of a load, not of those that count. */
  readonly isCold: boolean;
}

interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
}

/** Fewest foreign cores that make a sample doubtful. */
const DOUBTFUL_CORES = 0.3;

export const MARKERS: Markers = {
  name: 'bench',
  begin: '<!-- bench:begin: written by `npm run bench` -->',
  end: '<!-- bench:end -->',
};

const column = (title: string, test: TestName, metric: string): Column => ({
  title,
  test,
  metric,
  isCold: false,
});
const coldColumn = (title: string, test: TestName, metric: string): Column => ({
  ...column(title, test, metric),
  isCold: true,
});

const TABLES: readonly Table[] = [
  {
    title: 'Bulk throughput, Gbit/s',
    columns: [
      column('down, 1 stream', 'dl1', 'gbps'),
      column('up, 1 stream', 'ul1', 'gbps'),
      column('down, 8 streams', 'dl8', 'gbps'),
      column('up, 8 streams', 'ul8', 'gbps'),
    ],
  },
  {
    title: 'CPU seconds per GB',
    columns: [
      column('gateway, down 1', 'dl1', 'gatewayCpuPerGb'),
      column('up 1', 'ul1', 'gatewayCpuPerGb'),
      column('down 8', 'dl8', 'gatewayCpuPerGb'),
      column('up 8', 'ul8', 'gatewayCpuPerGb'),
      column('machine, down 1', 'dl1', 'machineCpuPerGb'),
      column('up 1', 'ul1', 'machineCpuPerGb'),
      column('down 8', 'dl8', 'machineCpuPerGb'),
      column('up 8', 'ul8', 'machineCpuPerGb'),
    ],
  },
  {
    title: 'New connections',
    columns: [
      column('conn/s', 'conn', 'perSecond'),
      column('p50 µs', 'conn', 'p50Us'),
      column('p99 µs', 'conn', 'p99Us'),
      column('gateway CPU µs/conn', 'conn', 'gatewayCpuUs'),
      column('errors', 'conn', 'errors'),
      column('unloaded p50 µs', 'lat', 'p50Us'),
      column('unloaded p99 µs', 'lat', 'p99Us'),
    ],
  },
  {
    title: 'HTTP with keepalive, 64 connections',
    columns: [
      column('req/s', 'http', 'perSecond'),
      column('p50 µs', 'http', 'p50Us'),
      column('p99 µs', 'http', 'p99Us'),
      column('gateway CPU µs/req', 'http', 'gatewayCpuUs'),
      column('errors', 'http', 'errors'),
    ],
  },
  {
    title: 'UDP: datagrams per second without loss',
    columns: [
      column('64 B up', 'udp64', 'upPerSecond'),
      column('64 B down', 'udp64', 'downPerSecond'),
      column('1400 B up', 'udp1400', 'upPerSecond'),
      column('1400 B down', 'udp1400', 'downPerSecond'),
      column('gateway CPU µs, 64 B up', 'udp64', 'upCpuUs'),
      column('64 B down', 'udp64', 'downCpuUs'),
      column('1400 B up', 'udp1400', 'upCpuUs'),
      column('1400 B down', 'udp1400', 'downCpuUs'),
    ],
  },
  {
    title: 'The first seconds of each load, before all is compiled',
    columns: [
      coldColumn('down, 1 stream, Gbit/s', 'dl1', 'gbps'),
      coldColumn('up, 1 stream, Gbit/s', 'ul1', 'gbps'),
      coldColumn('conn/s', 'conn', 'perSecond'),
      coldColumn('req/s', 'http', 'perSecond'),
    ],
  },
  {
    title: 'Open idle connections',
    columns: [
      column('held', 'hold', 'held'),
      column('MiB before', 'hold', 'idleMib'),
      column('MiB held', 'hold', 'heldMib'),
      column('KiB/conn', 'hold', 'kibPerConnection'),
      column('seconds to open', 'hold', 'openSeconds'),
      column('idle CPU %', 'hold', 'idleCpuPercent'),
    ],
  },
];

const LEGEND = `Median (lowest..highest) of the repetitions; *fail*: every repetition failed; -: not
measured. Client, gateway and server share the machine, so throughput is a figure of all three; the
gateway's CPU (user and system time of all its processes) is the one that carries over. Writing to a
TUN runs the client's TCP inside the gateway's system call, so *down* charges the gateway with it.
Down is server to client. A new connection is connect, one request, the reply, close, by 32 workers
at a time (unloaded: one). A peer that is compiled while it runs has some seconds of each load
before it is measured, and they have a table of their own. UDP is one flow whose sender keeps so
many datagrams on their way and no more; of windows from 8 to 900, the fastest that lost none
counts. Memory is the proportional set size of
all the gateway's processes, after the tests above; the kernel's own memory for sockets is not in
it. *routed* has no process: what it costs shows in the CPU of the machine only.`;

/** All tables, as Markdown. */
export function renderTables(samples: readonly Sample[]): string {
  const peers = [...new Set(samples.map((sample) => sample.peer))];
  const tables = TABLES.map(({ title, columns }) => {
    const measured = columns.filter((cell) => samples.some((sample) => isOf(sample, cell)));
    if (measured.length === 0) return '';
    const rows = peers.map((peer) => [
      peer,
      ...measured.map((cell) => renderCell(samples, peer, cell)),
    ]);
    return `### ${title}\n\n${renderRows(['peer', ...measured.map((c) => c.title)], rows)}`;
  });
  return [...tables.filter(Boolean), LEGEND, renderForeign(samples)].join('\n\n');
}

/** What failed, one line for each peer and reason; empty when nothing did. */
export function renderFailures(samples: readonly Sample[]): string {
  const reasons = new Map<string, string[]>();
  for (const { peer, test, repetition, isCold, error } of samples) {
    if (error === undefined) continue;
    const reason = `${peer}: ${error.replaceAll(/\s+/g, ' ')}`;
    const where = `${isCold ? 'cold ' : ''}${test} of repetition ${repetition + 1}`;
    reasons.set(reason, [...(reasons.get(reason) ?? []), where]);
  }
  return [...reasons].map(([reason, where]) => `- ${reason} (${where.join(', ')})`).join('\n');
}

/** Median; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

const isOf = (sample: Sample, cell: Column): boolean =>
  sample.test === cell.test && sample.isCold === cell.isCold;

function renderCell(samples: readonly Sample[], peer: string, cell: Column): string {
  const mine = samples.filter((sample) => sample.peer === peer && isOf(sample, cell));
  const values = mine.flatMap((sample) => sample.values[cell.metric] ?? []);
  return values.length === 0 && mine.length === 0 ? '-' : renderSpread(values);
}

/** Median and range; `*fail*` of nothing. */
export function renderSpread(values: readonly number[]): string {
  if (values.length === 0) return '*fail*';
  const [low, high] = [renderNumber(Math.min(...values)), renderNumber(Math.max(...values))];
  const middle = renderNumber(median(values));
  return low === high ? middle : `${middle} (${low}..${high})`;
}

/** Three digits that matter, and no more decimals than two. */
function renderNumber(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2);
}

export function renderRows(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function renderForeign(samples: readonly Sample[]): string {
  const cores = samples.map((sample) => sample.foreignCores);
  const doubtful = cores.filter((n) => n >= DOUBTFUL_CORES).length;
  const [middle, most] = [median(cores).toFixed(2), Math.max(0, ...cores).toFixed(2)];
  return (
    `Other programs of the machine kept ${middle} cores busy in the median sample, ${most} in ` +
    `the worst; ${doubtful} of ${cores.length} samples saw ${DOUBTFUL_CORES} or more.`
  );
}
