/**
 * What a script may use. Each limit has its unit in its name, a default, and the reason for it.
 * Breaking a hard limit fails the call closed; `ctx.limits` shows all of them to the script.
 */

/** Each in the unit its name ends with. */
export interface ScriptLimits {
  readonly cpuSoftMs: number;
  readonly cpuHardMs: number;
  readonly watchdogMs: number;
  readonly wallMs: number;
  readonly memoryBytes: number;
  readonly stackBytes: number;
  readonly pending: number;
  readonly timers: number;
  readonly kvBytes: number;
  readonly kvKeyBytes: number;
  readonly kvValueBytes: number;
  readonly logLinesPerSecond: number;
  readonly loadMs: number;
  /** Hard limit hits within `breakerWindowMs` that disable a script. */
  readonly breakerHits: number;
  readonly breakerWindowMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_SCRIPT_LIMITS: ScriptLimits = {
  /** A thousand times what a decision needs: whoever passes it should hear of it. */
  cpuSoftMs: 10,
  /** Other flows wait meanwhile. Not exact: QuickJS asks only between its own operations. */
  cpuHardMs: 50,
  /** Twice the hard limit: who is still inside cannot be stopped but by SIGKILL. */
  watchdogMs: 100,
  /** A client sends its SYN again after 1 s and 3 s (RFC 6298 §2): answer before the second. */
  wallMs: 2_000,
  /** Tables of some 100,000 entries; all scripts of a host together stay far below a GiB. */
  memoryBytes: 32 * MIB,
  /** Some thousand nested calls. The WebAssembly stack around it is larger. */
  stackBytes: 512 * KIB,
  /** As many as SYNs are held by default: more cannot wait for a verdict. */
  pending: 1024,
  /** As many as decisions can wait, about: each may hold one timeout. */
  timers: 1000,
  /** Crosses the process boundary whole when the host is respawned. */
  kvBytes: MIB,
  kvKeyBytes: 256,
  kvValueBytes: 64 * KIB,
  /** A line per flow of a small gateway; a flood of flows must not become a flood of logs. */
  logLinesPerSecond: 100,
  /** Top-level code of a module, once per generation. */
  loadMs: 1_000,
  /** One accident is none; five in ten seconds is how the script is. */
  breakerHits: 5,
  breakerWindowMs: 10_000,
};

/** Shortest delay of a timer, in milliseconds: a shorter one would be a busy loop. */
export const TIMER_MS_MIN = 10;

/** Longest delay of a timer, in milliseconds: no decision lasts longer than a day. */
export const TIMER_MS_MAX = 86_400_000;

/** Length of what a script can say about a verdict (`reason`, `note`), in bytes of UTF-8. */
export const VERDICT_TEXT_BYTES = 200;

/** Length of a log line's message, and of its fields as JSON, in UTF-16 units. */
export const LOG_MESSAGE_LENGTH = 4 * KIB;
export const LOG_FIELDS_LENGTH = 4 * KIB;
