/**
 * Keeps the config that runs on disk. Disks are slow, and the supervisor has other work: one write
 * is under way at a time, and of the configs that come meanwhile the last one is written.
 */
import { writeAutosave } from '../config/autosave.ts';
import { ConfigFileError } from '../config/config-writer.ts';
import type { LoadedConfig } from '../config/load.ts';

export interface AutosaveOptions {
  /** Undefined where nothing is to be kept. */
  readonly path: () => string | undefined;
  /** A config that runs is not undone because it cannot be kept. */
  readonly onFailed: (error: ConfigFileError) => void;
  /** @throws ConfigFileError */
  readonly write?: typeof writeAutosave;
}

export class AutosaveWriter {
  readonly #options: AutosaveOptions;
  #wanted: LoadedConfig | undefined;
  #work: Promise<void> | undefined;

  constructor(options: AutosaveOptions) {
    this.#options = options;
  }

  /** Settles when this config, or one that came later, is on disk, or cannot be kept. */
  save(loaded: LoadedConfig): Promise<void> {
    this.#wanted = loaded;
    this.#work ??= this.#writeAll();
    return this.#work;
  }

  /**
   * Settles when nothing is left to be written, or nobody waits any longer.
   *
   * @returns false when something is left: the file says what it said before
   */
  async settled(timeoutMs: number, forced?: Promise<unknown>): Promise<boolean> {
    if (this.#work === undefined) return true;
    const tooLate = Promise.withResolvers<false>();
    const timer = setTimeout(() => tooLate.resolve(false), timeoutMs);
    const written = this.#work.then(() => true);
    const isWritten = await Promise.race([
      written,
      tooLate.promise,
      ...(forced === undefined ? [] : [forced.then(() => false)]),
    ]);
    clearTimeout(timer);
    return isWritten;
  }

  async #writeAll(): Promise<void> {
    try {
      for (let next = this.#wanted; next !== undefined; next = this.#wanted) {
        this.#wanted = undefined;
        await this.#write(next);
      }
    } finally {
      this.#work = undefined;
    }
  }

  async #write(loaded: LoadedConfig): Promise<void> {
    const { path, write = writeAutosave, onFailed } = this.#options;
    const file = path();
    if (file === undefined) return;
    try {
      await write(file, loaded);
    } catch (error) {
      if (!(error instanceof ConfigFileError)) throw error;
      onFailed(error);
    }
  }
}
