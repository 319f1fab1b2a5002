/** Which scripts got their host killed too often, and are loaded but not asked any more. */
import type { ScriptLimits } from '../../messages/script-control.ts';

export class KillBreaker {
  readonly #kills = new Map<string, number[]>();
  readonly #disabled = new Set<string>();

  get disabled(): readonly string[] {
    return [...this.#disabled];
  }

  /** Notes a kill at `nowMs`; true when it disables the script. */
  killed(script: string, nowMs: number, limits: ScriptLimits): boolean {
    const since = nowMs - limits.breakerWindowMs;
    const kills = [...(this.#kills.get(script) ?? []), nowMs].filter((at) => at > since);
    this.#kills.set(script, kills);
    if (kills.length < limits.breakerHits || this.#disabled.has(script)) return false;
    this.#disabled.add(script);
    return true;
  }

  /** A change of scripts gives every script a new chance. */
  reset(): void {
    this.#kills.clear();
    this.#disabled.clear();
  }
}
