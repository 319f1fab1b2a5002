/** The routes of a gateway that runs: applied with its config, taken back at its end, watched. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SystemError } from '../../ffi/errors.ts';
import { ConfigError, type LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Logger } from '../supervisor/log/logger.ts';
import { StartError } from '../supervisor/start-error.ts';
import { applyRoutes, undoRoutes } from './apply.ts';
import { hostFamilies } from './families.ts';
import { checkLoops } from './loop-check.ts';
import { ipCommand, planRoutes, type Step } from './plan.ts';
import { RouteRecord } from './record.ts';

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

  /** @param device  the name of the interface, which may be another after a swap */
  constructor(loaded: LoadedConfig, device: () => string, record: RouteRecord, log: Logger) {
    this.#loaded = loaded;
    this.#device = device;
    this.#record = record;
    this.#log = log;
    this.#timer = setInterval(() => this.#look(), LOOK_PERIOD_MS);
  }

  /**
   * Makes the routes be those of a config, whose `auto` may have come or gone.
   *
   * @throws ConfigError  when the kernel refuses one; all are as they were before
   */
  follow(loaded: LoadedConfig): void {
    const wasAuto = this.#loaded.config.routes.auto;
    const { config, file } = loaded;
    try {
      // What was applied by hand is left to the hand.
      if (config.routes.auto) this.#apply(config);
      else if (wasAuto && loaded !== this.#loaded) this.#undo();
    } catch (cause) {
      // The record of what was made may be what cannot be written.
      if (!(cause instanceof SystemError || cause instanceof StartError)) throw cause;
      const issue = { path: 'routes', message: cause.message, ...loaded.placeOf?.(['routes']) };
      throw new ConfigError(file ?? 'embedded default', [issue], { cause });
    }
    this.#loaded = loaded;
    this.#look();
  }

  /** Takes back what `auto` has made. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (!this.#loaded.config.routes.auto) return;
    try {
      this.#undo();
    } catch (error) {
      // The gateway ends all the same; `culvert route undo` finds the record.
      this.#log.error({ err: error }, 'routes-left');
    }
  }

  #apply(config: Config): void {
    const { routes, egress } = config;
    const device = this.#device();
    const { made, removed } = applyRoutes(stepsOf(config, device), device, this.#record);
    if (made.length + removed.length === 0) return;
    const commands = [
      ...made.map((step) => ipCommand(step, device)),
      ...removed.map((step) => ipCommand(step, device, 'del')),
    ];
    const { table, priority } = routes;
    this.#log.info({ table, priority, mark: egress.fwmark, commands }, 'routes-applied');
  }

  #undo(): void {
    const removed = undoRoutes(this.#device(), this.#record);
    this.#log.info({ count: removed.length }, 'routes-undone');
  }

  #look(): void {
    const warnings = checkLoops(this.#loaded.config, this.#device()).map(({ message }) => message);
    const text = warnings.join('\n');
    if (text === this.#warned) return;
    this.#warned = text;
    for (const why of warnings) this.#log.warn({ why }, 'route-loop');
    if (warnings.length === 0) this.#log.info('route-loop-over');
  }
}
