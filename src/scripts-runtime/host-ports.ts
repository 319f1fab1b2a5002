/** What a script host needs of the process around it, and how it is told to load. */
import type { KvEntry, MetricDelta, ScriptLog, ScriptStats } from './bundle/bundle.ts';
import type { ConnPorts } from './conns/ports.ts';
import type { Decision } from './decision.ts';
import type { EngineClock } from './engine/engine.ts';
import type { GuestExtension } from './engine/guest-extension.ts';
import type { OnNoted } from './flow-note.ts';
import type { CanaryCounts, CanaryPlan } from './generations/canary.ts';
import type { OnDecided } from './recent-flows.ts';

export interface HostPorts extends EngineClock {
  /** Milliseconds since 1970. */
  epochMs(): number;
  /** A script is being entered; it may stay `aheadUs` longer than the watchdog allows others. */
  enter(generation: number, position: number, aheadUs: number): void;
  leave(): void;
  answer(requestId: number, decision: Decision): void;
  /** Wants the datagrams of a UDP flow: `shown`. Absent where there are none to be had. */
  show?(requestId: number): void;
  resolve(id: number, name: string): void;
  /** What scripts find besides their API. */
  readonly extension?: GuestExtension;
  /** Carries the connections that scripts claim. */
  readonly conns: ConnPorts;
  log(line: ScriptLog): void;
  kv(entries: readonly KvEntry[]): void;
  stats(scripts: readonly ScriptStats[]): void;
  metrics?(deltas: readonly MetricDelta[]): void;
  /** Scripts have heard of all flows that were given to `closed`. */
  closedTold?(): void;
  /** Which generations are in memory has changed. */
  generations?(numbers: readonly number[]): void;
  /** How the canary does, with the stats and when it was stopped. */
  canary?(counts: CanaryCounts): void;
  /** Called while somebody watches. */
  decided?: OnDecided;
  /** Something is known of a flow that is to be answered about, or that a script talks to. */
  noted?: OnNoted;
}

export interface LoadOptions {
  /** Load it beside the active bundle, for a share of the flows. */
  readonly canary?: CanaryPlan | undefined;
  /** How long connections of the bundle that is replaced may go on; absent: not at all. */
  readonly drainMs?: number | undefined;
}
