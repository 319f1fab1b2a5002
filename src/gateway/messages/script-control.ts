/** Messages between the supervisor and a script host (JSON frames, see framing.ts). */
import type {
  EndedFlow,
  KvEntry,
  MetricDelta,
  ScheduleEntry,
  ScriptBundle,
  ScriptIssue,
  ScriptLog,
  ScriptSet,
  ScriptSource,
  ScriptStats,
  TextFiles,
} from '../../scripts-runtime/bundle/bundle.ts';
import type { CanaryCounts, CanaryPlan } from '../../scripts-runtime/generations/canary.ts';
import type { ScriptLimits } from '../../scripts-runtime/limits.ts';
import type { DecisionStep, TestReport } from '../../scripts-runtime/offline/report.ts';
import type { DecidedFlow } from '../../scripts-runtime/recent-flows.ts';
import type { RecordedFlow } from '../../scripts-runtime/recorded-flow.ts';
import type { ShownVerdict } from '../../scripts-runtime/verdict/show-verdict.ts';
import type { OnError } from '../../stack/verdict.ts';

export type {
  CanaryCounts,
  CanaryPlan,
  DecidedFlow,
  DecisionStep,
  EndedFlow,
  KvEntry,
  MetricDelta,
  RecordedFlow,
  ScheduleEntry,
  ScriptBundle,
  ScriptIssue,
  ScriptLimits,
  ScriptLog,
  ScriptSet,
  ScriptSource,
  ScriptStats,
  TextFiles,
};

export type ToScriptHost =
  /**
   * Adds to `kv` of the `load` that comes next, which as one message could be too long for a frame
   * (kv-chunks.ts).
   */
  | { readonly kind: 'kv-restore'; readonly entries: readonly KvEntry[] }
  /** For the hook `closed`. Answered by `closed-told`, and only then comes the next one. */
  | { readonly kind: 'closed'; readonly flows: readonly EndedFlow[] }
  /** Loads and, when every script loads, activates. Answered by `loaded` or `load-failed`. */
  | {
      readonly kind: 'load';
      readonly bundle: ScriptBundle;
      readonly epoch: number;
      /** Load it beside the active bundle. */
      readonly canary?: CanaryPlan;
      /** How long connections of the bundle that is replaced may go on. */
      readonly drainMs?: number | undefined;
    }
  /**
   * What `via` and `redirect` may name, and what becomes of flows whose decision fails: from now
   * on, in all bundles.
   */
  | {
      readonly kind: 'facts';
      readonly upstreams: NonNullable<ScriptBundle['upstreams']>;
      readonly listeners: NonNullable<ScriptBundle['listeners']>;
      readonly onError: OnError;
    }
  /** The canary of that generation takes over; answered by `promoted`. */
  | { readonly kind: 'promote'; readonly generation: number }
  | { readonly kind: 'drop-canary' }
  /** Tell flows that were decided (`decided`), or no longer. */
  | { readonly kind: 'watch'; readonly isOn: boolean }
  /** Answered by `recent`. */
  | { readonly kind: 'recent'; readonly count: number }
  /** Of a host that serves nobody: run the tests of the bundle; answered by `tested`. */
  | { readonly kind: 'test' }
  /**
   * Of a host that serves nobody: run the tests of this bundle, those with `filter` in their names.
   * Answered by `testing` before each test, and `reported` at the end.
   */
  | {
      readonly kind: 'report';
      readonly bundle: ScriptBundle;
      readonly filter?: string;
      /** Its scripts count what runs (author/instrument.ts). */
      readonly isCovered?: boolean;
    }
  /** Of a host that serves nobody: what its bundle decides about these; answered by `asked`. */
  | {
      readonly kind: 'ask';
      readonly id: number;
      readonly flows: readonly RecordedFlow[];
      /** Verdicts come with how they came about. */
      readonly isExplained?: boolean;
      /** What the clock of the scripts shows at the first `ask`; absent: that of now. */
      readonly startMs?: number;
    }
  | {
      readonly kind: 'resolved';
      readonly id: number;
      readonly addresses: readonly string[];
      readonly error?: string;
    };

export type FromScriptHost =
  | { readonly kind: 'ready' }
  /** `closers`: names of scripts that want to hear of the end of their flows. */
  | {
      readonly kind: 'loaded';
      readonly generation: number;
      readonly closers: readonly string[];
    }
  | { readonly kind: 'closed-told' }
  | {
      readonly kind: 'load-failed';
      readonly generation: number;
      readonly issues: readonly ScriptIssue[];
    }
  | { readonly kind: 'resolve'; readonly id: number; readonly name: string }
  | ({ readonly kind: 'log' } & ScriptLog)
  | { readonly kind: 'kv'; readonly entries: readonly KvEntry[] }
  /** What scripts measured since the last message, at most once a second. */
  | { readonly kind: 'metrics'; readonly series: readonly MetricDelta[] }
  /** Sums since the host started, sent when they changed, at most once a second. */
  | { readonly kind: 'stats'; readonly scripts: readonly ScriptStats[] }
  | { readonly kind: 'promoted'; readonly generation: number; readonly isDone: boolean }
  | ({ readonly kind: 'canary' } & CanaryCounts)
  /** Generations in memory. */
  | { readonly kind: 'generations'; readonly numbers: readonly number[] }
  /** `left` more were too many to tell. */
  | { readonly kind: 'decided'; readonly flows: readonly DecidedFlow[]; readonly left: number }
  | { readonly kind: 'recent'; readonly flows: readonly DecidedFlow[] }
  | { readonly kind: 'tested'; readonly passed: number; readonly failures: readonly ScriptIssue[] }
  | { readonly kind: 'testing'; readonly test: string }
  | { readonly kind: 'reported'; readonly report: TestReport }
  | { readonly kind: 'asked'; readonly id: number; readonly verdicts: readonly AskedVerdict[] };

/** What a bundle that decides nothing would have decided. */
export interface AskedVerdict {
  readonly kind: string;
  /** Upstream, when it is not the destination of the client: `10.0.0.1:80`, `example.com:80`. */
  readonly to?: string;
  /** The verdict on one line: equal lines are equal verdicts. */
  readonly text: string;
  /** Only when it was asked for. */
  readonly explained?: ExplainedVerdict;
}

/** How a verdict came about. */
export interface ExplainedVerdict {
  readonly verdict: ShownVerdict;
  /** The script that decided; absent when all declined. */
  readonly script?: string;
  readonly steps: readonly DecisionStep[];
  readonly logs: readonly ScriptLog[];
  /** Lines that were too many to tell. */
  readonly logsLeft: number;
  readonly cpuUs: number;
}

/** File descriptors a script host inherits, besides its standard streams and those of queues. */
export const ScriptHostFd = { HEARTBEAT: 3 } as const;

/** Behind them, for each queue of the device: the sockets to its data plane. */
export const queueFds = (queue: number) => ({
  decisions: ScriptHostFd.HEARTBEAT + 1 + 2 * queue,
  conns: ScriptHostFd.HEARTBEAT + 2 + 2 * queue,
});

/**
 * The heartbeat page (shared memory). BUSY_SINCE: float64 CLOCK_MONOTONIC microseconds at which
 * the host entered a script, 0 while it is outside. The supervisor kills a host that stays inside.
 * It lies ahead while a bundle loads, by as much as `loadMs` exceeds `watchdogMs`. SCRIPT: uint32
 * position, in the order of the generation that is loading or asked, of the script last entered:
 * the culprit of a kill. GENERATION: uint32, the generation of that script.
 */
export const HeartbeatField = { BUSY_SINCE: 0, SCRIPT: 8, GENERATION: 12 } as const;
export const HEARTBEAT_BYTES = 4096;
