import type { ScriptStats } from '../bundle/bundle.ts';

/** What one script did, summed over its generations. */
export class ScriptCounters {
  readonly #script: string;
  readonly #limitHits: Record<string, number> = {};
  generation = 0;
  decisions = 0;
  errors = 0;
  /** Microseconds spent inside the script. */
  cpuUs = 0;
  isDisabled = false;

  constructor(script: string) {
    this.#script = script;
  }

  hit(limit: string): void {
    this.#limitHits[limit] = (this.#limitHits[limit] ?? 0) + 1;
  }

  snapshot(): ScriptStats {
    return {
      script: this.#script,
      generation: this.generation,
      decisions: this.decisions,
      errors: this.errors,
      limitHits: { ...this.#limitHits },
      cpuUs: Math.round(this.cpuUs),
      disabled: this.isDisabled,
    };
  }
}
