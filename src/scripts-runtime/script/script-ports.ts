/** What a script is made of, and what it needs of its host. */
import type { OnError } from '../../stack/verdict.ts';
import type { ScriptLog, ScriptSource } from '../bundle/bundle.ts';
import type { Transpiled } from '../bundle/transpile.ts';
import type { Egress } from '../conns/egress.ts';
import type { GuestConnPorts } from '../conns/guest-conns.ts';
import type { BareEngine, EngineClock } from '../engine/engine.ts';
import type { GuestExtension } from '../engine/guest-extension.ts';
import type { Kv } from '../kv/kv.ts';
import type { ScriptCounters } from './counters.ts';
import type { GuestSettings } from './guest.ts';
import type { Script, ScriptAnswer } from './script.ts';

/** What a script needs of its host. */
export interface ScriptPorts extends EngineClock {
  /** What the script finds besides its API. */
  readonly extension: GuestExtension | undefined;
  /**
   * Around every turn in a sandbox: a watchdog looks from outside.
   *
   * @param aheadUs  how much longer than usual this turn may last
   */
  enter(script: Script, aheadUs: number): void;
  leave(): void;
  log(line: ScriptLog): void;
  /** What becomes of flows that get no verdict. */
  onError(): OnError;
  /** A promise was settled while the turn of `script` goes on; `answer` reads what for its flow. */
  settled(script: Script, call: number, answer: (flow: number) => ScriptAnswer): void;
  /** The sandbox broke: every call that waits in it is lost. */
  lost(script: Script): void;
  /** What its connections ask for. */
  conns(script: () => Script): GuestConnPorts;
  /** Number of a new call into a script (script-calls.ts). */
  nextCall(): number;
  /** Nothing is waited for any more in the name of a call. */
  callOver(call: number): void;
  /** A turn took so long, in microseconds; it was for a call, or a claimed connection. */
  worked(turnOf: number, us: number): void;
  /** A WebAssembly instance that was made in advance, if there is one. */
  takeSpare(): BareEngine | undefined;
  /** Belongs to no generation yet, and may have timers. */
  loading(script: Script): void;
}

export interface ScriptParts {
  readonly source: ScriptSource;
  readonly generation: number;
  readonly position: number;
  readonly code: Transpiled;
  readonly settings: GuestSettings;
  readonly kv: Kv;
  readonly counters: ScriptCounters;
  readonly egress: Egress;
  readonly isDisabled: boolean;
}
