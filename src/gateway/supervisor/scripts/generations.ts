/**
 * Generations of scripts: what ran, what runs, and how one replaces another. A change is checked,
 * then activated, under one lock; what does not load changes nothing. A rollback is a new
 * generation with old content, so that a number never means two things.
 */
import { randomBytes } from 'node:crypto';
import { bundleFaults } from '../../config/scripts.ts';
import { setFaults } from '../../config/sets.ts';
import type { ScriptIssue, ScriptLimits } from '../../messages/script-control.ts';
import { Mutex } from '../mutex.ts';
import { HASH_KEY_BYTES, hashOf, shareSets } from './bundle-content.ts';
import {
  BundleRejectedError,
  bundleIssue,
  NoSuchGenerationError,
  NoTrialError,
  StaleChangeError,
} from './change-errors.ts';
import type { BundleContent, Generation, Origin } from './generation.ts';
import type { Checked, HistoryStore, Trial, TrialPlan, TrialRunner } from './generation-parts.ts';
import type { Replay } from './replay.ts';
import type { RevalidateMode, Revalidation } from './revalidation.ts';

/** Generations whose sources are kept, the active one included. */
export const HISTORY_LENGTH = 20;
/** Generations whose names are kept, so that a flow that lives long can still be named. */
const NAMES_LENGTH = 1000;

/**
 * Runs bundles. Both answer with what is wrong with the bundle; nothing wrong is an empty list.
 * Both reject with ScriptHostError when no host could tell.
 */
export interface Activator {
  /** Loads the bundle aside and compares it with the active one, changing nothing. */
  check(bundle: Generation, active: Generation): Promise<Checked>;
  /** Replaces the active bundle, or leaves it as it was. */
  activate(bundle: Generation): Promise<readonly ScriptIssue[]>;
  /** Settles when nothing is left of bundles that were replaced. */
  drained?(): Promise<void>;
}

export interface ChangeOptions {
  /** ETags that the caller accepts; absent: whatever is active. */
  readonly ifMatch?: readonly string[] | undefined;
  /** Apply content that is identical to the active one. */
  readonly force?: boolean | undefined;
  /** Check only. */
  readonly dryRun?: boolean | undefined;
  /** Try it first; without: it takes over at once. */
  readonly trial?: TrialPlan | undefined;
  /** What becomes of live flows that it decides otherwise; absent: they stay. */
  readonly revalidate?: RevalidateMode | undefined;
  /** Called when the content was found good and is about to be activated; it can refuse that. */
  readonly onApplying?: (() => void | Promise<void>) | undefined;
}

export interface Change {
  readonly generation: Generation;
  /** False when the content was identical, or on a dry run. */
  readonly changed: boolean;
  /** It is on trial, and the active bundle is as it was. */
  readonly trial?: TrialPlan;
  /** Tests of the scripts that passed in the check. */
  readonly tests?: number;
  /** What it decides otherwise than the bundle before, about flows of late. */
  readonly replay?: Replay;
  /** How far it is with asking about live flows. */
  readonly revalidation?: Revalidation;
  /** Settles when nothing is left of what was replaced; never rejects. */
  readonly drained?: Promise<void>;
}

export interface GenerationsParts {
  readonly store?: HistoryStore | undefined;
  readonly trials?: TrialRunner | undefined;
}

export class Generations {
  readonly #activator: Activator;
  readonly #now: () => number;
  readonly #store: HistoryStore | undefined;
  readonly #trials: TrialRunner | undefined;
  readonly #hashKey: Uint8Array;
  readonly #lock = new Mutex();
  readonly #names = new Map<number, readonly string[]>();
  #history: readonly Generation[] = [];
  #active: Generation;
  #lastNumber = 0;
  #trial: Trial | undefined;

  /** @param now  milliseconds since 1970 */
  constructor(
    activator: Activator,
    limits: ScriptLimits,
    now: () => number = Date.now,
    { store, trials }: GenerationsParts = {},
  ) {
    this.#activator = activator;
    this.#now = now;
    this.#store = store;
    this.#trials = trials;
    this.#hashKey = store?.hashKey ?? randomBytes(HASH_KEY_BYTES);
    const stored = store?.generations.slice(0, HISTORY_LENGTH) ?? [];
    // The key may be another one than when they were written.
    this.#history = stored.map((old) => ({ ...old, hash: hashOf(old, this.#hashKey) }));
    this.#lastNumber = store?.lastNumber ?? 0;
    const nothing = { scripts: [], vars: {}, limits };
    this.#active = {
      ...nothing,
      number: 0,
      hash: hashOf(nothing, this.#hashKey),
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
    return etagOf(this.#active, this.#trial?.generation);
  }

  /** The bundle that is tried beside the active one. */
  get trial(): Trial | undefined {
    return this.#trial;
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
    return this.#lock.run(async () => {
      if (to === undefined && this.#trial !== undefined && !options.dryRun) {
        this.#checkMatch(options.ifMatch);
        return this.#abort('rolled back');
      }
      return this.#change(() => {
        const old = to === undefined ? this.#previous : this.#history.find((g) => g.number === to);
        if (old === undefined) {
          const what =
            to === undefined ? 'no generation before the active one' : `no generation ${to}`;
          throw new NoSuchGenerationError(`${what} in the history`);
        }
        return { content: old, origin: 'rollback', copyOf: old.number };
      }, options);
    });
  }

  /**
   * Makes the bundle on trial the active one.
   *
   * @throws NoTrialError, StaleChangeError, BundleRejectedError
   */
  promote({ ifMatch }: Pick<ChangeOptions, 'ifMatch'> = {}): Promise<Change> {
    return this.#lock.run(async () => {
      if (this.#trial !== undefined) this.#checkMatch(ifMatch);
      const trial = this.#trial;
      if (trial === undefined || this.#trials === undefined) throw noTrial();
      rejectOn(await this.#trials.promote(trial.generation, trial.plan));
      this.#trial = undefined;
      await this.#commit(trial.generation);
      return this.#changed(trial.generation);
    });
  }

  /** Ends the trial; the active bundle stays. @throws NoTrialError, StaleChangeError */
  abortTrial({ ifMatch }: Pick<ChangeOptions, 'ifMatch'> = {}): Promise<Change> {
    return this.#lock.run(async () => {
      if (this.#trial !== undefined) this.#checkMatch(ifMatch);
      return this.#abort('aborted');
    });
  }

  /** The trial of that generation ended by itself. */
  trialStopped(generation: number): void {
    if (this.#trial?.generation.number === generation) this.#trial = undefined;
  }

  get #previous(): Generation | undefined {
    return this.#history.find(({ number }) => number < this.#active.number);
  }

  async #change(
    propose: () => { content: BundleContent; origin: Origin; copyOf?: number },
    { ifMatch, force, dryRun, trial, onApplying }: ChangeOptions,
  ): Promise<Change> {
    this.#checkMatch(ifMatch);
    const { content, origin, copyOf } = propose();
    const hash = hashOf(content, this.#hashKey);
    if (hash === this.#active.hash && !force) return { generation: this.#active, changed: false };
    const next = this.#resumed(hash) ?? this.#successor(content, origin, copyOf);
    const faults = [...bundleFaults(next.scripts), ...setFaults(next.sets ?? {})];
    rejectOn(faults.map((message) => bundleIssue(next, 'limit', message)));
    const { issues, tests = 0, replay } = await this.#activator.check(next, this.#active);
    rejectOn(issues);
    const shown = { tests, ...(replay === undefined ? {} : { replay }) };
    if (dryRun) return { generation: next, changed: false, ...shown };
    if (next !== this.#history[0]) await this.#store?.prepare(next);
    // It may have decided about flows, or have its number on disk, whatever becomes of it.
    this.#lastNumber = Math.max(this.#lastNumber, next.number);
    await onApplying?.();
    if (trial !== undefined && this.#active.scripts.length > 0) {
      this.#endTrial();
      return { ...(await this.#try(next, trial)), ...shown };
    }
    rejectOn(await this.#activator.activate(next));
    this.#endTrial();
    await this.#commit(next);
    return { ...this.#changed(next), ...shown };
  }

  async #try(next: Generation, trial: TrialPlan): Promise<Change> {
    if (this.#trials === undefined) throw new Error('nobody runs trials here');
    rejectOn(await this.#trials.start(next, trial));
    this.#trial = { generation: next, plan: trial };
    this.#name(next);
    return { generation: next, changed: true, trial };
  }

  #endTrial(): void {
    if (this.#trial !== undefined) this.#abort('another change');
  }

  #abort(why: string): Change {
    if (this.#trial === undefined) throw noTrial();
    this.#trial = undefined;
    this.#trials?.abort(why);
    return { generation: this.#active, changed: true };
  }

  #changed(generation: Generation): Change {
    const drained = this.#activator.drained?.();
    return { generation, changed: true, ...(drained === undefined ? {} : { drained }) };
  }

  #checkMatch(ifMatch: readonly string[] | undefined): void {
    if (ifMatch === undefined || ifMatch.includes(this.etag)) return;
    throw new StaleChangeError(
      `the active generation is ${this.etag}, not ${ifMatch.join(' or ')}`,
    );
  }

  /** What ran when the supervisor before this one ended, if it is to run again. */
  #resumed(hash: string): Generation | undefined {
    const last = this.#history[0];
    return this.#active.number === 0 && last?.hash === hash ? last : undefined;
  }

  #successor(content: BundleContent, origin: Origin, copyOf?: number): Generation {
    const { scripts, vars, limits, ca } = content;
    const sets = shareSets(content.sets ?? {}, this.#active.sets ?? {});
    return {
      number: this.#lastNumber + 1,
      hash: hashOf(content, this.#hashKey),
      origin,
      createdAt: this.#now(),
      scripts,
      vars,
      limits,
      sets,
      ...(ca === undefined ? {} : { ca }),
      ...(copyOf === undefined ? {} : { copyOf }),
    };
  }

  /** Settles when it is written down: whoever is told of a change finds it after a crash. */
  async #commit(next: Generation): Promise<void> {
    this.#active = next;
    this.#name(next);
    if (next === this.#history[0]) return;
    this.#history = [next, ...this.#history].slice(0, HISTORY_LENGTH);
    await this.#store?.commit(next);
  }

  #name({ number, scripts }: Generation): void {
    this.#names.set(
      number,
      scripts.map((script) => script.name),
    );
    this.#names.delete(number - NAMES_LENGTH);
  }
}

const rejectOn = (issues: readonly ScriptIssue[]): void => {
  if (issues.length > 0) throw new BundleRejectedError(issues);
};

const noTrial = (): NoTrialError => new NoTrialError('no bundle is on trial');

/** The number alone would repeat after a restart of the gateway; the content, on a rollback. */
const etagOf = ({ number, hash }: Generation, trial: Generation | undefined): string =>
  trial === undefined ? `"${number}-${hash}"` : `"${number}-${hash}-${trial.number}"`;
