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
  readonly metrics: number;
  readonly metricSeries: number;
  readonly loadMs: number;
  readonly waits: number;
  readonly waitMs: number;
  readonly stateBytes: number;
  /** Hard limit hits within `breakerWindowMs` that disable a script. */
  readonly breakerHits: number;
  readonly breakerWindowMs: number;
  /** Connections that are claimed and not spliced. */
  readonly claims: number;
  readonly connCpuMs: number;
  readonly socketsPerFlow: number;
  /** Of one script, outside of the connections that it claimed. */
  readonly socketsOutside: number;
  /** Of one script, lookups of names included. */
  readonly dials: number;
  readonly peekBytes: number;
  readonly sniffMs: number;
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
  /** Whoever scrapes pays for each series again, every few seconds. */
  metrics: 50,
  /** Of each metric; more are counted in one series, `__other__`. */
  metricSeries: 100,
  /** Top-level code of a module, once per generation. */
  loadMs: 1_000,
  /** Of `waitUntil` and asynchronous hooks: as timers, of which each may need one. */
  waits: 1000,
  /** So long they keep a generation that was replaced; shorter than most drains. */
  waitMs: 30_000,
  /** Of `unload`, as JSON: as one value of the KV, where more belongs anyway. */
  stateBytes: 64 * KIB,
  /** One accident is none; five in ten seconds is how the script is. */
  breakerHits: 5,
  breakerWindowMs: 10_000,
  /** Each may hold 64 KiB in each direction. */
  claims: 1024,
  /**
   * A proxy of a small protocol needs a tenth; who copies bulk bytes should splice. As much for a
   * call that has sockets.
   */
  connCpuMs: 500,
  /** An upstream, one to fail over to, and two to ask. */
  socketsPerFlow: 4,
  /** A health check of as many servers at once. */
  socketsOutside: 32,
  /** As many as the resolver takes at once. */
  dials: 256,
  /** A ClientHello with post-quantum keys has 2 KiB; a TLS record 16 KiB. */
  peekBytes: 16 * KIB,
  /** A client that speaks first does so within a round trip. */
  sniffMs: 300,
};

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** More of them is none. */
const COUNT_MAX = 1_000_000;

/** What each limit can be: least and most. */
const LIMIT_RANGES: Readonly<Record<keyof ScriptLimits, readonly [least: number, most: number]>> = {
  cpuSoftMs: [1, MINUTE_MS],
  cpuHardMs: [1, MINUTE_MS],
  watchdogMs: [1, MINUTE_MS],
  wallMs: [1, HOUR_MS],
  /** With less the built-in module does not run; WebAssembly ends at 2 GiB. */
  memoryBytes: [MIB, 1024 * MIB],
  /** The same; with more the stack of WebAssembly ends before that of QuickJS. */
  stackBytes: [64 * KIB, MIB],
  pending: [1, COUNT_MAX],
  timers: [1, COUNT_MAX],
  kvBytes: [0, 64 * MIB],
  kvKeyBytes: [1, 64 * KIB],
  /** One entry has to fit into a message to the supervisor, where a byte can become six. */
  kvValueBytes: [1, MIB],
  logLinesPerSecond: [1, COUNT_MAX],
  /** All series of a script go to the supervisor in one message. */
  metrics: [0, 100],
  metricSeries: [1, 200],
  loadMs: [1, MINUTE_MS],
  waits: [1, COUNT_MAX],
  waitMs: [1, HOUR_MS],
  stateBytes: [0, MIB],
  breakerHits: [1, COUNT_MAX],
  breakerWindowMs: [1, 24 * HOUR_MS],
  claims: [1, COUNT_MAX],
  connCpuMs: [1, HOUR_MS],
  /** The data plane carries four. */
  socketsPerFlow: [0, 4],
  /** The same, for each call. */
  socketsOutside: [0, 256],
  dials: [1, COUNT_MAX],
  /** One message of the data plane. */
  peekBytes: [1, 16 * KIB],
  sniffMs: [0, HOUR_MS],
};

/** What is wrong with limits, in words; an engine must not be made from those. */
export function checkLimits(limits: ScriptLimits): string[] {
  return Object.entries(LIMIT_RANGES).flatMap(([name, [least, most]]) => {
    const value: number = limits[name as keyof ScriptLimits];
    const isInRange = Number.isInteger(value) && value >= least && value <= most;
    return isInRange ? [] : [`${name} is ${value}; it can be from ${least} to ${most}`];
  });
}

/** Shortest delay of a timer, in milliseconds: a shorter one would be a busy loop. */
export const TIMER_MS_MIN = 10;

/** Longest delay of a timer, in milliseconds: no decision lasts longer than a day. */
export const TIMER_MS_MAX = 86_400_000;

/**
 * How long scripts may work before whoever runs them is heard again, in microseconds. A turn that
 * has begun is not interrupted for it.
 */
export const SLICE_US = 5_000;

/** Length of what a script can say about a verdict (`reason`, `note`), in bytes of UTF-8. */
export const VERDICT_TEXT_BYTES = 200;

/** Length of an address that a script writes: a name of RFC 1035, brackets, a port, and some. */
export const ADDRESS_LENGTH = 300;

/** Length of a verdict as JSON, in UTF-16 units: all of its fields at their longest, escaped. */
export const VERDICT_JSON_LENGTH = 4 * KIB;

/** Length of a log line's message, and of its fields as JSON, in UTF-16 units. */
export const LOG_MESSAGE_LENGTH = 4 * KIB;
export const LOG_FIELDS_LENGTH = 4 * KIB;
