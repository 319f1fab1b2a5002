/**
 * Reloads when files change that the gateway was made from. Editors write a file in several steps,
 * and a checkout many files, so it waits until nothing has changed for a moment. What fails changes
 * nothing, and the log says so.
 */
import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import { AUTOSAVE_NAME } from '../config/autosave.ts';
import type { WatchedFiles } from '../config/watched-files.ts';
import type { Logger } from './log/logger.ts';

/** Quiet time before a reload. */
const SETTLE_MS = 500;
/** Somebody who writes all the time is not waited for longer. */
const SETTLE_MAX_MS = 5_000;

/** What is left beside a file while it is written: `.a.ts.swp`, `a.ts~`, `#a.ts#`, `4913`. */
const SCRATCH = /^\.|~$|^#|^\d+$|\.(swp|swx|tmp|new)$/;
/** A volume of Kubernetes replaces this link, and all of its files are others. */
const KUBERNETES_DATA = '..data';

export interface DiskChange {
  /** Nothing has changed but files of the config itself. */
  readonly isConfigOnly: boolean;
}

export class DiskWatch {
  readonly #log: Logger;
  readonly #onChange: (change: DiskChange) => void;
  readonly #settleMs: number;
  readonly #watchers = new Map<string, FSWatcher>();
  #watched: readonly WatchedFiles[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #firstAt = 0;
  #isConfigOnly = true;

  constructor(log: Logger, onChange: (change: DiskChange) => void, settleMs = SETTLE_MS) {
    this.#log = log;
    this.#onChange = onChange;
    this.#settleMs = settleMs;
  }

  /** Watches these, and no others any more. */
  watch(watched: readonly WatchedFiles[]): void {
    this.#watched = watched;
    const folders = new Set(watched.map(({ folder }) => folder));
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
      const watcher = watch(folder, (_, name) => this.#changed(folder, name));
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

  /** @param path  from the folder; null where the kernel does not say */
  #changed(folder: string, path: string | null): void {
    const kind = this.#kindOf(folder, path === null ? KUBERNETES_DATA : basename(path));
    if (kind === undefined) return;
    if (kind !== 'config') this.#isConfigOnly = false;
    const now = performance.now();
    if (this.#timer === undefined) this.#firstAt = now;
    else if (now - this.#firstAt < SETTLE_MAX_MS) clearTimeout(this.#timer);
    else return;
    this.#timer = setTimeout(() => this.#settled(), this.#settleMs);
  }

  #settled(): void {
    this.#timer = undefined;
    const change = { isConfigOnly: this.#isConfigOnly };
    this.#isConfigOnly = true;
    this.#onChange(change);
  }

  /** What a file of this name is; a config is nothing else, also among scripts. */
  #kindOf(folder: string, name: string): WatchedFiles['kind'] | undefined {
    const here = this.#watched.filter((files) => files.folder === folder);
    if (name === KUBERNETES_DATA) {
      return (here.find(({ kind }) => kind === 'content') ?? here[0])?.kind;
    }
    const found = here.filter(({ names }) => names?.test(name) ?? isContent(name));
    return (found.find(({ kind }) => kind === 'config') ?? found[0])?.kind;
  }
}

/** Of routes that were made; see `RouteRecord`. */
const ROUTE_RECORD = /^routes-.*\.(json|lock)$/;

/** What a reload writes itself would be followed by the next one. */
const isContent = (name: string): boolean =>
  !SCRATCH.test(name) && !ROUTE_RECORD.test(name) && name !== AUTOSAVE_NAME;
