/** Decisions as authors read them. */
import type { Endpoint } from '../../stack/verdict.ts';
import type { Decision } from '../decide.ts';
import type { OfflineVerdict } from './report.ts';

/** @param showEndpoint  an upstream as text */
export function toOfflineVerdict(
  decision: Decision,
  showEndpoint: (endpoint: Endpoint) => string,
): OfflineVerdict {
  if (decision.kind === 'failed') return { kind: 'failed', failure: decision.failure };
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

/** `forward 10.0.0.1:80 idleTimeoutMs=1000`, `reject`, `failed cpu` */
export function verdictText({ kind, to, failure, listener, ...options }: OfflineVerdict): string {
  const words = [kind, to, failure, listener].filter((word) => word !== undefined);
  const shown = Object.entries(options)
    .filter(([name, value]) => value !== undefined && value !== DEFAULTS[name])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return [...words, ...shown].join(' ');
}
