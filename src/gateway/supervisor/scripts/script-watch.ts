/**
 * Reloads when files of scripts change. Editors write a file in several steps, and a checkout many
 * files, so it waits until nothing has changed for a moment. What fails changes nothing, and the
 * log says so.
 */
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Logger } from '../log/logger.ts';

/** Quiet time before a reload. */
const SETTLE_MS = 500;
/** Somebody who writes all the time is not waited for longer. */
const SETTLE_MAX_MS = 5_000;

/** What editors leave beside a file while they write it: `.a.ts.swp`, `a.ts~`, `#a.ts#`, `4913`. */
const SCRATCH = /^\.|~$|^#|^\d+$|\.(swp|swx|tmp)$/;

export class ScriptWatch {
  readonly #log: Logger;
  readonly #onChange: () => void;
  readonly #settleMs: number;
  #watchers = new Map<string, FSWatcher>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #firstAt = 0;

  constructor(log: Logger, onChange: () => void, settleMs = SETTLE_MS) {
    this.#log = log;
    this.#onChange = onChange;
    this.#settleMs = settleMs;
  }

  /** Watches the folders of these files, and no others any more. */
  watch(files: readonly string[]): void {
    const folders = new Set(files.map((file) => dirname(file)));
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) if (!this.#watchers.has(folder)) this.#open(folder);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.watch([]);
  }

  /** A folder, because a file that is replaced is another file under its name. */
  #open(folder: string): void {
    try {
      const watcher = watch(folder, (_, name) => this.#changed(name));
      watcher.on('error', (error) => {
        this.#log.warn({ folder, err: error }, 'watch-ended');
        watcher.close();
        this.#watchers.delete(folder);
      });
      this.#watchers.set(folder, watcher);
    } catch (error) {
      this.#log.warn({ folder, err: error }, 'watch-failed');
    }
  }

  #changed(name: string | null): void {
    if (name !== null && SCRATCH.test(basename(name))) return;
    const now = performance.now();
    if (this.#timer === undefined) this.#firstAt = now;
    else if (now - this.#firstAt < SETTLE_MAX_MS) clearTimeout(this.#timer);
    else return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#log.info('scripts-changed-on-disk');
      this.#onChange();
    }, this.#settleMs);
  }
}
