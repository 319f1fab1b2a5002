/** What a new bundle would decide otherwise: flows of late, asked of it and of the active one. */
import type { AskedVerdict, DecidedFlow } from '../../messages/script-control.ts';
import { Aside, type AsideOptions } from './aside.ts';
import { ScriptHostError } from './change-errors.ts';
import type { Generation } from './generation.ts';
import type { Checked } from './generation-parts.ts';

/** Differences that are shown; all are counted. */
const SHOWN_MAX = 50;

/** A flow about which two bundles do not agree. */
export interface VerdictDifference {
  /** `tcp 10.0.0.5:40000 > 203.0.113.7:443` */
  readonly flow: string;
  readonly before: string;
  readonly after: string;
}

export interface Replay {
  readonly flows: number;
  readonly different: number;
  /** Of the new bundle: decisions that failed. */
  readonly failed: number;
  /** The first of the different ones. */
  readonly differences: readonly VerdictDifference[];
  /** Why it is not known. */
  readonly problem?: string;
}

const nothing = { flows: 0, different: 0, failed: 0, differences: [] };

const NO_TESTS = { passed: 0, failures: [] };

const hasTests = ({ scripts }: Generation): boolean =>
  scripts.some(({ tests = {} }) => Object.keys(tests).length > 0);

/**
 * Loads a bundle aside and runs its tests; where there are flows to ask about, it also tells what
 * the bundle decides otherwise.
 *
 * @param recent  flows of late
 * @throws ScriptHostError
 */
export async function checkBundle(
  bundle: Generation,
  active: Generation,
  recent: () => Promise<readonly DecidedFlow[]>,
  options: AsideOptions,
): Promise<Checked> {
  const aside = await Aside.load(bundle, options);
  if (!(aside instanceof Aside)) return { issues: aside };
  try {
    const { passed, failures } = hasTests(bundle) ? await aside.test() : NO_TESTS;
    if (failures.length > 0) return { issues: failures };
    const flows = await recent();
    if (flows.length === 0 || active.scripts.length === 0) return { issues: [], tests: passed };
    const compared = await replay(aside, active, flows, options);
    return { issues: [], tests: passed, replay: compared };
  } finally {
    aside.close();
  }
}

/**
 * Asks both about the same flows, each with the same KV at first. The old one is asked anew, so
 * that a difference is one of the scripts and not of the time that has passed. Never rejects.
 *
 * @param next  the new bundle, loaded
 */
async function replay(
  next: Aside,
  active: Generation,
  flows: readonly DecidedFlow[],
  options: AsideOptions,
): Promise<Replay> {
  const before = await loaded(active, options);
  if (before === undefined) return { ...nothing, problem: 'the active bundle was not up in time' };
  try {
    const recorded = flows.map(({ flow }) => flow);
    const [old, young] = await Promise.all([before.ask(recorded), next.ask(recorded)]);
    if (old === undefined || young === undefined) {
      return { ...nothing, problem: 'the scripts did not answer in time' };
    }
    return compare(flows, old, young);
  } finally {
    before.close();
  }
}

async function loaded(active: Generation, options: AsideOptions): Promise<Aside | undefined> {
  try {
    const aside = await Aside.load(active, options);
    return aside instanceof Aside ? aside : undefined;
  } catch (error) {
    if (!(error instanceof ScriptHostError)) throw error;
    return undefined;
  }
}

function compare(
  flows: readonly DecidedFlow[],
  old: readonly AskedVerdict[],
  young: readonly AskedVerdict[],
): Replay {
  const all = flows.flatMap((flow, index): VerdictDifference[] => {
    const [before = '', after = ''] = [old[index]?.text, young[index]?.text];
    return before === after ? [] : [{ flow: describeFlow(flow), before, after }];
  });
  return {
    flows: flows.length,
    different: all.length,
    failed: young.filter(({ kind }) => kind === 'failed').length,
    differences: all.slice(0, SHOWN_MAX),
  };
}

export function describeFlow({ flow }: Pick<DecidedFlow, 'flow'>): string {
  const { protocol, source, destination } = flow;
  const show = ({ ip, port, family }: typeof source) =>
    family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
  return `${protocol} ${show(source)} > ${show(destination)}`;
}
