/** What a script host is given and what it tells. Plain values; they cross a process boundary. */

import type { ConnectionRequest, OnError } from '../../stack/verdict.ts';
import type { ScriptLimits } from '../limits.ts';
import type { KnownListeners, KnownUpstreams } from '../verdict/verdict-fit.ts';

/** Texts by path from the folder of the script, with `/`: `lib/names.ts`, `../a.json`. */
export type TextFiles = Readonly<Record<string, string>>;

/** A text as its author wrote it, where what is loaded was made of it. */
export interface OriginalText {
  readonly text: string;
  /** From places in what is loaded to places in `text` (ECMA-426); the only source is `text`. */
  readonly mappings: string;
}

/** One script of a bundle. Order is the order of asking. */
export interface ScriptSource {
  readonly name: string;
  /** Where the text comes from, as errors should name it: `scripts/route.ts`. */
  readonly file: string;
  readonly source: string;
  /** What it imports besides `culvert`: `.ts`, `.js` and `.json`. Never its own file. */
  readonly modules?: TextFiles;
  /** Its own tests, which end in `.test.ts` or `.test.js`, and what only they import. */
  readonly tests?: TextFiles;
  /** Of texts that were changed before they came here, by their path: errors point into these. */
  readonly originals?: Readonly<Record<string, OriginalText>>;
  /** Where `connect()` may go, as the config has it: `10.0.0.0/8:443`, `*.corp.example:*`. */
  readonly allow?: readonly string[];
  /** When `scheduled` is called, by the name that it is told. */
  readonly schedule?: Readonly<Record<string, ScheduleEntry>>;
}

/** Milliseconds from one call to the next, or the five fields of cron(8), in UTC. */
export type ScheduleEntry = { readonly everyMs: number } | { readonly cron: string };

/** What `env.sets` looks into. */
export interface ScriptSet {
  /** Of networks and addresses, or of names. */
  readonly type: 'cidr' | 'domain';
  /** One entry a line, checked by whoever made it; no comments. */
  readonly text: string;
}

/** What is wrong with a script, and where in its source (1-based; 0 when unknown). */
export interface ScriptIssue {
  readonly script: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `syntax`, `type`, `load`, `limit`, `shape`. */
  readonly kind: string;
  readonly message: string;
}

export interface KvEntry {
  readonly script: string;
  readonly key: string;
  /** Absent: deleted. */
  readonly value?: string | number;
  /** Milliseconds since 1970; absent: never. */
  readonly expiresAt?: number;
}

export interface ScriptBundle {
  readonly generation: number;
  readonly scripts: readonly ScriptSource[];
  readonly limits: ScriptLimits;
  readonly vars: Readonly<Record<string, string>>;
  /** By name; all scripts of the bundle see them. */
  readonly sets?: Readonly<Record<string, ScriptSet>>;
  /** Authorities whose certificates are good besides the usual ones, in PEM. */
  readonly ca?: string;
  /** State of a host that is gone. A host that still has a script's state keeps its own. */
  readonly kv: readonly KvEntry[];
  /** Where no script may connect, whatever it is allowed: the gateway itself. As `allow`. */
  readonly closed?: readonly string[];
  /** What `via` may name; absent where nobody knows the configuration. */
  readonly upstreams?: KnownUpstreams | undefined;
  /** The same of `redirect`. */
  readonly listeners?: KnownListeners | undefined;
  /** What becomes of flows whose decision fails; absent: what it was before, `reject` at first. */
  readonly onError?: OnError;
  /** Name of the TUN device, for `FlowInfo.iface`. */
  readonly iface: string;
  /** What ran in a host that is gone, and could hand nothing over. */
  readonly previous?: { readonly generation: number; readonly scripts: readonly string[] };
  /** Scripts that got their host killed too often: loaded, but never asked. */
  readonly disabled?: readonly string[];
}

/** A flow that a script let through, and that is over. */
export interface EndedFlow {
  readonly script: string;
  readonly generation: number;
  readonly flow: ConnectionRequest;
  readonly result: FlowResult;
}

/** What `closed` is told. */
export interface FlowResult {
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly durationMs: number;
  /** The word that log and metrics have: `eof`, `client-reset`, `idle` … */
  readonly reason: string;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface ScriptLog {
  readonly level: LogLevel;
  readonly script: string;
  readonly generation: number;
  /** Serial of the flow the line is about. */
  readonly flow?: number;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export type MetricKind = 'counter' | 'gauge' | 'histogram';

/** What became of one series of `ctx.metrics` since it was told of last. */
export interface MetricDelta {
  readonly script: string;
  readonly name: string;
  readonly kind: MetricKind;
  readonly labels: Readonly<Record<string, string>>;
  /** How much a counter or the sum of a histogram grew; of a gauge, where it is. */
  readonly value: number;
  /** Of a histogram: how many values fell into each bucket. */
  readonly buckets?: readonly number[];
}

/** Sums since the host started, over all generations of the script of that name. */
export interface ScriptStats {
  readonly script: string;
  readonly generation: number;
  readonly decisions: number;
  readonly errors: number;
  /** By kind: `cpu-soft`, `cpu`, `memory`, `wall`, `stack`, `pending`, `timers`, `log`, `kv`. */
  readonly limitHits: Readonly<Record<string, number>>;
  readonly cpuUs: number;
  readonly disabled: boolean;
}
