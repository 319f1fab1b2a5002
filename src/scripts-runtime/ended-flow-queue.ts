/** Flows that ended, until their scripts have heard of it: one slice of time after the other. */
import type { EndedFlow } from './bundle/bundle.ts';
import type { Generation, Registry } from './generations/registry.ts';
import { SLICE_US } from './limits.ts';
import type { Script } from './script/script.ts';

export class EndedFlowQueue {
  readonly #registry: Registry;
  #flows: readonly EndedFlow[] = [];

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  get isEmpty(): boolean {
    return this.#flows.length === 0;
  }

  add(flows: readonly EndedFlow[]): void {
    this.#flows = this.#flows.concat(flows);
  }

  /**
   * Tells for one slice of time; the rest waits for the next call.
   *
   * @param now  microseconds
   */
  tell(now: () => number): void {
    const end = now() + SLICE_US;
    let told = 0;
    for (const ended of this.#flows) {
      this.#closer(ended)?.hooks.closed(ended.flow, JSON.stringify(ended.result));
      told++;
      if (now() >= end) break;
    }
    this.#flows = this.#flows.slice(told);
  }

  /** Of the generation that decided, if it lives, else of the active one. */
  #closer({ script, generation }: EndedFlow): Script | undefined {
    const { active, generations } = this.#registry;
    const own = generations.find(({ number }) => number === generation) ?? active;
    return own?.scripts.find(({ name, hooks }) => name === script && hooks.has('closed'));
  }
}

/** Names of scripts that want to hear. */
export const closersOf = ({ scripts }: Generation): string[] =>
  scripts.filter(({ hooks }) => hooks.has('closed')).map(({ name }) => name);
