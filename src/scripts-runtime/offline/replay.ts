/** Decides flows again that were seen before: nothing is dialled, and no time passes. */
import type { ScriptBundle, ScriptIssue, ScriptLog } from '../bundle/bundle.ts';
import type { RecordedFlow } from '../recorded-flow.ts';
import { NameBook } from './name-book.ts';
import { OfflineHost } from './offline-host.ts';
import type { ReplayedVerdict } from './report.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A bundle does not load, so it cannot be asked. */
export class BundleLoadError extends Error {
  override readonly name = 'BundleLoadError';
  readonly code = 'BUNDLE_LOAD';
  readonly issues: readonly ScriptIssue[];

  constructor(issues: readonly ScriptIssue[]) {
    super(issues.map(({ file, line, message }) => `${file}:${line}: ${message}`).join('\n'));
    this.issues = issues;
  }
}

/**
 * Scripts that are asked about flows, one after the other, each with what the ones before left in
 * the KV. Names of upstreams are not resolved: verdicts show them as the script gave them.
 */
export class Replay {
  readonly #host: OfflineHost;
  readonly #clock: VirtualClock;
  readonly #logs: ScriptLog[];
  #flows = 0;

  private constructor(host: OfflineHost, clock: VirtualClock, logs: ScriptLog[]) {
    this.#host = host;
    this.#clock = clock;
    this.#logs = logs;
  }

  /**
   * @param startMs  what the clock of the scripts shows at first, in milliseconds since 1970
   * @throws BundleLoadError
   */
  static async load(bundle: ScriptBundle, startMs: number): Promise<Replay> {
    const names = new NameBook();
    const clock = new VirtualClock(startMs);
    const logs: ScriptLog[] = [];
    const host = new OfflineHost({
      clock,
      resolve: (name) => names.resolve(name),
      show: (endpoint) => names.show(endpoint),
      log: (line) => logs.push(line),
    });
    const issues = await host.load(bundle);
    if (issues.length > 0) throw new BundleLoadError(issues);
    return new Replay(host, clock, logs);
  }

  /** The verdict, and what the scripts logged since the one before. */
  async decide(
    flow: RecordedFlow,
  ): Promise<ReplayedVerdict & { readonly logs: readonly ScriptLog[] }> {
    const { id: _, atMs, ...request } = flow;
    if (atMs !== undefined) this.#host.advance(Math.max(0, atMs - this.#clock.epochMs()));
    const decision = await this.#host.decide({ flow: ++this.#flows, ...request });
    const { script, verdict, text, steps, cpuUs } = decision;
    const logs = this.#logs.splice(0);
    return {
      ...{ flow, verdict, text, steps, cpuUs, logs },
      ...(script === undefined ? {} : { script }),
    };
  }
}
