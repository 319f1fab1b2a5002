/**
 * What the data plane and the script host are told of each configuration, and what its numbers in
 * the rows of flows mean: also in flows that have outlived the configuration.
 */
import { toLiveConfig, toUpstreamRules } from '../config/plane.ts';
import type { Config } from '../config/schema.ts';
import type { FlowNames } from '../flow-filter/flow-context.ts';
import type { LiveConfig } from '../messages/control.ts';
import type { UpstreamRule } from '../messages/upstreams.ts';
import { ListenerNames } from './listener-names.ts';
import { closedAddresses } from './scripts/closed-addresses.ts';
import type { ConfigFacts } from './scripts/script-bundle.ts';

/** A row has 16 bits, and 0 is none. */
const UPSTREAM_IDS = 0xffff;

export class ConfigNames {
  readonly #listenerNames = new ListenerNames();
  readonly #upstreamIds = new Map<string, number>();
  readonly #upstreamNames = new Map<number, string>();
  #lastUpstreamId = 0;
  #generation = 0;
  /** Whose upstreams there are too, beside those of the configuration that runs. */
  #coming: Config | undefined;

  /** Of the configuration that the data plane has. */
  get generation(): number {
    return this.#generation;
  }

  /** What the data plane is told of a configuration that is new. */
  next(config: Config): LiveConfig {
    this.#listenerNames.note(++this.#generation, config.listeners);
    return this.live(config);
  }

  /** The same of one that it has. */
  live(config: Config): LiveConfig {
    const upstreams = this.#upstreamsOf(config);
    const names = upstreams.map(({ name }) => name);
    return {
      ...toLiveConfig(config, this.#generation),
      upstreams: upstreams.map((rule) => ({ ...rule, id: this.#upstreamId(rule.name, names) })),
    };
  }

  facts(config: Config): ConfigFacts {
    const kinds = this.#upstreamsOf(config).map(({ name, kind }) => [name, kind] as const);
    return {
      closed: closedAddresses(config),
      upstreams: Object.fromEntries(kinds),
      listeners: { ...redirectable(this.#coming), ...redirectable(config) },
      onError: config.scripts.onError,
    };
  }

  /**
   * Does something while there are the new upstreams of a configuration that is about to follow:
   * its scripts run before the rest of it is in force, and may name them.
   *
   * @param tell  has data plane and script host told; not called again when all went well, for
   *              then the configuration follows
   */
  async withUpstreamsOf<T>(coming: Config, tell: () => void, action: () => Promise<T>): Promise<T> {
    this.#coming = coming;
    tell();
    try {
      const result = await action();
      this.#coming = undefined;
      return result;
    } catch (error) {
      this.#coming = undefined;
      tell();
      throw error;
    }
  }

  listenerName(generation: number, index: number): string | undefined {
    return this.#listenerNames.of(generation, index);
  }

  upstreamName(id: number): string | undefined {
    return this.#upstreamNames.get(id);
  }

  /** What numbers in rows stand for; those of scripts are somebody else's. */
  ofFlows(scriptName: FlowNames['scriptName']): FlowNames {
    return {
      scriptName,
      listenerName: (generation, index) => this.listenerName(generation, index),
      upstreamName: (id) => this.upstreamName(id),
    };
  }

  #upstreamsOf(config: Config): readonly UpstreamRule[] {
    const own = toUpstreamRules(config);
    if (this.#coming === undefined) return own;
    const names = new Set(own.map(({ name }) => name));
    return [...own, ...toUpstreamRules(this.#coming).filter(({ name }) => !names.has(name))];
  }

  /** A name keeps its number; after 65,535 names those begin anew that are not in use. */
  #upstreamId(name: string, inUse: readonly string[]): number {
    const known = this.#upstreamIds.get(name);
    if (known !== undefined) return known;
    let id = this.#lastUpstreamId;
    let holder: string | undefined;
    do {
      id = (id % UPSTREAM_IDS) + 1;
      holder = this.#upstreamNames.get(id);
    } while (holder !== undefined && inUse.includes(holder));
    if (holder !== undefined) this.#upstreamIds.delete(holder);
    this.#upstreamIds.set(name, id);
    this.#upstreamNames.set(id, name);
    this.#lastUpstreamId = id;
    return id;
  }
}

/** What listeners take, by name: those that flows can be given to. */
const redirectable = (config: Config | undefined): NonNullable<ConfigFacts['listeners']> =>
  Object.fromEntries(
    (config?.listeners ?? [])
      .filter(({ action }) => action !== 'prefix')
      .map(({ name, protocol }) => [name, protocol]),
  );
