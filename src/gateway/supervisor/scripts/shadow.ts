/**
 * A bundle that decides beside the active one, in a process of its own. It is told of flows after
 * they were decided, so nobody waits for it; while it is busy, flows pass it by and are counted.
 */
import type { DecidedFlow } from '../../messages/script-control.ts';
import type { Logger } from '../log/logger.ts';
import type { Aside } from './aside.ts';
import { describeFlow, type VerdictDifference } from './replay.ts';

/** Differences that are kept, the newest. */
const KEPT_MAX = 50;
/** Differences of one batch that are logged; batches come four times a second at most. */
const LOGGED_MAX = 5;

export interface ShadowCounts {
  readonly compared: number;
  readonly different: number;
  /** Of its decisions. */
  readonly failed: number;
  /** Flows that it was not asked about, because there were too many. */
  readonly skipped: number;
  /** Newest last. */
  readonly differences: readonly VerdictDifference[];
}

export class Shadow {
  readonly #aside: Aside;
  readonly #log: Logger;
  readonly #generation: number;
  readonly #onLost: (why: string) => void;
  #counts: ShadowCounts = { compared: 0, different: 0, failed: 0, skipped: 0, differences: [] };
  #isBusy = false;
  #isClosed = false;

  /** @param onLost  called when it does not answer any more */
  constructor(aside: Aside, log: Logger, generation: number, onLost: (why: string) => void) {
    this.#aside = aside;
    this.#log = log;
    this.#generation = generation;
    this.#onLost = onLost;
  }

  get counts(): ShadowCounts {
    return this.#counts;
  }

  /** @param left  flows that were decided besides, and are not told */
  compare(flows: readonly DecidedFlow[], left: number): void {
    if (this.#isBusy) {
      this.#skip(flows.length + left);
      return;
    }
    this.#skip(left);
    void this.#compare(flows);
  }

  close(): void {
    this.#isClosed = true;
    this.#aside.close();
  }

  async #compare(flows: readonly DecidedFlow[]): Promise<void> {
    this.#isBusy = true;
    const verdicts = await this.#aside.ask(flows.map(({ flow }) => flow));
    this.#isBusy = false;
    if (this.#isClosed) return;
    if (verdicts === undefined) {
      this.#onLost('the shadow gave no answer: a script hangs, or broke its process');
      return;
    }
    const found = flows.flatMap((flow, index): VerdictDifference[] => {
      const after = verdicts[index]?.text ?? '';
      if (flow.verdict === after) return [];
      return [{ flow: describeFlow(flow), before: flow.verdict, after }];
    });
    const { compared, different, failed, skipped, differences } = this.#counts;
    this.#counts = {
      compared: compared + flows.length,
      different: different + found.length,
      failed: failed + verdicts.filter(({ kind }) => kind === 'failed').length,
      skipped,
      differences: [...differences, ...found].slice(-KEPT_MAX),
    };
    for (const difference of found.slice(0, LOGGED_MAX)) {
      this.#log.info({ generation: this.#generation, ...difference }, 'shadow-difference');
    }
  }

  #skip(count: number): void {
    this.#counts = { ...this.#counts, skipped: this.#counts.skipped + count };
  }
}
