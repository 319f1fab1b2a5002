/** What a sandbox is given, and what it asks for. */
import type { LogLevel } from './bundle.ts';
import type { GuestConnPorts } from './conns/guest-conns.ts';
import type { ScriptLimits } from './limits.ts';
import type { Reply } from './request-page.ts';
import type { Sets } from './sets/sets.ts';

/** What the guest asks for while a turn runs. None of it may enter the engine again. */
export interface GuestPorts {
  log(level: LogLevel, flow: number, message: string, fields: string | undefined): void;
  settle(call: number, reply: Reply, text: string): void;
  /** False when the script has as many timers as it may have. */
  startTimer(id: number, delayMs: number): boolean;
  stopTimer(id: number): void;
  /** The script hit a limit that fails nothing but the operation. */
  hit(limit: string): void;
  readonly conns: GuestConnPorts;
}

export interface GuestSettings {
  readonly version: string;
  readonly iface: string;
  readonly vars: Readonly<Record<string, string>>;
  readonly services: readonly string[];
  readonly limits: ScriptLimits;
  readonly sets: Sets;
}
