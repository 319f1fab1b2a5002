/** What one script of one generation writes to the log, and what is written about it. */
import type { OnError } from '../../stack/verdict.ts';
import type { LogLevel, ScriptLog } from '../bundle/bundle.ts';
import { cutText } from '../cut-text.ts';
import type { ScriptError } from '../errors.ts';
import { LogLimit } from './log-limit.ts';

export interface LogPorts {
  /** Microseconds. */
  now(): number;
  log(line: ScriptLog): void;
  /** What becomes of flows that get no verdict. */
  onError(): OnError;
}

type LogFields = Readonly<Record<string, unknown>>;

export class ScriptLogger {
  readonly #script: string;
  readonly #generation: number;
  readonly #ports: LogPorts;
  readonly #lines: LogLimit;
  readonly #complaints: LogLimit;

  constructor(script: string, generation: number, linesPerSecond: number, ports: LogPorts) {
    this.#script = script;
    this.#generation = generation;
    this.#ports = ports;
    this.#lines = new LogLimit(linesPerSecond);
    this.#complaints = new LogLimit(linesPerSecond);
  }

  /** Whether the script may write a line. */
  admitsLine(): boolean {
    return this.#lines.admits(this.#ports.now());
  }

  /** Whether something may be written about the script. */
  admitsComplaint(): boolean {
    return this.#complaints.admits(this.#ports.now());
  }

  /** Says what went wrong, if it may. */
  complain(error: ScriptError, flow: number, fields: LogFields = {}): void {
    if (!this.admitsComplaint()) return;
    this.write('warn', flow, error.message, { error: error.kind, ...error.position, ...fields });
  }

  /** What a line says besides of a flow that gets no verdict: what is done instead of a refusal. */
  get instead(): LogFields {
    const onError = this.#ports.onError();
    return onError === 'reject' ? {} : { onError };
  }

  /** @param flow  serial; 0 for none */
  write(level: LogLevel, flow: number, message: string, fields?: LogFields): void {
    this.#ports.log({
      level,
      script: this.#script,
      generation: this.#generation,
      ...(flow === 0 ? {} : { flow }),
      message: cutText(message),
      ...(fields === undefined ? {} : { fields }),
    });
  }

  /** Says how many log lines were left out, if any were. */
  reportDropped(): void {
    const dropped = this.#lines.takeDropped() + this.#complaints.takeDropped();
    if (dropped === 0) return;
    this.write('warn', 0, 'log lines dropped', { dropped, limit: 'logLinesPerSecond' });
  }
}
