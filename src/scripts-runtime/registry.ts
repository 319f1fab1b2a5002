/**
 * Generations of scripts inside one host. New flows ask the active one; a call in flight finishes
 * on the generation it started with, which goes when its last call ended.
 */
import type { Script } from './script.ts';

export class Generation {
  readonly number: number;
  /** In the order of asking. */
  readonly scripts: readonly Script[];
  /** Microseconds to a verdict. */
  readonly wallUs: number;
  /** Decisions that may wait at once. */
  readonly pendingMax: number;
  #calls = 0;
  #isRetired = false;

  constructor(number: number, scripts: readonly Script[], wallUs: number, pendingMax: number) {
    this.number = number;
    this.scripts = scripts;
    this.wallUs = wallUs;
    this.pendingMax = pendingMax;
  }

  get isOver(): boolean {
    const isWorking = this.scripts.some((script) => script.hooks.isWorking);
    return this.#isRetired && this.#calls === 0 && !isWorking;
  }

  /** A decision starts to wait. */
  acquire(): void {
    this.#calls++;
  }

  /** A decision that waited has ended. */
  release(): void {
    this.#calls--;
  }

  retire(): void {
    this.#isRetired = true;
    for (const script of this.scripts) script.retire();
  }

  dispose(): void {
    for (const script of this.scripts) script.dispose();
  }
}

export class Registry {
  #active: Generation | undefined;
  #generations: Generation[] = [];

  /** Undefined until the first bundle was loaded. */
  get active(): Generation | undefined {
    return this.#active;
  }

  /** Active and retired ones that still have calls. */
  get generations(): readonly Generation[] {
    return this.#generations;
  }

  activate(next: Generation): void {
    this.#active?.retire();
    this.#active = next;
    this.#generations.push(next);
    this.sweep();
  }

  /** Lets go of what is over. Returns whether something was. */
  sweep(): boolean {
    if (!this.#generations.some((generation) => generation.isOver)) return false;
    for (const generation of this.#generations) if (generation.isOver) generation.dispose();
    this.#generations = this.#generations.filter((generation) => !generation.isOver);
    return true;
  }
}
