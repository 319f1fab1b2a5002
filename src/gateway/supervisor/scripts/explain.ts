/**
 * Who would decide about a flow, and why. The listeners are those of the data plane; the scripts
 * are asked in a process aside with a copy of the KV, so that nothing remembers the question.
 */
import type { Endpoint } from '../../../stack/verdict.ts';
import {
  matchesPrefix,
  parseAddress,
  parseCidr,
  writeAddress,
} from '../../../stack/wire/ip-address.ts';
import { type ListenerMismatch, Listeners } from '../../dataplane/listeners.ts';
import type { ListenerRule, LiveConfig } from '../../messages/control.ts';
import type { AskedVerdict, RecordedFlow, ScriptLog } from '../../messages/script-control.ts';
import { Aside, type AsideOptions } from './aside.ts';
import { BundleRejectedError, ScriptHostError } from './change-errors.ts';
import type { Generation } from './generation.ts';
import type { Trial } from './generation-parts.ts';
import { describeFlow } from './replay.ts';
import type { HostState } from './script-host.ts';

export interface ListenerStep {
  readonly kind: 'listener';
  /** Position in the config, from 0. */
  readonly index: number;
  readonly name: string;
  readonly matches: boolean;
  /** Of one that does not match: the first condition that fails, and what it wants. */
  readonly why?: string;
}

export interface ScriptStep {
  readonly kind: 'script';
  /** Position in the order of asking, from 0. */
  readonly index: number;
  readonly name: string;
  /** `declined`, or the verdict in words. */
  readonly outcome: string;
  /** Processor time in its sandbox, in microseconds. */
  readonly cpu_us: number;
  readonly logs: readonly Pick<ScriptLog, 'level' | 'message' | 'fields'>[];
}

export interface Explanation {
  /** `tcp 10.0.0.5:40000 > 203.0.113.7:443` */
  readonly flow: string;
  /** `nobody`: the flow is refused, because no listener matches and all scripts decline. */
  readonly decided_by: 'gateway' | 'listener' | 'script' | 'nobody';
  readonly name?: string;
  readonly index?: number;
  /** On one line: `forward 10.0.0.1:80`, `reject`. */
  readonly verdict: string;
  /** In the order in which the gateway looks, up to who decides. */
  readonly steps: readonly (ListenerStep | ScriptStep)[];
  /** What else one has to know to read it right. */
  readonly notes: readonly string[];
}

export interface ExplainParts {
  readonly live: Pick<LiveConfig, 'listeners' | 'localAddresses'> &
    Partial<Pick<LiveConfig, 'egress'>>;
  readonly generation: Generation;
  readonly aside: AsideOptions;
  /** What an operator has to know of the scripts besides. */
  readonly notes?: readonly string[];
}

/**
 * @throws ScriptHostError      the scripts gave no answer in time
 * @throws BundleRejectedError  they do not load
 */
export async function explain(flow: RecordedFlow, parts: ExplainParts): Promise<Explanation> {
  const { protocol, destination } = flow;
  const head = { flow: describeFlow({ flow }) };
  if (protocol === 'icmp' && parts.live.localAddresses.includes(destination.ip)) {
    const notes = ['a ping of a local address is answered before anything is asked'];
    return { ...head, decided_by: 'gateway', verdict: 'echo reply', steps: [], notes };
  }
  const rules = parts.live.listeners;
  const steps = listenerSteps(rules, flow);
  const last = steps.at(-1);
  const rule = last?.matches ? rules[last.index] : undefined;
  if (last !== undefined && rule !== undefined) {
    const { name, index } = last;
    const verdict = actionText(rule.action, destination);
    const notes = viaNotes(verdict, parts);
    return { ...head, decided_by: 'listener', name, index, verdict, steps, notes };
  }
  if (parts.generation.scripts.length === 0) {
    const notes = ['no listener matches and there are no scripts: refused as "unclaimed"'];
    return { ...head, decided_by: 'nobody', verdict: 'reject', steps, notes };
  }
  const verdict = await askScripts(flow, parts);
  const { notes, ...rest } = ofScripts(verdict, steps, parts);
  const redirected = redirectNotes(rest.verdict, flow, parts);
  return { ...head, ...rest, notes: [...notes, ...viaNotes(rest.verdict, parts), ...redirected] };
}

/** What the listener does that a script names. */
function redirectNotes(verdict: string, { destination }: RecordedFlow, parts: ExplainParts) {
  const [kind, name] = verdict.split(' ');
  const rule = kind === 'redirect' && parts.live.listeners.find((one) => one.name === name);
  return rule ? [`listener "${rule.name}" does: ${actionText(rule.action, destination)}`] : [];
}

/** A verdict does not show the upstream that it has by default. */
function viaNotes(verdict: string, { live }: ExplainParts): string[] {
  const via = live.egress?.via ?? '';
  const isByDefault = /^forward\b/.test(verdict) && !/ via=/.test(verdict);
  return via !== '' && isByDefault ? [`it goes by upstream "${via}", as egress.via says`] : [];
}

/** One for each rule up to the one that matches. */
function listenerSteps(rules: readonly ListenerRule[], flow: RecordedFlow): ListenerStep[] {
  const { protocol, source, destination } = flow;
  const view = new DataView(new ArrayBuffer(16));
  const length = writeAddress(destination.ip, view, 0) === 4 ? 4 : 16;
  const reasons = new Listeners(rules).mismatches(protocol, view, 0, length, destination.port);
  for (const [index, { action }] of rules.entries()) {
    if (action.kind !== 'prefix') continue;
    const isIts = isWithin(source.ip, action.inside) || isWithin(destination.ip, action.outside);
    if (isIts) reasons[index] = undefined;
  }
  const end = reasons.indexOf(undefined);
  return rules.slice(0, end < 0 ? rules.length : end + 1).map((rule, index) => {
    const why = reasons[index];
    const step = { kind: 'listener' as const, index, name: rule.name, matches: why === undefined };
    return why === undefined ? step : { ...step, why: mismatchText(rule, why) };
  });
}

/** Whether an address lies in a network of its family. */
function isWithin(ip: string, network: string): boolean {
  const [address, block] = [parseAddress(ip), parseCidr(network)];
  if (address === undefined || address.length !== block?.bytes.length) return false;
  return matchesPrefix(new DataView(address.buffer), 0, block.bytes, block.prefixLength);
}

/** `port: takes 80, 8000-8100` */
function mismatchText(rule: ListenerRule, why: ListenerMismatch): string {
  switch (why) {
    case 'protocol':
      return `protocol: takes ${rule.protocol}`;
    case 'port': {
      const ranges = rule.ports.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
      return `port: takes ${ranges.join(', ')}`;
    }
    case 'prefix': {
      const { action } = rule;
      if (action.kind !== 'prefix') return why;
      return `prefix: takes what comes from ${action.inside} or goes to ${action.outside}`;
    }
    case 'destination':
      return `destination: takes ${rule.destinations.join(', ')}`;
  }
}

/** As verdicts of scripts are written. */
function actionText(action: ListenerRule['action'], destination: Endpoint): string {
  if (action.kind === 'drop') return 'drop';
  if (action.kind === 'reject')
    return `reject${action.with === 'rst' ? '' : ` with=${action.with}`}`;
  if (action.kind === 'prefix') return `prefix ${action.inside} to ${action.outside}`;
  const { kind, to, idleTimeoutMs } = action;
  const port = to?.port ?? destination.port;
  const target = to && (to.ip.includes(':') ? `[${to.ip}]:${port}` : `${to.ip}:${port}`);
  return [
    kind,
    ...(target === undefined ? [] : [target]),
    ...(idleTimeoutMs === undefined ? [] : [`idleTimeoutMs=${idleTimeoutMs}`]),
    ...(kind === 'nat' && !action.masquerade ? ['masquerade=false'] : []),
    ...(kind === 'forward' && action.via !== undefined ? [`via=${action.via}`] : []),
  ].join(' ');
}

async function askScripts(flow: RecordedFlow, parts: ExplainParts): Promise<AskedVerdict> {
  const aside = await Aside.load(parts.generation, parts.aside);
  if (!(aside instanceof Aside)) throw new BundleRejectedError(aside);
  try {
    const verdict = (await aside.ask([flow], { isExplained: true }))?.[0];
    if (verdict !== undefined) return verdict;
    throw new ScriptHostError('the scripts did not answer in time: one of them hangs');
  } finally {
    aside.close();
  }
}

function ofScripts(
  { kind, text, explained }: AskedVerdict,
  listeners: readonly ListenerStep[],
  { generation, notes: given = [] }: ExplainParts,
): Omit<Explanation, 'flow'> {
  const { script, logs = [], logsLeft = 0, steps: scripts = [] } = explained ?? {};
  const asked = scripts.map(({ script: name, outcome, cpuUs }, index): ScriptStep => {
    const own = logs.filter((line) => line.script === name);
    return {
      ...{ kind: 'script', index, name, outcome, cpu_us: cpuUs },
      logs: own.map(({ level, message, fields }) => ({
        ...{ level, message },
        ...(fields && { fields }),
      })),
    };
  });
  const steps = [...listeners, ...asked];
  const left = logsLeft > 0 ? [`${logsLeft} more log lines are not shown`] : [];
  const notes = [...given, ...left];
  if (script === undefined) {
    const all = [...notes, 'no listener matches and all scripts decline: refused as "unclaimed"'];
    return { decided_by: 'nobody', verdict: 'reject', steps, notes: all };
  }
  const index = generation.scripts.findIndex(({ name }) => name === script);
  const by = { decided_by: 'script', name: script, index, verdict: text, steps } as const;
  if (kind !== 'failed') return { ...by, notes };
  const all = [...notes, FAILED_NOTES[explained?.verdict.onError ?? 'reject']];
  return { ...by, notes: all };
}

/** What becomes of a flow when its decision fails. */
const FAILED_NOTES = {
  reject: 'a decision that fails refuses the flow',
  decline: 'a script that fails has declined, as scripts.onError says: refused as "unclaimed"',
  forward: 'a decision that fails lets the flow through, as scripts.onError says',
} as const;

const NO_HOST_NOTES = {
  reject: 'such a flow is refused as "script-failed"',
  decline: 'such a flow is refused as "unclaimed"',
  forward: 'such a flow is forwarded to its destination',
} as const;

/** What is special about the scripts of a gateway now. */
export function explainNotes(
  host: HostState,
  trial: Pick<Trial, 'generation' | 'plan'> | undefined,
  { onError }: Pick<LiveConfig, 'onError'>,
): string[] {
  const canary = trial?.plan.mode === 'canary' ? trial : undefined;
  return [
    ...(host === 'waiting'
      ? [`no script host runs now: until one does, ${NO_HOST_NOTES[onError]}`]
      : []),
    ...(canary === undefined
      ? []
      : [`the active scripts were asked; generation ${canary.generation.number} is a canary`]),
  ];
}
