/** An engine that is made ahead of need, so that a script that broke its own is back at once. */

import type { Script } from '../script/script.ts';
import { makeBareEngine } from './bare-engine.ts';
import type { BareEngine } from './engine.ts';

export class SpareEngine {
  readonly #needy: () => Script | undefined;
  #spare: BareEngine | undefined;
  #isMaking = false;

  /** @param needy  a script without an engine, if there is one */
  constructor(needy: () => Script | undefined) {
    this.#needy = needy;
  }

  /** It is being made, for which the event loop is needed. */
  get isMaking(): boolean {
    return this.#isMaking;
  }

  /** The engine, if there is one; the next one is being made then. */
  take(): BareEngine | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    this.make();
    return spare;
  }

  make(): void {
    if (this.#isMaking || this.#spare !== undefined) return;
    this.#isMaking = true;
    makeBareEngine()
      .then((bare) => this.#use(bare))
      .finally(() => {
        this.#isMaking = false;
        if (this.#needy() !== undefined) this.make();
      });
  }

  #use(bare: BareEngine): void {
    const script = this.#needy();
    if (script === undefined) this.#spare = bare;
    else script.revive(bare);
  }
}
