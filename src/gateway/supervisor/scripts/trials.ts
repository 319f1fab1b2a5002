/**
 * A bundle on trial beside the active one. A canary decides about a share of the flows, in the same
 * script host, which stops it by itself when it fails. A shadow decides about all of them in a
 * process of its own, after the fact: its verdicts are compared and thrown away.
 */
import type { CanaryCounts, DecidedFlow, ScriptIssue } from '../../messages/script-control.ts';
import type { Logger } from '../log/logger.ts';
import { Aside, type AsideOptions } from './aside.ts';
import type { Generation } from './generation.ts';
import type { CanaryTrial, TrialPlan, TrialRunner } from './generation-parts.ts';
import { Shadow, type ShadowCounts } from './shadow.ts';

/** What a script host does for trials. */
export interface TrialHost {
  loadCanary(bundle: Generation, plan: CanaryTrial): Promise<readonly ScriptIssue[]>;
  /** @returns false when the canary is gone */
  promoteCanary(bundle: Generation): Promise<boolean>;
  dropCanary(): void;
  activate(bundle: Generation): Promise<readonly ScriptIssue[]>;
  /** Have flows that were decided told, or no longer. */
  watch(isOn: boolean): void;
  asideOptions(): AsideOptions;
}

export interface TrialsOptions {
  readonly log: Logger;
  readonly host: TrialHost;
  /** The trial ended by itself: nothing may count on it any more. */
  readonly onStopped: (generation: number) => void;
  /** Its time is over, and it did well. */
  readonly onPassed: () => Promise<void>;
}

/** How a trial does. */
export interface TrialReport {
  readonly canary?: CanaryCounts;
  readonly shadow?: ShadowCounts;
}

/** Trials so far, by how they ended. */
export interface TrialOutcomes {
  promoted: number;
  stopped: number;
  aborted: number;
}

export class Trials implements TrialRunner {
  readonly outcomes: TrialOutcomes = { promoted: 0, stopped: 0, aborted: 0 };
  readonly #options: TrialsOptions;
  #generation: number | undefined;
  #counts: CanaryCounts | undefined;
  #shadow: Shadow | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: TrialsOptions) {
    this.#options = options;
  }

  get report(): TrialReport {
    return {
      ...(this.#counts === undefined ? {} : { canary: this.#counts }),
      ...(this.#shadow === undefined ? {} : { shadow: this.#shadow.counts }),
    };
  }

  async start(generation: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]> {
    const issues = await this.#beginOrForget(generation, plan);
    if (issues.length > 0) return issues;
    const { number, hash } = generation;
    this.#generation = number;
    this.#options.log.info({ generation: number, hash, ...plan }, 'trial-started');
    if (plan.mode === 'canary' && plan.forMs > 0) {
      this.#timer = setTimeout(() => void this.#options.onPassed(), plan.forMs);
    }
    return [];
  }

  async promote(generation: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]> {
    const { host, log } = this.#options;
    if (plan.mode === 'canary') {
      if (!(await host.promoteCanary(generation))) {
        // The host has dropped it, or will.
        this.stop('it could not take over');
        return [stoppedMeanwhile(generation)];
      }
    } else {
      const issues = await host.activate(generation);
      if (issues.length > 0) return issues;
    }
    this.#clear();
    this.outcomes.promoted++;
    log.info({ generation: generation.number, mode: plan.mode }, 'trial-promoted');
    return [];
  }

  /** Ends it from outside. */
  abort(why: string): void {
    const generation = this.#generation;
    if (generation === undefined) return;
    this.#options.host.dropCanary();
    this.#options.log.info({ generation, why, ...this.report }, 'trial-aborted');
    this.#clear();
    this.outcomes.aborted++;
  }

  /** How the canary does; where it was stopped, the active bundle has all flows again. */
  onCanary(counts: CanaryCounts): void {
    if (counts.generation !== this.#counts?.generation) return;
    this.#counts = counts;
    if (counts.stopped !== undefined) this.stop(counts.stopped);
  }

  onDecided(flows: readonly DecidedFlow[], left: number): void {
    this.#shadow?.compare(flows, left);
  }

  /** Whatever lived in the process is gone; a canary may be why. */
  onHostLost(why: string): void {
    if (this.#counts !== undefined) this.stop(why);
  }

  /** The trial has shown that the bundle is no good. */
  stop(why: string): void {
    const generation = this.#generation;
    if (generation === undefined) return;
    this.#options.log.error({ generation, why, ...this.report }, 'trial-stopped');
    this.#clear();
    this.outcomes.stopped++;
    this.#options.onStopped(generation);
  }

  /** @returns why there is no trial: what is wrong, or that it has ended already */
  async #beginOrForget(generation: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]> {
    let issues: readonly ScriptIssue[] | undefined;
    try {
      issues = await this.#begin(generation, plan);
      // A busy host decides about flows, and stops the canary, before it is known here to be one.
      if (this.#counts?.stopped !== undefined) issues = [stoppedMeanwhile(generation)];
      return issues;
    } finally {
      if (issues?.length !== 0) this.#clear();
    }
  }

  async #begin(generation: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]> {
    const { host, log } = this.#options;
    if (plan.mode === 'canary') {
      this.#counts = { generation: generation.number, decisions: 0, failures: 0 };
      return host.loadCanary(generation, plan);
    }
    const aside = await Aside.load(generation, host.asideOptions());
    if (!(aside instanceof Aside)) return aside;
    this.#shadow = new Shadow(aside, log, generation.number, (why) => this.stop(why));
    host.watch(true);
    return [];
  }

  #clear(): void {
    clearTimeout(this.#timer);
    if (this.#shadow !== undefined) {
      this.#options.host.watch(false);
      this.#shadow.close();
    }
    this.#shadow = undefined;
    this.#counts = undefined;
    this.#generation = undefined;
  }
}

const stoppedMeanwhile = ({ number }: Generation): ScriptIssue => ({
  script: '',
  file: 'bundle',
  line: 0,
  column: 0,
  kind: 'trial',
  message: `generation ${number} was stopped meanwhile`,
});
