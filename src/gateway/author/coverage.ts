/** What tests have run of scripts: counters become a table, numbers, and a file for other tools. */
import {
  type CoverageMap,
  type CoverageSummary,
  createCoverageMap,
  type FileCoverageData,
} from 'istanbul-lib-coverage';
import { type ContentWriter, createContext, type ReportBase } from 'istanbul-lib-report';
import LcovReport from 'istanbul-reports/lib/lcovonly';
import TextReport from 'istanbul-reports/lib/text';
import type { CoverageCounts } from '../../scripts-runtime/offline/report.ts';

const METRICS = ['statements', 'branches', 'functions', 'lines'] as const;
type Metric = (typeof METRICS)[number];

/** Of `total`, so many were run: `percent`, which is 100 where there are none. */
export interface Share {
  readonly total: number;
  readonly covered: number;
  readonly percent: number;
}
export type Shares = Readonly<Record<Metric, Share>>;

export interface CoverageReport extends Shares {
  readonly files: readonly (Shares & {
    readonly file: string;
    readonly uncoveredLines: readonly number[];
  })[];
}

export class Coverage {
  readonly #map: CoverageMap = createCoverageMap({});

  /**
   * Adds up what several runs have counted of the same file.
   *
   * @param files   as `instrumentScripts` gives them
   * @param counts  of these, by their path; what is missing did not run
   */
  add(files: readonly FileCoverageData[], counts: CoverageCounts): void {
    for (const file of files) this.#map.addFileCoverage(withCounts(file, counts[file.path] ?? []));
  }

  get report(): CoverageReport {
    return {
      ...sharesOf(this.#map.getCoverageSummary()),
      files: this.#map.files().map((file) => {
        const coverage = this.#map.fileCoverageFor(file);
        const uncoveredLines = coverage.getUncoveredLines().map(Number);
        return { file, ...sharesOf(coverage.toSummary()), uncoveredLines };
      }),
    };
  }

  /** What is less than `min` percent of all files together, in words. */
  shortfalls(min: number): string[] {
    const { report } = this;
    return METRICS.filter((metric) => report[metric].percent < min).map(
      (metric) => `coverage of ${metric} is ${report[metric].percent} %, below ${min} %`,
    );
  }

  /** @param columns  that a line may have; 0 for any number */
  table(columns: number): string {
    return this.#textOf(new TextReport({ maxCols: columns }));
  }

  /** What editors and review tools read: https://github.com/linux-test-project/lcov */
  lcov(): string {
    return this.#textOf(new LcovReport());
  }

  #textOf(report: ReportBase): string {
    const context = createContext({ coverageMap: this.#map });
    const lines = new Lines();
    Object.assign(context.data, { writer: lines });
    report.execute(context);
    return lines.text;
  }
}

/** In place of the files that reports want to write. */
class Lines implements ContentWriter {
  text = '';

  writeFile(): this {
    return this;
  }

  println(line: string): void {
    this.text += `${line}\n`;
  }

  colorize(text: string): string {
    return text;
  }

  close(): void {}
}

/** In the order in which guest/coverage.js lays counters out. */
function withCounts(file: FileCoverageData, counts: readonly number[]): FileCoverageData {
  let at = 0;
  const next = (): number => counts[at++] ?? 0;
  const fill = <T>(counters: Record<string, T>, count: (old: T) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(counters).map(([key, old]) => [key, count(old)]));
  const s = fill(file.s, next);
  const f = fill(file.f, next);
  const b = fill(file.b, (ways) => ways.map(next));
  return { ...file, s, f, b };
}

function sharesOf(summary: CoverageSummary): Shares {
  const share = (metric: Metric): Share => {
    const { total, covered } = summary[metric];
    return { total, covered, percent: total === 0 ? 100 : summary[metric].pct };
  };
  return {
    ...{ statements: share('statements'), branches: share('branches') },
    ...{ functions: share('functions'), lines: share('lines') },
  };
}
