/**
 * Every way in which the config changes while the gateway runs: read from disk again, or sent by a
 * client. A config is taken together with the scripts that it names, or nothing is.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { autosaveFile } from '../config/autosave.ts';
import {
  type ConfigDifference,
  maskSecrets,
  unmaskSecrets,
  viewDifferences,
} from '../config/config-value.ts';
import {
  ConfigFileError,
  type Rewrite,
  rewriteConfig,
  type StagedFile,
  stageFile,
} from '../config/config-writer.ts';
import { formatPath } from '../config/documents.ts';
import {
  ConfigError,
  type ConfigFiles,
  type ConfigIssue,
  type LoadedConfig,
} from '../config/load.ts';
import { assertReloadable } from '../config/reloadable.ts';
import type { Config } from '../config/schema.ts';
import type { LiveConfig } from '../messages/control.ts';
import { AutosaveWriter } from './autosave-writer.ts';
import { type ConfigState, checkConfig, nameOf } from './config-state.ts';
import type { DiskChange } from './disk-watch.ts';
import { KernelChange, type KernelPorts } from './kernel-change.ts';
import type { Logger } from './log/logger.ts';
import type { Notices } from './notices.ts';
import { StaleChangeError } from './scripts/change-errors.ts';
import type { BundleContent } from './scripts/generation.ts';
import type { Change, ChangeOptions } from './scripts/generations.ts';
import { readBundle, type ScriptChanges } from './scripts/script-changes.ts';
import { scriptLimits } from './scripts/script-limits.ts';

/** Where a config comes from, and where the one that runs is kept. */
export interface ConfigOrigin {
  /** Reads it from disk again. @throws ConfigError */
  readonly read: () => LoadedConfig;
  /** Where it is read from; absent for the embedded default. */
  readonly files: () => ConfigFiles | undefined;
  /** Fills in what is not written, flags and environment included. @throws ConfigError */
  readonly validate: (value: unknown, name: string) => Config;
  readonly stateFolder: string | undefined;
}

export interface ConfigChangesOptions extends ConfigOrigin {
  readonly log: Logger;
  readonly notices: Notices;
  readonly state: ConfigState;
  readonly scripts: Pick<ScriptChanges, 'inTurn' | 'generations'>;
  /** What the process was started with. */
  readonly started: LoadedConfig;
  readonly kernel: KernelPorts;
  /** Upstreams that are to come are there already, or no more; the rest is as it was. */
  readonly announce: (live: LiveConfig) => void;
  /** It is the config that runs; the data plane gets it where that has to know. */
  readonly onTaken: (loaded: LoadedConfig, live: LiveConfig | undefined) => void;
}

export interface ConfigChangeOptions {
  /** ETags that the caller accepts; absent: whatever is there. */
  readonly ifMatch?: readonly string[] | undefined;
  readonly dryRun?: boolean | undefined;
  readonly force?: boolean | undefined;
  /** Write it to the config file, too. */
  readonly persist?: boolean | undefined;
}

export interface ConfigChange extends Change {
  readonly differences: readonly ConfigDifference[];
  readonly isPersisted: boolean;
}

/** How long the end of the gateway waits for a disk. */
const SAVE_TIMEOUT_MS = 5_000;
/** Of the hash in an ETag: 64 bits of it. */
const TAG_DIGITS = 16;

export class ConfigChanges {
  readonly #options: ConfigChangesOptions;
  /** Secrets are in what is hashed, and who may only look must not try guesses of them with it. */
  readonly #tagKey = randomBytes(32);
  readonly #autosave: AutosaveWriter;
  /** What the file says, as it was read last. */
  #read: unknown;
  /** What it is about to say: the disk may be slow, and its watch quick. */
  #writing: { readonly value: unknown } | undefined;

  constructor(options: ConfigChangesOptions) {
    this.#options = options;
    this.#read = options.started.value;
    const { stateFolder, log } = options;
    this.#autosave = new AutosaveWriter({
      path: () => (stateFolder === undefined ? undefined : autosaveFile(stateFolder)),
      onFailed: ({ message }) => log.warn({ why: message }, 'config-not-saved'),
    });
  }

  /** Of the config that runs; changes with every change of it. */
  get etag(): string {
    const { generation, loaded } = this.#options.state;
    const text = JSON.stringify(loaded.value ?? {});
    const digest = createHmac('sha256', this.#tagKey).update(text).digest('hex');
    return `"${generation}-${digest.slice(0, TAG_DIGITS)}"`;
  }

  /** What was written, without secrets. */
  get shown(): unknown {
    return maskSecrets(this.#options.state.loaded.value ?? {});
  }

  /**
   * Whether a change on disk is one that a reload would see. Files of the config may say what they
   * said when they were read, or written, last; one that cannot be used does not.
   */
  isNews({ isConfigOnly }: DiskChange): boolean {
    const isNews = !isConfigOnly || this.#saysOtherwise();
    if (isNews) this.#options.log.info('changed-on-disk');
    return isNews;
  }

  #saysOtherwise(): boolean {
    try {
      const { value } = this.#options.read();
      const isWriting = this.#writing !== undefined && Bun.deepEquals(value, this.#writing.value);
      return !isWriting && !Bun.deepEquals(value, this.#read);
    } catch (error) {
      if (error instanceof ConfigError) return true;
      throw error;
    }
  }

  /** @throws ConfigError, BundleRejectedError  nothing was changed */
  async reload(options: ChangeOptions): Promise<Change> {
    try {
      return await this.#reload(options);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      if (!options.dryRun) this.#options.notices.tell('RELOAD', { result: 'failed', detail });
      throw error;
    }
  }

  async #reload(options: ChangeOptions): Promise<Change> {
    const { state, started, read, scripts } = this.#options;
    const loaded = read();
    const bundle = readBundle(loaded);
    const before = state.config;
    assertReloadable(started.config, loaded);
    const apply = (change: KernelChange) => {
      const onApplying = async () => {
        await options.onApplying?.();
        await change.begin();
      };
      return scripts.generations.apply('reload', () => bundle, { ...options, onApplying });
    };
    const change = await this.#take(loaded, apply, options);
    if (options.dryRun) return change;
    this.#read = loaded.value;
    const isSame = Bun.deepEquals(before, loaded.config);
    return { ...change, changed: change.changed || !isSame };
  }

  /**
   * Takes what `make` makes of the written config. Scripts are read from disk again only where the
   * config names others, so that what came over the API stays.
   *
   * @throws StaleChangeError, RestartRequiredError, ConfigError, BundleRejectedError,
   *         ConfigFileError  nothing was changed
   */
  change(make: (written: unknown) => unknown, options: ConfigChangeOptions): Promise<ConfigChange> {
    return this.#options.scripts.inTurn(options.dryRun === true, () => this.#change(make, options));
  }

  /** The config that runs outlives the process, where there is a folder for it. */
  save(): Promise<void> {
    return this.#autosave.save(this.#options.state.loaded);
  }

  /** Settles when no config is left to be saved, or the disk takes too long. */
  async saved(forced?: Promise<unknown>): Promise<void> {
    if (await this.#autosave.settled(SAVE_TIMEOUT_MS, forced)) return;
    this.#options.log.warn({ why: 'the gateway ends before it is written' }, 'config-not-saved');
  }

  async #change(
    make: (written: unknown) => unknown,
    options: ConfigChangeOptions,
  ): Promise<ConfigChange> {
    const { state, started, validate, scripts } = this.#options;
    if (options.ifMatch !== undefined && !options.ifMatch.includes(this.etag)) {
      throw new StaleChangeError(`the config is ${this.etag}, not ${options.ifMatch.join(' or ')}`);
    }
    const { loaded: current } = state;
    const value = unmasked(make(current.value ?? {}), current);
    // Where the old text said what, the new one need not.
    const { placeOf: _, ...origin } = current;
    const loaded = { ...origin, value, config: validate(value, nameOf(current)) };
    assertReloadable(started.config, loaded);
    const rewrite = options.persist ? rewriteConfig(current.file, this.#read, value) : undefined;
    const differences = viewDifferences(current.value ?? {}, value);
    const isSame = Bun.deepEquals(current.config, loaded.config);
    const bundle = bundleOf(current, loaded);
    // The precondition was that of the config, and has been met.
    const { dryRun, force } = options;
    const apply = (change: KernelChange) =>
      scripts.generations.apply('api', bundle, { dryRun, onApplying: () => change.begin() });
    const written = dryRun ? undefined : rewrite;
    const change = await this.#take(loaded, apply, { dryRun, force }, written);
    return { ...change, changed: !dryRun && !isSame, differences };
  }

  /** Scripts run before the rest of their config is in force, and may name its upstreams. */
  #withUpstreams(
    { config }: LoadedConfig,
    apply: () => Promise<Change>,
    dryRun: boolean | undefined,
  ): Promise<Change> {
    const { state, announce } = this.#options;
    const tell = () => (dryRun ? undefined : announce(state.live));
    return state.names.withUpstreamsOf(config, tell, apply);
  }

  /** @param rewrite  of its file, if that is to be written */
  async #take(
    loaded: LoadedConfig,
    apply: (kernelChange: KernelChange) => Promise<Change>,
    { dryRun, force }: Pick<ChangeOptions, 'dryRun' | 'force'>,
    rewrite?: Rewrite,
  ): Promise<Change & Pick<ConfigChange, 'isPersisted'>> {
    const { log, notices, state, kernel, onTaken } = this.#options;
    const checked = checkConfig(loaded);
    const { file } = loaded;
    const kernelChange = new KernelChange(kernel, log, state.loaded, loaded);
    // Before the kernel follows: a disk that is full must not leave it to a config that is refused.
    const staged =
      rewrite && file !== undefined
        ? await stageFile(file, rewrite.text, rewrite.before)
        : undefined;
    let change: Change;
    try {
      const applyAll = async () => {
        const applied = await apply(kernelChange);
        // Scripts that are the same were not applied.
        if (!dryRun) await kernelChange.begin();
        return applied;
      };
      change = await this.#withUpstreams(loaded, applyAll, dryRun);
    } catch (error) {
      await staged?.discard();
      await kernelChange.undo();
      throw error;
    }
    if (dryRun) return { ...change, isPersisted: false };
    const isSame = Bun.deepEquals(state.config, loaded.config);
    state.accept(checked);
    onTaken(loaded, isSame && !force ? undefined : state.nextLive());
    await kernelChange.finish();
    const saved = this.save();
    log.info({ config_generation: state.generation }, 'config-reloaded');
    notices.tell('RELOAD', { result: 'ok', config_generation: state.generation });
    const isPersisted = staged !== undefined && (await this.#isWritten(staged, loaded.value));
    // Whoever is told that it is in force may rely on it after a crash.
    await saved;
    return { ...change, isPersisted };
  }

  /** A config that runs is not undone because a file cannot be written; the log says why. */
  async #isWritten({ commit }: StagedFile, value: unknown): Promise<boolean> {
    this.#writing = { value };
    try {
      await commit();
      this.#read = value;
      return true;
    } catch (error) {
      if (!(error instanceof ConfigFileError)) throw error;
      this.#options.log.warn({ why: error.message }, 'config-not-saved');
      return false;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** What was sent, with the secrets that it left as they were shown. @throws ConfigError */
function unmasked(sent: unknown, current: LoadedConfig): unknown {
  const issues: ConfigIssue[] = [];
  const message = 'is the mask of no secret that is known here: write the secret itself';
  const value = unmaskSecrets(sent, current.value, (path) =>
    issues.push({ path: formatPath(path), message }),
  );
  if (issues.length > 0) throw new ConfigError(nameOf(current), issues);
  return value;
}

/** The scripts of a config that was sent, made of those that run. */
function bundleOf(
  current: LoadedConfig,
  wanted: LoadedConfig,
): (active: BundleContent) => BundleContent {
  const sources = ({ config: { scripts } }: LoadedConfig) => {
    const { load, files, root, sets } = scripts;
    return { load, files, root, sets };
  };
  if (!Bun.deepEquals(sources(current), sources(wanted))) {
    const bundle = readBundle(wanted);
    return () => bundle;
  }
  const { vars } = wanted.config.scripts;
  const isSameVars = Bun.deepEquals(vars, current.config.scripts.vars);
  const limits = scriptLimits(wanted.config);
  return (active) => ({ ...active, limits, ...(isSameVars ? {} : { vars }) });
}
