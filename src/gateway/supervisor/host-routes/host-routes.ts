/** The routes of a gateway that runs: applied with its config, taken back at its end, watched. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SystemError } from '../../../ffi/errors.ts';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import type { Logger } from '../log/logger.ts';
import { StartError } from '../start-error.ts';
import { applyLocked, type RouteOutcome } from './apply.ts';
import { hostFamilies } from './families.ts';
import { checkLoops } from './loop-check.ts';
import { ipCommand, planRoutes, type Step } from './plan.ts';
import { RouteRecord } from './record.ts';
import { lockRecord, whileLocked } from './record-lock.ts';

/** Where there is no state folder; what it holds ends with the machine, as routes do. */
const RUN_FOLDER = '/run/culvert';
/** Routes change seldom, and a look costs a few dozen system calls. */
const LOOK_PERIOD_MS = 30_000;

/** The record that the gateway and `culvert route` share. */
export function recordOf(
  { config, folder }: LoadedConfig,
  stateFolder: string,
  device: string,
): RouteRecord {
  const named = config.state.folder;
  const state = named === undefined ? stateFolder : resolve(folder, named);
  const place = named !== undefined || existsSync(state) ? state : RUN_FOLDER;
  return new RouteRecord(place, device);
}

const stepsOf = (config: Config, device: string): readonly Step[] =>
  planRoutes(config, device, hostFamilies(config, device)).steps;

export class HostRoutes implements Disposable {
  readonly #log: Logger;
  readonly #device: () => string;
  readonly #record: RouteRecord;
  readonly #timer: ReturnType<typeof setInterval>;
  #loaded: LoadedConfig;
  #warned = '';
  #isBlind = false;
  #hasBegun = false;
  #hasEnded = false;
  /** The kernel has forgotten some, and would not take them again yet. */
  #isOwed = false;

  /** @param device  the name of the interface, which may be another after a swap */
  constructor(loaded: LoadedConfig, device: () => string, record: RouteRecord, log: Logger) {
    this.#loaded = loaded;
    this.#device = device;
    this.#record = record;
    this.#log = log;
    this.#timer = setInterval(() => void this.#lookAgain(), LOOK_PERIOD_MS);
  }

  /**
   * Makes the routes be those of the config that runs, which is that of a reload where one was
   * taken since the start.
   *
   * @throws ConfigError  when the kernel refuses one; none is there
   */
  async begin(): Promise<void> {
    this.#hasBegun = true;
    const loaded = this.#loaded;
    if (loaded.config.routes.auto) await this.#refusing(loaded, () => this.#applyPresent());
    this.#look();
  }

  /**
   * Makes the routes be those of a config, whose `auto` may have come or gone.
   *
   * @returns             makes them what they were, as far as the kernel lets it
   * @throws ConfigError  when the kernel refuses one; all are as they were before
   */
  async follow(loaded: LoadedConfig): Promise<() => Promise<void>> {
    const before = this.#loaded;
    const wasAuto = before.config.routes.auto;
    const isAuto = loaded.config.routes.auto;
    let ours: readonly Step[] = [];
    // What was applied by hand is left to the hand.
    const isTouched = isAuto || wasAuto;
    const work = () => {
      ours = isTouched ? this.#record.read() : [];
      if (isAuto) this.#apply(loaded.config);
      else if (wasAuto) this.#undo();
      this.#loaded = loaded;
    };
    await this.#refusing(loaded, () => (isTouched ? this.#locked(isAuto, work) : work()));
    this.#look();
    return async () => {
      this.#loaded = before;
      // Those of the start may not have been there yet.
      const wanted = () =>
        wasAuto && this.#hasBegun ? stepsOf(before.config, this.#device()) : ours;
      if (isTouched) await this.#locked(true, () => this.#make(wanted()));
      this.#look();
    };
  }

  /** Makes again what the kernel has forgotten with the link, once that is back. */
  async restore(): Promise<void> {
    if (!this.#hasBegun || !this.#loaded.config.routes.auto) return;
    try {
      await this.#applyPresent();
      this.#isOwed = false;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (!this.#isOwed) this.#log.warn({ why: error.message }, 'routes-not-restored');
      this.#isOwed = true;
    }
  }

  /** Takes back what `auto` has made. */
  [Symbol.dispose](): void {
    this.#hasEnded = true;
    clearInterval(this.#timer);
    if (!this.#loaded.config.routes.auto) return;
    try {
      using _ = lockRecord(this.#record, false, 0);
      this.#undo();
    } catch (error) {
      // The gateway ends all the same; `culvert route undo` finds the record.
      this.#log.error({ err: error }, 'routes-left');
    }
  }

  /** Those of the config that runs when it is our turn. */
  #applyPresent(): Promise<void> {
    return this.#locked(true, () => {
      const { config } = this.#loaded;
      if (config.routes.auto) this.#apply(config);
    });
  }

  #locked(isMade: boolean, work: () => void): Promise<void> {
    return whileLocked(this.#record, isMade, () => {
      // What is made after the end would stay.
      if (!this.#hasEnded) work();
    });
  }

  async #refusing({ file, placeOf }: LoadedConfig, work: () => Promise<void> | void) {
    try {
      await work();
    } catch (cause) {
      // The record of what was made may be what cannot be written.
      if (!isRefusal(cause)) throw cause;
      const issue = { path: 'routes', message: cause.message, ...placeOf?.(['routes']) };
      throw new ConfigError(file ?? 'embedded default', [issue], { cause });
    }
  }

  #apply(config: Config): void {
    const { routes, egress } = config;
    const device = this.#device();
    const { made, removed } = this.#make(stepsOf(config, device));
    if (made.length + removed.length === 0) return;
    const commands = [
      ...made.map((step) => ipCommand(step, device)),
      ...removed.map((step) => ipCommand(step, device, 'del')),
    ];
    const { table, priority } = routes;
    this.#log.info({ table, priority, mark: egress.fwmark, commands }, 'routes-applied');
  }

  #undo(): void {
    const { removed } = this.#make([]);
    this.#log.info({ count: removed.length }, 'routes-undone');
  }

  /** What cannot be removed stays in the record, and is tried again with the next change. */
  #make(steps: readonly Step[]): RouteOutcome {
    const outcome = applyLocked(steps, this.#device(), this.#record);
    const { failure } = outcome;
    if (failure !== undefined) this.#log.warn({ why: failure.message }, 'route-not-removed');
    return outcome;
  }

  async #lookAgain(): Promise<void> {
    if (this.#isOwed) await this.restore();
    this.#look();
  }

  #look(): void {
    const warnings = this.#warnings();
    if (warnings === undefined) return;
    const text = warnings.join('\n');
    if (text === this.#warned) return;
    this.#warned = text;
    for (const why of warnings) this.#log.warn({ why }, 'route-loop');
    if (warnings.length === 0) this.#log.info('route-loop-over');
  }

  /** Undefined where the machine has no descriptor or memory left: that is no reason to end. */
  #warnings(): readonly string[] | undefined {
    try {
      const warnings = checkLoops(this.#loaded.config, this.#device());
      this.#isBlind = false;
      return warnings.map(({ message }) => message);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (!this.#isBlind) this.#log.warn({ why: error.message }, 'route-loops-not-seen');
      this.#isBlind = true;
      return undefined;
    }
  }
}

/** By the kernel, or by what the record is kept in. */
const isRefusal = (error: unknown): error is SystemError | StartError =>
  error instanceof SystemError || error instanceof StartError;
