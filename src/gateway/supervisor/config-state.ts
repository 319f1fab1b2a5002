/** The config that runs, and what was made of it. */
import type { LoadedConfig } from '../config/load.ts';
import { toLiveConfig } from '../config/plane.ts';
import type { LiveConfig } from '../messages/control.ts';
import { type AccessRules, accessRules } from './api/callers.ts';
import { ListenerNames } from './listener-names.ts';

/** A config with all that could still be wrong about it looked at. */
export interface CheckedConfig {
  readonly loaded: LoadedConfig;
  readonly access: AccessRules;
}

/** @throws ConfigError */
export const checkConfig = (loaded: LoadedConfig): CheckedConfig => ({
  loaded,
  access: accessRules(loaded.config.admin, nameOf(loaded)),
});

/** What errors call it. */
export const nameOf = ({ file }: LoadedConfig): string => file ?? 'embedded default';

export class ConfigState {
  readonly #listenerNames = new ListenerNames();
  #checked: CheckedConfig;
  #generation = 0;

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
    return this.#generation;
  }

  /** Who may use the API. */
  get access(): AccessRules {
    return this.#checked.access;
  }

  /** Dashboards of Clash are wanted. */
  get isClash(): boolean {
    return this.config.admin.clash;
  }

  listenerName(generation: number, index: number): string | undefined {
    return this.#listenerNames.of(generation, index);
  }

  /** From now on it is the one that runs. */
  accept(checked: CheckedConfig): void {
    this.#checked = checked;
  }

  /** What the data plane has, as its generation says. */
  get live(): LiveConfig {
    return toLiveConfig(this.config, this.#generation);
  }

  /** The same as a new generation. */
  nextLive(): LiveConfig {
    const generation = ++this.#generation;
    this.#listenerNames.note(generation, this.config.listeners);
    return this.live;
  }
}
