/**
 * Generations of scripts: what ran, what runs, and how one replaces another. A change is checked,
 * then activated, under one lock; what does not load changes nothing. A rollback is a new
 * generation with old content, so that a number never means two things.
 */
import { basename } from 'node:path';
import { bundleFaults } from '../config/scripts.ts';
import { setFaults } from '../config/sets.ts';
import type {
  ScriptIssue,
  ScriptLimits,
  ScriptSet,
  ScriptSource,
} from '../messages/script-control.ts';
import { Mutex } from './mutex.ts';

/** Generations whose sources are kept, the active one included. */
const HISTORY_LENGTH = 20;
/** Generations whose names are kept, so that a flow that lives long can still be named. */
const NAMES_LENGTH = 1000;
const HASH_TEXT_LENGTH = 12;

/** All that decides how scripts behave. */
export interface BundleContent {
  readonly scripts: readonly ScriptSource[];
  readonly vars: Readonly<Record<string, string>>;
  readonly limits: ScriptLimits;
  readonly sets?: Readonly<Record<string, ScriptSet>>;
}

export type Origin = 'start' | 'reload' | 'api' | 'rollback';

export interface Generation extends BundleContent {
  /** 0 is the state before the first bundle. */
  readonly number: number;
  /** Of the content, hexadecimal. */
  readonly hash: string;
  readonly origin: Origin;
  /** Of a rollback: where its content comes from. */
  readonly copyOf?: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/**
 * Runs bundles. Both answer with what is wrong with the bundle; nothing wrong is an empty list.
 * Both reject with ScriptHostError when no host could tell.
 */
export interface Activator {
  /** Loads the bundle aside, changing nothing. */
  check(bundle: Generation): Promise<readonly ScriptIssue[]>;
  /** Replaces the active bundle, or leaves it as it was. */
  activate(bundle: Generation): Promise<readonly ScriptIssue[]>;
}

export interface ChangeOptions {
  /** ETags that the caller accepts; absent: whatever is active. */
  readonly ifMatch?: readonly string[] | undefined;
  /** Apply content that is identical to the active one. */
  readonly force?: boolean | undefined;
  /** Check only. */
  readonly dryRun?: boolean | undefined;
}

export interface Change {
  readonly generation: Generation;
  /** False when the content was identical, or on a dry run. */
  readonly changed: boolean;
}

/** The caller's ETag is not that of the active generation. */
export class StaleChangeError extends Error {
  override readonly name = 'StaleChangeError';
  readonly code = 'STALE';
}

/** The scripts may be right, but no host could load them now; nothing was changed. */
export class ScriptHostError extends Error {
  override readonly name = 'ScriptHostError';
  readonly code = 'SCRIPT_HOST';
}

/** A bundle does not load; nothing was changed. */
export class BundleRejectedError extends Error {
  override readonly name = 'BundleRejectedError';
  readonly code = 'BUNDLE_REJECTED';
  readonly issues: readonly ScriptIssue[];

  constructor(issues: readonly ScriptIssue[]) {
    super(issues.map(formatScriptIssue).join('\n'));
    this.issues = issues;
  }
}

/** The history does not hold what was asked for. */
export class NoSuchGenerationError extends Error {
  override readonly name = 'NoSuchGenerationError';
  readonly code = 'NO_SUCH_GENERATION';
}

export class Generations {
  readonly #activator: Activator;
  readonly #now: () => number;
  readonly #lock = new Mutex();
  readonly #names = new Map<number, readonly string[]>();
  #history: readonly Generation[] = [];
  #active: Generation;

  /** @param now  milliseconds since 1970 */
  constructor(activator: Activator, limits: ScriptLimits, now: () => number = Date.now) {
    this.#activator = activator;
    this.#now = now;
    const nothing = { scripts: [], vars: {}, limits };
    this.#active = {
      ...nothing,
      number: 0,
      hash: hashOf(nothing),
      origin: 'start',
      createdAt: now(),
    };
  }

  get active(): Generation {
    return this.#active;
  }

  /** Newest first. */
  get history(): readonly Generation[] {
    return this.#history;
  }

  /** Of the active generation; changes with every change. */
  get etag(): string {
    return etagOf(this.#active);
  }

  /** Name of a script by its place in the order of a generation. */
  scriptName(generation: number, index: number): string | undefined {
    return this.#names.get(generation)?.[index];
  }

  /**
   * Replaces the content by what `make` makes of the active one.
   *
   * @throws StaleChangeError     `ifMatch` does not match
   * @throws BundleRejectedError  the new content does not load
   */
  apply(
    origin: Origin,
    make: (active: BundleContent) => BundleContent,
    options: ChangeOptions = {},
  ): Promise<Change> {
    return this.#lock.run(() =>
      this.#change(() => ({ content: make(this.#active), origin }), options),
    );
  }

  /**
   * Activates old content as a new generation.
   *
   * @param to  number of a generation; absent: the one before the active one
   * @throws NoSuchGenerationError, StaleChangeError, BundleRejectedError
   */
  rollback(to: number | undefined, options: ChangeOptions = {}): Promise<Change> {
    return this.#lock.run(() =>
      this.#change(() => {
        const old =
          to === undefined ? this.#history[1] : this.#history.find((g) => g.number === to);
        if (old === undefined) {
          const what =
            to === undefined ? 'no generation before the active one' : `no generation ${to}`;
          throw new NoSuchGenerationError(`${what} in the history`);
        }
        return { content: old, origin: 'rollback', copyOf: old.number };
      }, options),
    );
  }

  async #change(
    propose: () => { content: BundleContent; origin: Origin; copyOf?: number },
    { ifMatch, force, dryRun }: ChangeOptions,
  ): Promise<Change> {
    if (ifMatch !== undefined && !ifMatch.includes(this.etag)) {
      throw new StaleChangeError(
        `the active generation is ${this.etag}, not ${ifMatch.join(' or ')}`,
      );
    }
    const { content, origin, copyOf } = propose();
    const { scripts, vars, limits } = content;
    const sets = shareSets(content.sets ?? {}, this.#active.sets ?? {});
    const hash = hashOf(content);
    if (hash === this.#active.hash && !force) return { generation: this.#active, changed: false };
    const next: Generation = {
      number: this.#active.number + 1,
      hash,
      origin,
      createdAt: this.#now(),
      scripts,
      vars,
      limits,
      sets,
      ...(copyOf === undefined ? {} : { copyOf }),
    };
    const faults = [...bundleFaults(scripts), ...setFaults(sets)];
    rejectOn(faults.map((message) => bundleIssue(next, 'limit', message)));
    rejectOn(await this.#activator.check(next));
    if (dryRun) return { generation: next, changed: false };
    rejectOn(await this.#activator.activate(next));
    this.#commit(next);
    return { generation: next, changed: true };
  }

  #commit(next: Generation): void {
    this.#active = next;
    this.#history = [next, ...this.#history].slice(0, HISTORY_LENGTH);
    this.#names.set(
      next.number,
      next.scripts.map((script) => script.name),
    );
    this.#names.delete(next.number - NAMES_LENGTH);
  }
}

type ScriptSets = Readonly<Record<string, ScriptSet>>;

/** A text of megabytes that did not change is kept once, not with each generation. */
const shareSets = (next: ScriptSets, active: ScriptSets): ScriptSets =>
  Object.fromEntries(
    Object.entries(next).map(([name, set]) => {
      const old = active[name];
      return [name, old?.type === set.type && old.text === set.text ? old : set];
    }),
  );

const rejectOn = (issues: readonly ScriptIssue[]): void => {
  if (issues.length > 0) throw new BundleRejectedError(issues);
};

/** The number alone would repeat after a restart of the gateway; the content, on a rollback. */
const etagOf = (generation: Generation): string => `"${generation.number}-${generation.hash}"`;

/** An issue that cannot be laid on one line: it names the only script, or the bundle. */
export function bundleIssue(
  { scripts }: BundleContent,
  kind: string,
  message: string,
): ScriptIssue {
  const only = scripts.length === 1 ? scripts[0] : undefined;
  const place = { script: only?.name ?? '', file: only?.file ?? 'bundle' };
  return { ...place, line: 0, column: 0, kind, message };
}

/** `scripts/route.ts:3:5: message` */
export function formatScriptIssue(issue: ScriptIssue): string {
  const place = issue.line === 0 ? issue.file : `${issue.file}:${issue.line}:${issue.column}`;
  return `${place}: ${issue.message}`;
}

/** Of all that decides; where a file lay is told to people only, what it is called is not. */
function hashOf({ scripts, vars, limits, sets }: BundleContent): string {
  const sources = scripts.map(({ file, ...content }) => ({ ...content, file: basename(file) }));
  const text = JSON.stringify([sources, vars, limits, sets ?? {}], sortKeys);
  return new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, HASH_TEXT_LENGTH);
}

/** For `JSON.stringify`: an object is what it holds, in whatever order it was written. */
const sortKeys = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
