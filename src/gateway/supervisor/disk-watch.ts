/**
 * Reloads when files change that the gateway was made from. Editors write a file in several steps,
 * and a checkout many files, so it waits until nothing has changed for a moment. What fails changes
 * nothing, and the log says so.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { basename } from 'node:path';
import { AUTOSAVE_NAME } from '../config/autosave.ts';
import type { WatchedFiles } from '../config/watched-files.ts';
import type { Logger } from './log/logger.ts';

/** Quiet time before a reload. */
const SETTLE_MS = 500;
/** Somebody who writes all the time is not waited for longer. */
const SETTLE_MAX_MS = 5_000;

/** How often it looks whether a folder is another one by now, or there again. */
const LOOK_MS = 2_000;

/** What is left beside a file while it is written: `.a.ts.swp`, `a.ts~`, `#a.ts#`, `4913`. */
const SCRATCH = /^\.|~$|^#|^\d+$|\.(swp|swx|tmp|new)$/;
/** A volume of Kubernetes replaces this link, and all of its files are others. */
const KUBERNETES_DATA = '..data';

export interface DiskChange {
  /** Nothing has changed but files of the config itself. */
  readonly isConfigOnly: boolean;
}

interface OpenFolder {
  readonly watcher: FSWatcher;
  /** Device and inode: another folder of the same name is not the one that is watched. */
  readonly identity: string | undefined;
  /** It was told of itself, as when it was deleted: the next one may get its inode. */
  isStale: boolean;
}

export class DiskWatch {
  readonly #log: Logger;
  readonly #onChange: (change: DiskChange) => void;
  readonly #settleMs: number;
  readonly #lookMs: number;
  readonly #open = new Map<string, OpenFolder>();
  /** Their warning was written. */
  readonly #failed = new Set<string>();
  #watched: readonly WatchedFiles[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looks: ReturnType<typeof setInterval> | undefined;
  #firstAt = 0;
  #isConfigOnly = true;

  constructor(
    log: Logger,
    onChange: (change: DiskChange) => void,
    settleMs = SETTLE_MS,
    lookMs = LOOK_MS,
  ) {
    this.#log = log;
    this.#onChange = onChange;
    this.#settleMs = settleMs;
    this.#lookMs = lookMs;
  }

  /** Watches these, and no others any more. */
  watch(watched: readonly WatchedFiles[]): void {
    this.#watched = watched;
    const folders = this.#folders();
    for (const folder of this.#open.keys()) if (!folders.has(folder)) this.#drop(folder);
    for (const folder of this.#failed) if (!folders.has(folder)) this.#failed.delete(folder);
    this.#follow();
    clearInterval(this.#looks);
    if (folders.size === 0) return;
    this.#looks = setInterval(() => this.#look(), this.#lookMs);
    this.#looks.unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.watch([]);
  }

  #folders(): Set<string> {
    return new Set(this.#watched.map(({ folder }) => folder));
  }

  /** What lies in a folder that is another one is new, all of it. */
  #look(): void {
    for (const folder of this.#follow()) {
      this.#log.info({ folder }, 'watch-moved');
      this.#changed(folder, null);
    }
  }

  /** Watches the folders that have the names now. @returns those that were not watched before */
  #follow(): string[] {
    return [...this.#folders()].filter((folder) => {
      const identity = identityOf(folder);
      const open = this.#open.get(folder);
      if (open !== undefined && !open.isStale && open.identity === identity) return false;
      this.#drop(folder);
      return this.#begin(folder, identity);
    });
  }

  /**
   * A folder, because a file that is replaced is another file under its name.
   *
   * @param identity  of before it is opened: what takes its place meanwhile is found by the next
   *   look
   */
  #begin(folder: string, identity: string | undefined): boolean {
    try {
      const watcher = watch(folder, (_, name) => {
        if (name === basename(folder)) open.isStale = true;
        this.#changed(folder, name);
      });
      const open: OpenFolder = { watcher, identity, isStale: false };
      watcher.on('error', (error) => {
        this.#log.warn({ folder, err: error }, 'watch-ended');
        open.isStale = true;
      });
      this.#open.set(folder, open);
      this.#failed.delete(folder);
      return true;
    } catch (error) {
      if (!this.#failed.has(folder)) this.#log.warn({ folder, err: error }, 'watch-failed');
      this.#failed.add(folder);
      return false;
    }
  }

  #drop(folder: string): void {
    this.#open.get(folder)?.watcher.close();
    this.#open.delete(folder);
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

/** @returns undefined where there is none, or none that may be seen */
function identityOf(folder: string): string | undefined {
  try {
    const { dev, ino } = statSync(folder);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** What a reload writes itself would be followed by the next one. */
const isContent = (name: string): boolean =>
  !SCRATCH.test(name) && !ROUTE_RECORD.test(name) && name !== AUTOSAVE_NAME;
