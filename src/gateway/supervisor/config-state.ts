/** The config that runs, and what was made of it. */
import type { LoadedConfig } from '../config/load.ts';
import type { LiveConfig } from '../messages/control.ts';
import { type AccessRules, accessRules } from './api/callers.ts';
import { ConfigNames } from './config-names.ts';
import type { ConfigFacts } from './scripts/script-bundle.ts';

/** A config with all that could still be wrong about it looked at. */
export interface CheckedConfig {
  readonly loaded: LoadedConfig;
  readonly access: AccessRules;
}

/** @throws ConfigError */
export const checkConfig = (loaded: LoadedConfig): CheckedConfig => ({
  loaded,
  access: accessRules(loaded.config.admin, nameOf(loaded), loaded.folder),
});

/** What errors call it. */
export const nameOf = ({ file }: LoadedConfig): string => file ?? 'embedded default';

export class ConfigState {
  /** What numbers of it mean in the rows of flows. */
  readonly names = new ConfigNames();
  readonly #accessListeners = new Set<() => void>();
  #checked: CheckedConfig;

  /** @throws ConfigError */
  constructor(loaded: LoadedConfig) {
    this.#checked = checkConfig(loaded);
  }

  get loaded(): LoadedConfig {
    return this.#checked.loaded;
  }

  get config() {
    return this.loaded.config;
  }

  /** Counts up with each config that the data plane gets. */
  get generation(): number {
    return this.names.generation;
  }

  /** Who may use the API. */
  get access(): AccessRules {
    return this.#checked.access;
  }

  /** Names that a `Host` may have. */
  get hosts(): readonly string[] {
    return this.config.admin.hosts;
  }

  /** Dashboards of Clash are wanted. */
  get isClash(): boolean {
    return this.config.admin.clash;
  }

  /** What the script host is told of it. */
  get facts(): ConfigFacts {
    return this.names.facts(this.config);
  }

  /** From now on it is the one that runs. */
  accept(checked: CheckedConfig): void {
    this.#checked = checked;
    for (const listener of [...this.#accessListeners]) listener();
  }

  /** Calls when others may use the API than before; the result ends that. */
  onAccess(listener: () => void): () => void {
    this.#accessListeners.add(listener);
    return () => this.#accessListeners.delete(listener);
  }

  /** What the data plane has, as its generation says. */
  get live(): LiveConfig {
    return this.names.live(this.config);
  }

  /** The same as a new generation. */
  nextLive(): LiveConfig {
    return this.names.next(this.config);
  }
}
