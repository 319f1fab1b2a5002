/** From samples of the bench of scripts to the tables of BENCHMARKS.md. */

import type { Markers } from '../document.ts';
import { renderRows, renderSpread } from '../report.ts';
import type { ScriptSample, TestName } from './samples.ts';

export const MARKERS: Markers = {
  name: 'scripts',
  begin: '<!-- scripts:begin: written by `npm run bench:scripts` -->',
  end: '<!-- scripts:end -->',
};
export const TITLE = '## Scripts';

interface Column {
  readonly title: string;
  /** What a sample has to say; undefined leaves it out. */
  readonly of: (sample: ScriptSample, reference: ScriptSample | undefined) => number | undefined;
}

interface Table {
  readonly title: string;
  readonly test: TestName;
  readonly head: string;
  /** What the samples of the table have, and others of the same test have not. */
  readonly metric: string;
  readonly columns: readonly Column[];
}

const column = (title: string, metric: string): Column => ({
  title,
  of: ({ values }) => values[metric],
});
/** More than the first row, in the same repetition. */
const added = (title: string, metric: string): Column => ({
  title,
  of: (sample, reference) => combine(sample, reference, metric, (a, b) => a - b),
});
/** Over the first row, in the same repetition. */
const ratio = (title: string, metric: string): Column => ({
  title,
  of: (sample, reference) => combine(sample, reference, metric, (a, b) => a / b),
});
const withRatio = (title: string, metric: string): Column[] => [
  column(title, metric),
  ratio('ratio', metric),
];

const TABLES: readonly Table[] = [
  {
    title: 'From SYN to reset',
    test: 'refuse',
    head: 'decided by',
    metric: 'p50Us',
    columns: [
      column('new flows/s', 'perSecond'),
      column('p50 µs', 'p50Us'),
      column('p99 µs', 'p99Us'),
      added('added p50 µs', 'p50Us'),
      added('added p99 µs', 'p99Us'),
      column('gateway CPU µs/flow', 'gatewayCpuUs'),
      column('no answer', 'failed'),
    ],
  },
  {
    title: 'From SYN to SYN-ACK',
    test: 'syn',
    head: 'decided by',
    metric: 'p50Us',
    columns: [
      column('new flows/s', 'perSecond'),
      column('p50 µs', 'p50Us'),
      column('p99 µs', 'p99Us'),
      added('added p50 µs', 'p50Us'),
      added('added p99 µs', 'p99Us'),
      column('gateway CPU µs/flow', 'gatewayCpuUs'),
      column('SYN sent again', 'retransmitted'),
      column('failed', 'failed'),
    ],
  },
  {
    title: 'Bytes, one stream, Gbit/s',
    test: 'bulk',
    head: 'carried by',
    metric: 'down',
    columns: [...withRatio('down', 'down'), ...withRatio('up', 'up')],
  },
  {
    title: 'Echo of one connection',
    test: 'bulk',
    head: 'carried by',
    metric: 'echoed',
    columns: [
      ...withRatio('Gbit/s each way', 'echoed'),
      column('gateway CPU s/GB', 'echoCpuPerGb'),
    ],
  },
  {
    title: 'Memory of an open, idle connection, KiB',
    test: 'memory',
    head: 'carried by',
    metric: 'dataPlane',
    columns: [
      column('data plane', 'dataPlane'),
      column('script host', 'scriptHost'),
      column('supervisor', 'supervisor'),
    ],
  },
  {
    title: 'Beside a hostile script: p99 of others, µs',
    test: 'hostile',
    head: 'script',
    metric: 'listener',
    columns: [
      ...withRatio('round trip, listener', 'listener'),
      ...withRatio('forward()', 'forward'),
      ...withRatio('spliced claim', 'splice'),
      column('lost', 'lost'),
      ...withRatio('new flow, listener', 'newListener'),
      column('failed', 'newListenerFailed'),
      column('round trip, script', 'script'),
      column('lost', 'scriptLost'),
      column('new flow, script', 'newScript'),
      column('refused', 'newScriptRefused'),
      column('no answer', 'unanswered'),
    ],
  },
];

const LEGENDS: Readonly<Record<TestName, string>> = {
  refuse: `SYN to reset is what a decision takes and nothing else: bare SYNs at a fixed rate, no
TCP of a client, no dial, no server. The kernel says when each packet passed the device.`,
  syn: `SYN to SYN-ACK is what the client's kernel measured (TCP_INFO), for flows that begin at a
fixed rate. It holds the dial to the server, but for a claim, which is answered before anybody is
dialled; so what a decision adds is the difference to the listener in the same repetition. Client
and gateway share the processors of this machine: at 5,000 flows/s they are all busy, and what a
decision adds is then mostly waiting for a processor. The server accepts a few times a second.`,
  bulk: `Forward and splice take turns, A B B A; a ratio is that of two runs side by side. The echo
through forward() and splice is that of a server; the script itself sees each byte twice.`,
  memory: 'Proportional set size of each process, less that before, over the connections.',
  hostile: `A script that is asked 20 times a second and behaves so, and what flows notice that it
does not decide about: those that live (ping-pong of 64 bytes; a ratio is to the row *none* in the
same repetition), and those that begin (50 a second, SYN to SYN-ACK). The last columns are of the
script beside it, in the same host: what it talks to itself is reset when the host is killed, and a
new flow waits for the host, or is refused where the host is killed or not there yet.`,
};

/** All tables, as Markdown. */
export function renderScriptTables(samples: readonly ScriptSample[]): string {
  const parts: string[] = [];
  for (const table of TABLES) {
    const mine = samples.filter(
      ({ test, values }) => test === table.test && values[table.metric] !== undefined,
    );
    if (mine.length === 0) continue;
    parts.push(`### ${table.title}`, renderTable(table, mine));
    const isLast = TABLES.findLast(({ test }) => test === table.test) === table;
    if (isLast) parts.push(LEGENDS[table.test]);
  }
  return parts.join('\n\n');
}

/** What failed, one line each; empty when nothing did. */
export const renderScriptFailures = (samples: readonly ScriptSample[]): string =>
  samples
    .flatMap(({ test, row, repetition, error }) =>
      error === undefined ? [] : [`- ${test}, ${row}, repetition ${repetition + 1}: ${error}`],
    )
    .join('\n');

function renderTable({ head, columns }: Table, samples: readonly ScriptSample[]): string {
  const groups = [...Map.groupBy(samples, ({ rate }) => rate)];
  const rows = groups.flatMap(([, group]) => {
    const first = group[0]?.row;
    return [...Map.groupBy(group, ({ row }) => row)].map(([row, mine]) => [
      row,
      ...columns.map((cell) => {
        const values = mine.flatMap((sample) => {
          const isPair = (other: ScriptSample) =>
            other.row === first && other.repetition === sample.repetition;
          return cell.of(sample, group.find(isPair)) ?? [];
        });
        return row === first && isRelative(cell) ? '' : renderSpread(values);
      }),
    ]);
  });
  return renderRows([head, ...columns.map(({ title }) => title)], rows);
}

/** A column that the first row has nothing to say in. */
const isRelative = ({ title }: Column): boolean => title === 'ratio' || title.startsWith('added');

function combine(
  sample: ScriptSample,
  reference: ScriptSample | undefined,
  metric: string,
  how: (value: number, reference: number) => number,
): number | undefined {
  const value = sample.values[metric];
  const base = reference?.values[metric];
  return value === undefined || base === undefined ? undefined : how(value, base);
}
