/** What running scripts without a gateway gives. Plain values; they cross a process boundary. */
import type { ScriptLog } from '../bundle/bundle.ts';
import type { SourcePosition } from '../errors.ts';
import type { RecordedFlow } from '../recorded-flow.ts';
import type { ShownVerdict } from '../verdict/show-verdict.ts';

/** One script that was asked about a flow. */
export interface DecisionStep {
  readonly script: string;
  /** `declined`, or the verdict in words; `failed cpu` where the next one was asked, too. */
  readonly outcome: string;
  /** Processor time inside its sandbox, in microseconds. */
  readonly cpuUs: number;
}

export interface ReplayedVerdict {
  readonly flow: RecordedFlow;
  readonly verdict: ShownVerdict;
  /** The verdict on one line: equal lines are equal verdicts. */
  readonly text: string;
  /** Name of the script that decided; absent when all declined. */
  readonly script?: string;
  /** In the order of asking, as far as they were asked. */
  readonly steps: readonly DecisionStep[];
  readonly cpuUs: number;
}

export interface TestFailure {
  readonly message: string;
  /** Where in the source, if it is known. */
  readonly position?: SourcePosition;
}

export interface TestResult {
  /** Names of the groups around it, then its own. */
  readonly path: readonly string[];
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Real time, in milliseconds. */
  readonly tookMs: number;
  /** Of `failed`. */
  readonly failure?: TestFailure;
  /** Of `failed`: what scripts wrote, the oldest first; `logsLeft` lines before are left out. */
  readonly logs?: readonly TestLog[];
  readonly logsLeft?: number;
}

export type TestLog = Pick<ScriptLog, 'level' | 'script' | 'message' | 'fields'>;

export interface TestFileReport {
  /** Name of the script that the file belongs to. */
  readonly script: string;
  readonly file: string;
  readonly tests: readonly TestResult[];
  /** The file itself does not run; it has no tests then. */
  readonly failure?: TestFailure;
  /** What `console` of the file wrote. */
  readonly output: readonly string[];
}

/** By the path of a file: how often each of its counters was passed, in the order of istanbul. */
export type CoverageCounts = Readonly<Record<string, readonly number[]>>;

export interface TestReport {
  /** Nothing failed. A bundle without tests is ok. */
  readonly ok: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly files: readonly TestFileReport[];
  /** Of scripts that count; only when it was asked for. */
  readonly coverage?: CoverageCounts;
}
