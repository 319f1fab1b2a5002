/** Decisions as authors read them. */
import type { Endpoint, OnError, Verdict } from '../../stack/verdict.ts';
import type { Decision } from '../decision.ts';
import type { FailureKind } from '../errors.ts';

/** A verdict with its upstream as text, `10.0.0.1:80` or `example.com:80`. A plain value. */
export interface ShownVerdict {
  readonly kind: Verdict['kind'] | 'failed';
  readonly to?: string;
  /** Of `failed`. */
  readonly failure?: FailureKind;
  /** Of `failed`: what becomes of the flow, unless it is rejected. */
  readonly onError?: Exclude<OnError, 'reject'>;
  /** The options of the verdict, by their names in the script API. */
  readonly [option: string]: unknown;
}

/** @param showEndpoint  an upstream as text */
export function showVerdict(
  decision: Decision,
  showEndpoint: (endpoint: Endpoint) => string,
): ShownVerdict {
  if (decision.kind === 'failed') {
    const { failure, onError } = decision;
    return { kind: 'failed', failure, ...(onError === undefined ? {} : { onError }) };
  }
  const { verdict } = decision;
  if (verdict.kind !== 'forward' && verdict.kind !== 'nat') return { ...verdict };
  const { to, ...rest } = verdict;
  return to === undefined ? rest : { ...rest, to: showEndpoint(to) };
}

/** What a verdict is without being said. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  with: 'rst',
  reason: '',
  handshake: 'dial-first',
  masquerade: true,
  note: '',
  sniff: false,
};

/** `forward 10.0.0.1:80 idleTimeoutMs=1000`, `reject`, `failed cpu onError=forward` */
export function verdictText({ kind, to, failure, listener, ...options }: ShownVerdict): string {
  const words = [kind, to, failure, listener].filter((word) => word !== undefined);
  const shown = Object.entries(options)
    .filter(([name, value]) => value !== undefined && value !== DEFAULTS[name])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [...words, ...shown].join(' ');
}
