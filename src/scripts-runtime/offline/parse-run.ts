/**
 * Reads what a test hands over for `run` and for hooks. It is text of a sandbox, and believed only
 * after this.
 */
import { isIP } from 'node:net';
import type { Endpoint } from '../../stack/verdict.ts';
import type { FlowResult, ScriptSet } from '../bundle/bundle.ts';
import type { DialFailure, SecureResult } from '../conns/ports.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../limits.ts';
import type { RecordedFlow } from '../recorded-flow.ts';
import { isNamed, parseTarget } from '../verdict/parse-verdict.ts';
import type { UpstreamPlan } from './fake-network.ts';

/** What a test asked for cannot be done; the message is for its author. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

/** A script, and the world in which a test puts it. */
export interface WorldRequest {
  /** Name of the script. */
  readonly script: string;
  readonly vars: Readonly<Record<string, string>> | undefined;
  readonly sets: Readonly<Record<string, ScriptSet>> | undefined;
  /** What the KV holds at first; absent: what it holds already. */
  readonly kv: Readonly<Record<string, string | number>> | undefined;
  readonly limits: Partial<ScriptLimits>;
  /** Where `connect()` may go; absent: as the config of the script has it, or anywhere. */
  readonly allow: readonly string[] | undefined;
  /** By address, or by name where the script dialled one. */
  readonly upstreams: Readonly<Record<string, UpstreamPlan>>;
  /** Addresses by name. A name that is not listed resolves to an address of no network. */
  readonly dns: Readonly<Record<string, readonly string[]>>;
}

export interface RunRequest extends WorldRequest {
  readonly flow: RecordedFlow;
  readonly clientSends: readonly Uint8Array[];
  readonly clientCloses: boolean;
}

/** A hook that is called: `load` by loading the script once more. */
export interface HookRequest extends WorldRequest {
  readonly hook:
    | { readonly name: 'load' }
    | { readonly name: 'scheduled'; readonly eventName: string }
    | { readonly name: 'closed'; readonly flow: RecordedFlow; readonly result: FlowResult };
}

/** @throws RunError */
export function parseRun(value: unknown): RunRequest {
  const { script, flow, options } = asRecord('run', value);
  const { clientSends, clientCloses, ...rest } = asRecord('the options of run', options);
  return {
    ...parseWorld('run', script, rest),
    flow: parseFlow(asRecord('the flow', flow)),
    clientSends: asPieces('clientSends', clientSends),
    clientCloses: asFlag('clientCloses', clientCloses),
  };
}

/** @param hook  its name. @throws RunError */
export function parseHook(hook: 'load' | 'scheduled' | 'closed', value: unknown): HookRequest {
  const { script, event, flow, result, options } = asRecord(hook, value);
  const world = parseWorld(hook, script, asRecord(`the options of ${hook}`, options));
  if (hook === 'load') return { ...world, hook: { name: hook } };
  if (hook === 'scheduled') {
    return { ...world, hook: { name: hook, eventName: asText('the name of the event', event) } };
  }
  const ended = parseFlow(asRecord('the flow', flow));
  return { ...world, hook: { name: hook, flow: ended, result: asResult(result) } };
}

const RESULT_DEFAULT: FlowResult = { bytesUp: 0, bytesDown: 0, durationMs: 0, reason: 'eof' };

function asResult(value: unknown): FlowResult {
  const given = asRecord('the result', value);
  for (const [field, one] of Object.entries(given)) {
    const known = RESULT_DEFAULT[field as keyof FlowResult];
    if (known !== undefined && typeof one === typeof known) continue;
    throw new RunError('a result has bytesUp, bytesDown, durationMs and reason');
  }
  return { ...RESULT_DEFAULT, ...given };
}

function parseWorld(
  what: string,
  script: unknown,
  given: Readonly<Record<string, unknown>>,
): WorldRequest {
  const { env, limits, dns, allow, upstreams, ...rest } = given;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new RunError(`${what} has no option "${unknown}"`);
  const { vars, sets, kv, ...others } = asRecord('env', env);
  const [stranger] = Object.keys(others);
  if (stranger !== undefined) throw new RunError(`env has vars, sets and kv, not "${stranger}"`);
  return {
    script: asText('script', script),
    vars: vars === undefined ? undefined : mapValues('env.vars', vars, asText),
    sets: sets === undefined ? undefined : mapValues('env.sets', sets, asSet),
    kv: kv === undefined ? undefined : mapValues('env.kv', kv, asKvValue),
    limits: limits === undefined ? {} : mapValues('limits', limits, asLimit),
    allow: allow === undefined ? undefined : asTexts('allow', allow),
    upstreams: mapValues('upstreams', upstreams, asUpstream),
    dns: dns === undefined ? {} : mapValues('dns', dns, asAddresses),
  };
}

const PROTOCOLS = ['tcp', 'udp', 'icmp'] as const;

/** Of the fields that `flow` of culvert:test has. @throws RunError */
export function parseFlow(fields: Readonly<Record<string, unknown>>): RecordedFlow {
  const { proto = 'tcp', src, dst, syn, dnsName, ...rest } = fields;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    throw new RunError(`flow has proto, src, dst, syn and dnsName, not "${unknown}"`);
  const protocol = PROTOCOLS.find((name) => name === proto);
  if (protocol === undefined)
    throw new RunError(`proto is ${PROTOCOLS.join(', ')}, not "${proto}"`);
  const source = asEndpoint('src', src);
  const destination = asEndpoint('dst', dst);
  if (source.family !== destination.family) throw new RunError('src and dst are of two families');
  if (protocol !== 'tcp' && syn !== undefined) throw new RunError(`${protocol} has no syn`);
  const named = dnsName === undefined ? {} : { dnsName: asText('dnsName', dnsName) };
  if (protocol === 'icmp') {
    if (destination.port !== 0) throw new RunError(`dst of a ping has no port, as "${dst}" has`);
    return { protocol, source, destination, ...named };
  }
  // A script would see port 0, which no client has.
  if (source.port === 0) throw new RunError(`src "${src}" has no port, as in "${src}:40000"`);
  if (destination.port === 0) throw new RunError(`dst "${dst}" has no port, as in "${dst}:443"`);
  if (protocol === 'udp') return { protocol, source, destination, ...named };
  return { protocol, source, destination, ...named, syn: asSyn(syn) };
}

const SYN_DEFAULT = { mss: 1460, wscale: 7, ttl: 64, ecn: false };

function asSyn(value: unknown): NonNullable<RecordedFlow['syn']> {
  const given = asRecord('syn', value);
  for (const [field, one] of Object.entries(given)) {
    if (typeof one === typeof SYN_DEFAULT[field as keyof typeof SYN_DEFAULT]) continue;
    throw new RunError('syn has the numbers mss, wscale and ttl, and ecn, which is true or false');
  }
  const { wscale, ...others } = { ...SYN_DEFAULT, ...given };
  return { ...others, windowScale: wscale };
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

const FAILURES: readonly DialFailure[] = ['refused', 'unreachable', 'timeout', 'loop', 'limit'];
/** An upstream answers the dial within a minute, or never. */
const CONNECT_MS_MAX = 60_000;

function asUpstream(what: string, value: unknown): UpstreamPlan {
  const given = asRecord(what, value);
  const { refuses, connectMs = 1, sends, answers, echo, closes, tls, ...rest } = given;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new RunError(`${what} has no "${unknown}"`);
  const failure = FAILURES.find((one) => one === refuses);
  if (refuses !== undefined && failure === undefined) {
    throw new RunError(`${what}.refuses is ${FAILURES.join(', ')}`);
  }
  if (typeof connectMs !== 'number' || !(connectMs >= 0 && connectMs <= CONNECT_MS_MAX)) {
    throw new RunError(`${what}.connectMs is from 0 to ${CONNECT_MS_MAX}`);
  }
  return {
    ...(failure === undefined ? {} : { refuses: failure }),
    connectMs,
    sends: asPieces(`${what}.sends`, sends),
    answers: asPieces(`${what}.answers`, answers),
    isEcho: asFlag(`${what}.echo`, echo),
    closes: asFlag(`${what}.closes`, closes),
    ...(tls === undefined ? {} : { tls: asTls(`${what}.tls`, tls) }),
  };
}

function asTls(what: string, value: unknown): SecureResult {
  const { alpn, fails, ...rest } = asRecord(what, value);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new RunError(`${what} has no "${unknown}"`);
  if (fails !== undefined) return { error: asText(`${what}.fails`, fails) };
  return alpn === undefined ? {} : { alpn: asText(`${what}.alpn`, alpn) };
}

function asFlag(what: string, value: unknown): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  throw new RunError(`${what} is true or false`);
}

/** Text, bytes, or a list of either, each of which arrives for itself. */
function asPieces(what: string, value: unknown): readonly Uint8Array[] {
  if (value === undefined) return [];
  return (Array.isArray(value) ? value : [value]).map((one) => asBytes(what, one));
}

function asBytes(what: string, value: unknown): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  const { latin1 } = asRecord(what, value);
  return Buffer.from(asText(what, latin1), 'latin1');
}
