/**
 * Tests and replays, in a process that is ended when it shows no sign of life: the engine has
 * native operations that no limit of scripts stops.
 */
import type { ReplayedVerdict, TestReport } from '../../scripts-runtime/offline/report.ts';
import type { RecordedFlow } from '../../scripts-runtime/recorded-flow.ts';
import type { ScriptBundle, ToScriptHost } from '../messages/script-control.ts';
import { Child, selfCommand } from '../supervisor/child.ts';
import { parseFromScriptHost } from '../supervisor/child-messages.ts';
import { Aside } from '../supervisor/scripts/aside.ts';
import { BundleRejectedError } from '../supervisor/scripts/change-errors.ts';
import { unnumbered } from '../supervisor/scripts/script-check.ts';
import { frameFault } from '../supervisor/scripts/script-load.ts';

/** A test may take 5 s, and a machine may be busy. */
export const SILENCE_MS = 20_000;

/** Flows that are asked about at once: few enough to say which of them it was. */
const FLOWS_AT_ONCE = 100;

/** The process hung or died; the message says during what. */
export class WorkLostError extends Error {
  override readonly name = 'WorkLostError';
  readonly code = 'WORK_LOST';

  constructor(during: string, why: string) {
    super(`${during}: ${why}: a script does what no limit of scripts stops, or needs more time`);
  }
}

export interface TestAsideOptions {
  /** Only tests that have this in their names. */
  readonly filter?: string;
  /** How long one test may take. */
  readonly silenceMs?: number;
  /** The scripts are instrumented (instrument.ts), and the report has what they counted. */
  readonly isCovered?: boolean;
}

/** @throws WorkLostError */
export async function testAside(
  bundle: ScriptBundle,
  { filter, silenceMs = SILENCE_MS, isCovered = false }: TestAsideOptions,
): Promise<TestReport> {
  const order: ToScriptHost = {
    ...{ kind: 'report', bundle, isCovered },
    ...(filter === undefined ? {} : { filter }),
  };
  const tooLong = frameFault(order);
  if (tooLong !== undefined) throw new WorkLostError('the start', tooLong);
  const { promise, resolve, reject } = Promise.withResolvers<TestReport>();
  let during = 'the start';
  const lost = (why: string) => reject(new WorkLostError(during, why));
  const timer = setTimeout(() => lost(`no sign of life for ${silenceMs} ms`), silenceMs);
  const child = new Child(selfCommand('__script-check'), [], {
    onMessage: (raw) => {
      const message = parseFromScriptHost(raw);
      if (message.kind === 'reported') resolve(message.report);
      if (message.kind === 'testing') during = message.test;
      timer.refresh();
    },
    onExit: ({ signal, code }) => lost(`the process ended (${signal ?? code})`),
  });
  child.send(order);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.kill();
  }
}

/**
 * Decides the flows one after the other, each with what the ones before left in the KV. Names of
 * upstreams are not resolved.
 *
 * @param silenceMs  how long some hundred flows may take
 * @throws BundleRejectedError, ScriptHostError, WorkLostError
 */
export async function replayAside(
  bundle: ScriptBundle,
  flows: readonly RecordedFlow[],
  silenceMs = SILENCE_MS,
): Promise<readonly ReplayedVerdict[]> {
  const { iface, onError } = bundle;
  const options = { iface, askMs: silenceMs, ...(onError && { onError }) };
  const aside = await Aside.load(unnumbered(bundle), options);
  if (!(aside instanceof Aside)) throw new BundleRejectedError(aside);
  const startMs = flows.find(({ atMs }) => atMs !== undefined)?.atMs ?? Date.now();
  const verdicts: ReplayedVerdict[] = [];
  try {
    for (let at = 0; at < flows.length; at += FLOWS_AT_ONCE) {
      const some = flows.slice(at, at + FLOWS_AT_ONCE);
      const asked = await aside.ask(some, { isExplained: true, startMs });
      if (asked === undefined) {
        throw new WorkLostError(`flows ${at + 1} to ${at + some.length}`, aside.end);
      }
      for (const [index, flow] of some.entries()) {
        const { text, explained } = asked[index] ?? { text: '' };
        if (explained === undefined) throw new Error('a verdict came without its explanation');
        const { verdict, steps, cpuUs, script } = explained;
        verdicts.push({
          ...{ flow, verdict, text, steps, cpuUs },
          ...(script === undefined ? {} : { script }),
        });
      }
    }
    return verdicts;
  } finally {
    aside.close();
  }
}
