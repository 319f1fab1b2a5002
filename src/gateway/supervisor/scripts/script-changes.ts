/** Every way in which scripts change, and the record of how it went: log, counters, reloads. */
import { readAuthorities } from '../../config/authorities.ts';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import { readScripts } from '../../config/scripts.ts';
import { readSets } from '../../config/sets.ts';
import type { WatchedFiles } from '../../config/watched-files.ts';
import type { ScriptSource } from '../../messages/script-control.ts';
import { type DiskChange, DiskWatch } from '../disk-watch.ts';
import type { Logger } from '../log/logger.ts';
import { Mutex } from '../mutex.ts';
import type { Notices } from '../notices.ts';
import { BundleRejectedError, NoTrialError } from './change-errors.ts';
import type { BundleContent, Generation } from './generation.ts';
import type { HistoryStore, TrialRunner } from './generation-parts.ts';
import {
  type Activator,
  type Change,
  type ChangeOptions,
  Generations,
  HISTORY_LENGTH,
} from './generations.ts';
import { readHashKey } from './hash-key.ts';
import { HistoryFiles } from './history-files.ts';
import { ReloadHistory } from './reload-history.ts';
import { type ReloadRecord, Reloads } from './reloads.ts';
import type { RevalidateMode, Revalidation } from './revalidation.ts';
import { scriptLimits } from './script-limits.ts';

export type NewScript = ScriptSource;
export type NewBundle = Pick<BundleContent, 'scripts'> & {
  readonly [K in 'vars' | 'sets']?: BundleContent[K] | undefined;
};

export class NoSuchScriptError extends Error {
  override readonly name = 'NoSuchScriptError';
  readonly code = 'NO_SUCH_SCRIPT';
}

export interface ScriptChangesOptions {
  readonly log: Logger;
  readonly activator: Activator;
  readonly trials: TrialRunner;
  /** Begins to ask the bundle about live flows. */
  readonly revalidation: (
    generation: Generation,
    mode: Exclude<RevalidateMode, 'keep'>,
  ) => Revalidation;
  /** Files have changed that the gateway was made from, and the config wants to know. */
  readonly onDiskChange: (change: DiskChange) => void;
  readonly loaded: LoadedConfig;
  readonly notices: Notices;
  /** Where the history of scripts is kept; absent: in memory only. */
  readonly historyFolder: string | undefined;
}

export class ScriptChanges {
  readonly generations: Generations;
  readonly outcomes = new ReloadHistory();
  readonly reloads = new Reloads();
  readonly #log: Logger;
  readonly #revalidation: ScriptChangesOptions['revalidation'];
  readonly #notices: Notices;
  readonly #reloadLock = new Mutex();
  readonly #watcher: DiskWatch;
  #lastLogged = 0;

  constructor({
    log,
    activator,
    trials,
    revalidation,
    onDiskChange,
    loaded,
    notices,
    historyFolder,
  }: ScriptChangesOptions) {
    this.#log = log;
    this.#notices = notices;
    this.#revalidation = revalidation;
    this.#watcher = new DiskWatch(log, (change) => {
      try {
        onDiskChange(change);
      } catch (error) {
        log.error({ err: error }, 'reload-failed');
      }
    });
    const store = historyFolder === undefined ? undefined : openHistory(historyFolder, log);
    this.generations = new Generations(activator, scriptLimits(loaded.config), Date.now, {
      store,
      trials,
    });
  }

  /**
   * Loads the scripts of the config, or what ran last where the config wants that. With a script
   * that does not load there is no policy: better no gateway than an open one.
   *
   * @throws ConfigError, BundleRejectedError, ScriptHostError
   */
  async start(loaded: LoadedConfig): Promise<void> {
    await this.#begin(loaded);
    this.#lastLogged = this.generations.active.number;
  }

  /** Looks after these files, and no others any more. */
  watchDisk(files: readonly WatchedFiles[]): void {
    this.#watcher.watch(files);
  }

  close(): void {
    this.#watcher.close();
  }

  put(script: NewScript, options: ChangeOptions): Promise<Change> {
    return this.#change((active) => ({ ...active, scripts: withScript(active, script) }), options);
  }

  /** Replaces all scripts; what else is absent stays. */
  putAll({ scripts, vars, sets }: NewBundle, options: ChangeOptions): Promise<Change> {
    const given = { scripts, ...(vars && { vars }), ...(sets && { sets }) };
    return this.#change((active) => ({ ...active, ...given }), options);
  }

  /** @throws NoSuchScriptError */
  remove(name: string, options: ChangeOptions): Promise<Change> {
    return this.#change((active) => {
      const scripts = active.scripts.filter((script) => script.name !== name);
      if (scripts.length === active.scripts.length) {
        throw new NoSuchScriptError(`no script "${name}" is loaded`);
      }
      return { ...active, scripts };
    }, options);
  }

  rollback(to: number | undefined, options: ChangeOptions): Promise<Change> {
    return this.#watch(options, this.generations.rollback(to, options));
  }

  /** @throws NoTrialError, BundleRejectedError */
  promote(options: Pick<ChangeOptions, 'ifMatch'> = {}): Promise<Change> {
    return this.#watch({}, this.generations.promote(options));
  }

  /** A canary whose time is over takes over by itself. */
  async promotePassed(): Promise<void> {
    try {
      await this.promote();
    } catch (error) {
      // Stopped, or promoted by hand, at the same moment.
      if (!(error instanceof NoTrialError || error instanceof BundleRejectedError)) throw error;
      this.#log.warn({ why: error.message }, 'trial-not-promoted');
    }
  }

  /** @throws NoTrialError */
  abortTrial(options: Pick<ChangeOptions, 'ifMatch'>): Promise<Change> {
    return this.#watch({}, this.generations.abortTrial(options));
  }

  /** Does a change that comes with one of the config; none of them overlaps with a reload. */
  inTurn<T extends Change>(isDryRun: boolean, task: () => Promise<T>): Promise<T> {
    return this.#watch({ dryRun: isDryRun }, this.#reloadLock.run(task));
  }

  /** Begins a reload; one after the other, in the order of asking. @throws TooManyReloadsError */
  startReload(
    options: ChangeOptions,
    reload: (options: ChangeOptions) => Promise<Change>,
  ): ReloadRecord {
    return this.reloads.start(options.dryRun === true, async (onApplying) => {
      const run = () => reload({ ...options, onApplying });
      try {
        return await this.#watch(options, this.#reloadLock.run(run));
      } catch (error) {
        // Whoever asked may not wait, and a signal cannot.
        this.#log.error({ err: error }, 'reload-failed');
        throw error;
      }
    });
  }

  async #begin(loaded: LoadedConfig): Promise<void> {
    const { lastGood } = loaded.config.scripts.reload;
    const [last] = this.generations.history;
    if (lastGood === 'always' && last !== undefined) {
      await this.#resume(last);
      return;
    }
    try {
      const bundle = readBundle(loaded);
      await this.generations.apply('start', () => bundle);
    } catch (error) {
      const isFault = error instanceof BundleRejectedError || error instanceof ConfigError;
      if (!isFault || lastGood === 'never' || last === undefined) throw error;
      this.#log.error({ err: error }, 'scripts-refused');
      await this.#resume(last);
    }
  }

  async #resume(last: BundleContent): Promise<void> {
    await this.generations.apply('start', () => last);
    this.#log.warn({ generation: this.generations.active.number }, 'started-with-last-good');
  }

  #change(make: (active: BundleContent) => BundleContent, options: ChangeOptions): Promise<Change> {
    return this.#watch(options, this.generations.apply('api', make, options));
  }

  /** A dry run is no change: it counts as neither success nor failure. */
  async #watch<T extends Change>(options: ChangeOptions, pending: Promise<T>): Promise<T> {
    if (options.dryRun) return pending;
    const change = await this.outcomes.watch(pending);
    this.#logChange(change);
    return this.#revalidate(change, options);
  }

  /** A bundle on trial decides about no flow that lives. */
  #revalidate<T extends Change>(change: T, { revalidate = 'keep' }: ChangeOptions): T {
    if (revalidate === 'keep' || !change.changed || change.trial !== undefined) return change;
    const revalidation = this.#revalidation(change.generation, revalidate);
    const rest = Promise.all([change.drained, revalidation.run()]);
    return { ...change, revalidation, drained: rest.then(() => undefined) };
  }

  #logChange({ generation, trial }: Change): void {
    // A reload may have changed the config alone.
    if (generation.number === this.#lastLogged || trial !== undefined) return;
    this.#lastLogged = generation.number;
    const { number, hash, origin, scripts } = generation;
    const names = scripts.map((script) => script.name);
    const fields = { generation: number, hash, origin, scripts: names };
    this.#log.info(fields, 'scripts-activated');
    this.#notices.tell('GENERATION', fields);
  }
}

/** A change that nobody has given options: as the config has it. */
export const configuredChange = ({ config }: LoadedConfig): ChangeOptions => {
  const { share, errors, window: windowMs, for: forMs } = config.scripts.reload.canary;
  if (share === 0) return {};
  return {
    trial: { mode: 'canary', share: share / 100, errors: errors / 100, windowMs, forMs },
  };
};

export function readBundle(loaded: LoadedConfig): BundleContent {
  const { vars } = loaded.config.scripts;
  const limits = scriptLimits(loaded.config);
  const ca = readAuthorities(loaded);
  const content = { scripts: readScripts(loaded), vars, limits, sets: readSets(loaded) };
  return ca === undefined ? content : { ...content, ca };
}

/** What a script may do is said by the config, or with the new script, and stays otherwise. */
function withScript({ scripts }: BundleContent, script: NewScript): readonly NewScript[] {
  const old = scripts.find(({ name }) => name === script.name);
  if (old === undefined) return [...scripts, script];
  const { allow, schedule } = old;
  const next = { ...(allow && { allow }), ...(schedule && { schedule }), ...script };
  return scripts.map((one) => (one === old ? next : one));
}

function openHistory(folder: string, log: Logger): HistoryStore {
  const files = new HistoryFiles(folder, log, HISTORY_LENGTH);
  return {
    ...files.load(),
    hashKey: readHashKey(folder, log),
    prepare: (generation) => files.prepare(generation),
    commit: (generation) => files.commit(generation),
  };
}
