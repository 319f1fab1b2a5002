/** What a script host needs of the process around it, and how it is told to load. */
import type { KvEntry, ScriptLog, ScriptStats } from './bundle.ts';
import type { CanaryCounts, CanaryPlan } from './canary.ts';
import type { Decision } from './decide.ts';
import type { EngineClock } from './engine.ts';
import type { OnDecided } from './recent-flows.ts';

export interface HostPorts extends EngineClock {
  /** Milliseconds since 1970. */
  epochMs(): number;
  /** A script is being entered; it may stay `aheadUs` longer than the watchdog allows others. */
  enter(generation: number, position: number, aheadUs: number): void;
  leave(): void;
  answer(requestId: number, decision: Decision): void;
  resolve(id: number, name: string): void;
  log(line: ScriptLog): void;
  kv(entries: readonly KvEntry[]): void;
  stats(scripts: readonly ScriptStats[]): void;
  /** Which generations are in memory has changed. */
  generations?(numbers: readonly number[]): void;
  /** How the canary does, with the stats and when it was stopped. */
  canary?(counts: CanaryCounts): void;
  /** Called while somebody watches. */
  decided?: OnDecided;
  /** What a generation still has of connections must end. */
  endConnections?(generation: number): void;
}

export interface LoadOptions {
  /** Load it beside the active bundle, for a share of the flows. */
  readonly canary?: CanaryPlan | undefined;
  /** How long connections of the bundle that is replaced may go on. */
  readonly drainMs?: number | undefined;
}
