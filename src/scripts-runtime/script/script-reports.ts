/** What is told about a script while it works, in the log and in its counters. */

import type { Diagnostics } from '../bundle/diagnostics.ts';
import { ScriptError } from '../errors.ts';
import type { ScriptLimits } from '../limits.ts';
import type { ScriptCounters } from './counters.ts';
import type { ScriptLogger } from './script-log.ts';

/** Of the limits that cost a flow its verdict: what is said when one is hit. */
const MISSED = {
  wall: ({ wallMs }: ScriptLimits) => `no verdict within ${wallMs} ms (wallMs)`,
  pending: ({ pending }: ScriptLimits) => `more than ${pending} decisions wait (pending)`,
  claims: ({ claims }: ScriptLimits) => `more than ${claims} connections are claimed (claims)`,
} as const;
export type MissedLimit = keyof typeof MISSED;

export class ScriptReports {
  readonly #logger: ScriptLogger;
  readonly #diagnostics: Diagnostics;
  readonly #counters: ScriptCounters;
  readonly #limits: ScriptLimits;

  constructor(
    logger: ScriptLogger,
    diagnostics: Diagnostics,
    counters: ScriptCounters,
    limits: ScriptLimits,
  ) {
    this.#limits = limits;
    this.#logger = logger;
    this.#diagnostics = diagnostics;
    this.#counters = counters;
  }

  /**
   * Something of it threw. That a connection failed is no fault of the script: it is logged as
   * what it is, and not counted as an error.
   *
   * @param what         stands in front of it; empty for nothing
   * @param description  of the error, as the guest gives it or in words of ours
   */
  failed(what: string, description: string, flow: number): void {
    if (!this.threw(what, description, flow)) this.#counters.errors++;
  }

  /** As `failed`, but only logged. @returns whether a connection has failed */
  threw(what: string, description: string, flow: number, isDecision = false): boolean {
    const { message, position, socket } = this.#diagnostics.read(description);
    const text = what === '' ? message : `${what}: ${message}`;
    const instead = isDecision ? this.#logger.instead : {};
    if (socket === undefined) {
      this.#logger.complain(new ScriptError('error', text, position), flow, instead);
      return false;
    }
    if (this.#logger.admitsComplaint()) {
      // Clients and servers go away all the time, and the line of the flow says so.
      const level = socket.code === 'aborted' ? 'debug' : 'warn';
      this.#logger.write(level, flow, text, { ...socket, ...position, ...instead });
    }
    return true;
  }

  /** A limit that ends a connection, or what was asked for. */
  hitLimit(limit: string, message: string, flow: number, instead = {}): void {
    this.#counters.hit(limit);
    if (!this.#logger.admitsComplaint()) return;
    this.#logger.write('warn', flow, message, { limit, ...instead });
  }

  /** A limit was hit that leaves a flow without a verdict. @param name  that did not resolve yet */
  missedVerdict(limit: MissedLimit, flow: number, name?: string): void {
    const text = MISSED[limit](this.#limits);
    const what = name === undefined ? text : `${text}: "${name}" is still being resolved`;
    this.hitLimit(limit, what, flow, this.#logger.instead);
    this.#counters.errors++;
  }

  /** Why the script aborts a connection. */
  aborted(reason: string, flow: number): void {
    if (this.#logger.admitsLine()) this.#logger.write('debug', flow, 'aborted', { reason });
  }

  /** A verdict of it cannot be carried out for the flow that it is about. */
  misfit(message: string, flow: number): void {
    this.badVerdict(message, flow);
    this.#counters.errors++;
  }

  /** What it answered is no verdict; only logged. */
  badVerdict(message: string, flow: number): void {
    this.#logger.complain(new ScriptError('bad-verdict', message), flow, this.#logger.instead);
  }

  /** A name that it gave for an upstream has no address. @param what  the verdict and the name */
  unresolved(what: string, error: string, flow: number): void {
    const message = `${what} does not resolve: ${error || 'no address'}`;
    this.#logger.complain(new ScriptError('error', message), flow, this.#logger.instead);
    this.#counters.errors++;
  }
}
