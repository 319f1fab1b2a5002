/** Decides flows again that were seen before: nothing is dialled, and no time passes. */
import type { ScriptBundle, ScriptIssue, ScriptLog } from '../bundle.ts';
import { NameBook } from './name-book.ts';
import { OfflineHost } from './offline-host.ts';
import type { RecordedFlow, ReplayedVerdict } from './report.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface ReplayOptions {
  /** Gets what the scripts log. */
  readonly log?: (line: ScriptLog) => void;
}

/** A bundle does not load, so it can neither be tested nor asked. */
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
 * Asks the scripts about flows, one after the other, each with what the ones before left in the
 * KV. Names of upstreams are not resolved: verdicts show them as the script gave them.
 *
 * @throws BundleLoadError
 */
export async function replayFlows(
  bundle: ScriptBundle,
  flows: readonly RecordedFlow[],
  { log = () => {} }: ReplayOptions = {},
): Promise<readonly ReplayedVerdict[]> {
  const names = new NameBook();
  const startMs = flows.find(({ atMs }) => atMs !== undefined)?.atMs ?? Date.now();
  const clock = new VirtualClock(startMs);
  const host = new OfflineHost({
    clock,
    resolve: (name) => names.resolve(name),
    show: (endpoint) => names.show(endpoint),
    log,
  });
  const issues = await host.load(bundle);
  if (issues.length > 0) throw new BundleLoadError(issues);
  const verdicts: ReplayedVerdict[] = [];
  for (const [index, flow] of flows.entries()) {
    const { id: _, atMs, ...request } = flow;
    if (atMs !== undefined) host.advance(Math.max(0, atMs - clock.epochMs()));
    const { script, ...decided } = await host.decide({ flow: index + 1, ...request });
    verdicts.push({ flow, ...decided, ...(script === undefined ? {} : { script }) });
  }
  return verdicts;
}
