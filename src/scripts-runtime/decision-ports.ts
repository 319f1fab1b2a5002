/** What decisions need of the host. */
import type { ConnectionRequest, OnError } from '../stack/verdict.ts';
import type { Decision } from './decision.ts';
import type { Generation } from './generations/registry.ts';
import type { Script } from './script/script.ts';
import type { MissedLimit } from './script/script-reports.ts';
import type { KnownListeners, KnownUpstreams } from './verdict/verdict-fit.ts';

export interface DecisionPorts {
  /** Microseconds. */
  now(): number;
  answer(requestId: number, decision: Decision, request: ConnectionRequest): void;
  /** Number of a new call into a script. */
  nextCall(): number;
  /** Starts to resolve a name; `resolved` answers. */
  resolve(id: number, name: string): void;
  /** `script` takes the flow; false when it has as many as it may have. */
  claim(
    requestId: number,
    request: ConnectionRequest,
    generation: Generation,
    script: Script,
  ): boolean;
  /** By name; undefined where nobody knows them. */
  upstreams?(): KnownUpstreams | undefined;
  listeners?(): KnownListeners | undefined;
  /** What becomes of flows whose decision fails; absent: they are rejected. */
  onError?(): OnError;
  /** A limit of calls was hit by one of `script`. @param name  that is being resolved meanwhile */
  limitHit(script: Script, limit: MissedLimit, flow: number, name?: string): void;
  /** A name that a script gave does not resolve; `verdict` is its kind. */
  unresolved(script: Script, flow: number, verdict: string, name: string, error: string): void;
}
