/** From samples of the lossy bench to the table of BENCHMARKS.md. */

import type { Markers } from '../document.ts';
import { median } from '../report.ts';
import { PATHS, type PathName } from './paths.ts';
import type { RelayReport } from './relay.ts';

export type Direction = 'down' | 'up';

export interface LossySample {
  readonly path: PathName;
  readonly direction: Direction;
  readonly roundTripMs: number;
  /** Name of the link's fault. */
  readonly fault: string;
  readonly repetition: number;
  /** Goodput at the receiver, in Mbit/s. */
  readonly megabits: number;
  readonly relay: RelayReport;
  /** Why there is no goodput. */
  readonly error?: string;
}

/** What the gateway must reach of the kernel's goodput in each cell. */
const GOAL = 0.9;
/** The path that the others are compared with, and the one that is. */
const REFERENCE = 'kernel';
const MEASURED = 'culvert';

/** A packet that the relay itself keeps that long makes a sample doubtful. */
const DOUBTFUL_MS = 30;

export const MARKERS: Markers = {
  name: 'lossy',
  begin: '<!-- lossy:begin: written by `npm run bench:lossy` -->',
  end: '<!-- lossy:end -->',
};
export const TITLE = '## Lossy links';

const LEGEND = `Goodput in Mbit/s at the receiver, median (lowest..highest) of the repetitions;
*fail*: every repetition failed. RTT is that of the empty link, faults hold for both directions.
Reordering: these packets come up to 3 ms late. Down is server to client, where the gateway is the
sender on the link; up, where it is the receiver. The last column is culvert over kernel, of the
medians; **bold** is below ${GOAL.toFixed(2)}.`;

/** The table, as Markdown, and how many of its cells reach the goal. */
export function renderCells(samples: readonly LossySample[]): string {
  const paths = PATHS.filter((path) => samples.some((sample) => sample.path === path));
  const isCompared = paths.includes(REFERENCE) && paths.includes(MEASURED);
  const head = ['RTT', 'fault', 'direction', ...paths, ...(isCompared ? ['ratio'] : [])];
  const ratios: number[] = [];
  const rows = [...groupCells(samples).values()].map((cell) => {
    const { roundTripMs, fault, direction } = cell[0]!;
    const row = [`${roundTripMs} ms`, fault, direction];
    for (const path of paths) row.push(renderGoodput(goodputs(cell, path)));
    if (isCompared) {
      const ratio = median(goodputs(cell, MEASURED)) / median(goodputs(cell, REFERENCE));
      ratios.push(ratio);
      // Rounded down: what is short of the goal must not look as if it were not.
      const text = (Math.floor(ratio * 100) / 100).toFixed(2);
      row.push(ratio >= GOAL ? text : `**${text}**`);
    }
    return row;
  });
  const line = (texts: readonly string[]): string => `| ${texts.join(' | ')} |`;
  const table = [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
  const reached = ratios.filter((ratio) => ratio >= GOAL).length;
  const summary = `${reached} of ${ratios.length} cells reach ${GOAL.toFixed(2)} of the kernel.`;
  return [table, LEGEND, ...(isCompared ? [summary] : []), renderRelay(samples)].join('\n\n');
}

/** Samples by cell, in the order of their first. */
function groupCells(samples: readonly LossySample[]): Map<string, LossySample[]> {
  return Map.groupBy(
    samples,
    ({ roundTripMs, fault, direction }) => `${roundTripMs} ${fault} ${direction}`,
  );
}

const goodputs = (cell: readonly LossySample[], path: PathName): number[] =>
  cell.filter((s) => s.path === path && s.error === undefined).map(({ megabits }) => megabits);

function renderGoodput(values: readonly number[]): string {
  if (values.length === 0) return '*fail*';
  const [low, high] = [renderNumber(Math.min(...values)), renderNumber(Math.max(...values))];
  const middle = renderNumber(median(values));
  return low === high ? middle : `${middle} (${low}..${high})`;
}

const renderNumber = (value: number): string => value.toFixed(value < 10 ? 2 : 1);

/** Whether the relay was fit for the load: what it carried late is not the link's doing. */
function renderRelay(samples: readonly LossySample[]): string {
  const latest = samples.map(({ relay }) => relay.latestUs / 1000);
  const starved = samples.reduce((sum, { relay }) => sum + relay.starved, 0);
  const middle = median(latest).toFixed(1);
  const worst = Math.max(0, ...latest).toFixed(1);
  const doubtful = latest.filter((ms) => ms >= DOUBTFUL_MS).length;
  return (
    `The relay kept the latest packet of the median sample ${middle} ms too long, of the worst ` +
    `${worst} ms; ${doubtful} of ${latest.length} samples saw ${DOUBTFUL_MS} ms or more. ` +
    `${starved} packets found no room in it.`
  );
}
