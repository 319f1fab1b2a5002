/**
 * Reads what a test hands over for `run`. It is text of a sandbox, and believed only after this.
 */
import { isIP } from 'node:net';
import type { Endpoint } from '../../stack/verdict.ts';
import type { ScriptSet } from '../bundle.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../limits.ts';
import { isNamed, parseTarget } from '../parse-verdict.ts';
import type { RecordedFlow } from './report.ts';

/** What a test asked for cannot be done; the message is for its author. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

export interface RunRequest {
  /** Name of the script. */
  readonly script: string;
  readonly flow: RecordedFlow;
  readonly vars: Readonly<Record<string, string>> | undefined;
  readonly sets: Readonly<Record<string, ScriptSet>> | undefined;
  /** What the KV holds at first; absent: what it holds already. */
  readonly kv: Readonly<Record<string, string | number>> | undefined;
  readonly limits: Partial<ScriptLimits>;
  /** Addresses by name. A name that is not listed resolves to an address of no network. */
  readonly dns: Readonly<Record<string, readonly string[]>>;
}

/** @throws RunError */
export function parseRun(value: unknown): RunRequest {
  const { script, flow, options } = asRecord('run', value);
  const { env, limits, dns, ...rest } = asRecord('the options of run', options);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new RunError(`run has no option "${unknown}"`);
  const { vars, sets, kv, ...others } = asRecord('env', env);
  const [stranger] = Object.keys(others);
  if (stranger !== undefined) throw new RunError(`env has vars, sets and kv, not "${stranger}"`);
  return {
    script: asText('script', script),
    flow: parseFlow(asRecord('the flow', flow)),
    vars: vars === undefined ? undefined : mapValues('env.vars', vars, asText),
    sets: sets === undefined ? undefined : mapValues('env.sets', sets, asSet),
    kv: kv === undefined ? undefined : mapValues('env.kv', kv, asKvValue),
    limits: limits === undefined ? {} : mapValues('limits', limits, asLimit),
    dns: dns === undefined ? {} : mapValues('dns', dns, asAddresses),
  };
}

const SYN_DEFAULT = { mss: 1460, wscale: 7, ttl: 64, ecn: false };
const PROTOCOLS = ['tcp', 'udp', 'icmp'] as const;

/** Of the fields that `FlowInfo` has in the script API. @throws RunError */
function parseFlow(fields: Readonly<Record<string, unknown>>): RecordedFlow {
  const { proto = 'tcp', src, dst, syn, ...rest } = fields;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    throw new RunError(`flow has proto, src, dst and syn, not "${unknown}"`);
  const protocol = PROTOCOLS.find((name) => name === proto);
  if (protocol === undefined)
    throw new RunError(`proto is ${PROTOCOLS.join(', ')}, not "${proto}"`);
  const source = asEndpoint('src', src);
  const destination = asEndpoint('dst', dst);
  if (source.family !== destination.family) throw new RunError('src and dst are of two families');
  if (protocol !== 'tcp') return { protocol, source, destination };
  const { mss, wscale, ttl, ecn } = { ...SYN_DEFAULT, ...asRecord('syn', syn) };
  return { protocol, source, destination, syn: { mss, windowScale: wscale, ttl, ecn } };
}

function asEndpoint(what: string, value: unknown): Endpoint {
  const target = typeof value === 'string' ? parseTarget(value) : undefined;
  if (target !== undefined && !isNamed(target)) return target;
  throw new RunError(
    `${what} is like "10.0.0.1:80" or "[fd00::1]:80", not ${JSON.stringify(value)}`,
  );
}

function asRecord(what: string, value: unknown): Record<string, unknown> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RunError(`${what} is an object, not ${JSON.stringify(value)}`);
  }
  return value as Record<string, unknown>;
}

const mapValues = <T>(
  what: string,
  value: unknown,
  read: (what: string, value: unknown) => T,
): Record<string, T> =>
  Object.fromEntries(
    Object.entries(asRecord(what, value)).map(([key, one]) => [key, read(`${what}.${key}`, one)]),
  );

function asText(what: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new RunError(`${what} is text, not ${JSON.stringify(value)}`);
}

function asTexts(what: string, value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map((one) => asText(what, one));
  return [asText(what, value)];
}

function asKvValue(what: string, value: unknown): string | number {
  if (typeof value === 'string' || typeof value === 'number') return value;
  throw new RunError(`${what} is text or a number, not ${JSON.stringify(value)}`);
}

function asLimit(what: string, value: unknown): number {
  if (typeof value === 'number' && what.slice('limits.'.length) in DEFAULT_SCRIPT_LIMITS) {
    return value;
  }
  throw new RunError(`${what} is no limit, or no number: ctx.limits has them all`);
}

function asAddresses(what: string, value: unknown): readonly string[] {
  const addresses = asTexts(what, value);
  const wrong = addresses.find((one) => isIP(one) === 0);
  if (wrong !== undefined) throw new RunError(`${what}: "${wrong}" is no address`);
  return addresses;
}

/** A set is of networks when all of it looks like one. */
function asSet(what: string, value: unknown): ScriptSet {
  const entries = asTexts(what, value);
  const isNetwork = (entry: string) => isIP(entry.split('/', 1)[0] ?? '') !== 0;
  return { type: entries.every(isNetwork) ? 'cidr' : 'domain', text: entries.join('\n') };
}
