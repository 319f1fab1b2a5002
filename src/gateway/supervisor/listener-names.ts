/** Names of listeners by the generation of the config, for flows that outlive it. */
const GENERATIONS_KEPT = 1000;

export class ListenerNames {
  readonly #byGeneration = new Map<number, readonly string[]>();

  note(generation: number, listeners: readonly { readonly name: string }[]): void {
    this.#byGeneration.set(
      generation,
      listeners.map(({ name }) => name),
    );
    this.#byGeneration.delete(generation - GENERATIONS_KEPT);
  }

  of(generation: number, index: number): string | undefined {
    return this.#byGeneration.get(generation)?.[index];
  }
}
