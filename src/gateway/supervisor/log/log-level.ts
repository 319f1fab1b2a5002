/**
 * How much is logged: as the config says, and for a while as somebody asked. Data plane and script
 * host log through the supervisor, and so follow.
 */
import { LOG_LEVELS } from '../../config/schema.ts';
import type { Logger } from './logger.ts';

export type LogLevelName = (typeof LOG_LEVELS)[number];

export interface LogLevelState {
  readonly level: LogLevelName;
  /** That of the config. */
  readonly configured: LogLevelName;
  /** Milliseconds since 1970 at which that of the config comes back. */
  readonly until?: number;
}

export class LogLevel {
  readonly #log: Logger;
  #configured: LogLevelName;
  #asked: { readonly level: LogLevelName; readonly until?: number } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(log: Logger, configured: LogLevelName) {
    this.#log = log;
    this.#configured = configured;
  }

  get state(): LogLevelState {
    return { level: this.#configured, ...this.#asked, configured: this.#configured };
  }

  /** A config that was read: what was asked for goes on until its time is over. */
  configure(level: LogLevelName): void {
    this.#configured = level;
    this.#apply();
  }

  /** @param ms  after which the level of the config comes back; 0: with the next `reset` */
  ask(level: LogLevelName, ms: number): void {
    clearTimeout(this.#timer);
    this.#asked = ms === 0 ? { level } : { level, until: Date.now() + ms };
    if (ms > 0) this.#timer = setTimeout(() => this.reset(), ms);
    this.#apply();
  }

  /** Back to the level of the config. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#asked = undefined;
    this.#apply();
  }

  #apply(): void {
    const { level } = this.state;
    if (this.#log.level === level) return;
    // So that the change is seen on the louder side of it.
    const { level: from } = this.#log;
    const isQuieter = rank(level) > rank(from);
    if (isQuieter) this.#log.info({ from, to: level }, 'log-level');
    this.#log.level = level;
    if (!isQuieter) this.#log.info({ from, to: level }, 'log-level');
  }
}

const rank = (level: string): number => [...LOG_LEVELS, ''].indexOf(level);
