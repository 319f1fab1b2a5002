/** The section `upstreams` of a config, and what listeners and `egress.via` need of it. */
import { z } from 'zod';
import { DIRECT, type UpstreamKind } from '../../stack/verdict.ts';
import { POOL_POLICIES } from '../messages/upstreams.ts';
import type { ListenerConfig } from './listener-schema.ts';
import { familyOf, parseTarget } from './value-texts.ts';
import { duration, ipAddress, mark, objectName, textOf } from './values.ts';

/** An upstream that `egress.via` describes and does not name has this name. */
const DEFAULT_PROXY_NAME = 'proxy';

const ADDRESSES_MAX = 64;
const UPSTREAMS_MAX = 256;
/** RFC 1929 §2: one byte says how long each of them is. */
const CREDENTIAL_BYTES_MAX = 255;
const HOUR_MS = 3_600_000;
const RETRIES_DEFAULT = 2;
const INTERFACE_NAME_MAX = 15;

/** `10.0.0.5:8443`, `[fd00::5]:8443`; undefined when a part is missing. */
function parseEndpoint(text: string): { ip: string; port: number } | undefined {
  const { ip, port } = parseTarget(text) ?? {};
  return ip === undefined || port === undefined ? undefined : { ip, port };
}

interface Proxy {
  readonly protocol: 'socks5' | 'http';
  readonly address: { readonly ip: string; readonly port: number };
  readonly user: string;
  readonly password: string;
}

/** `socks5://user:pass@10.0.0.3:1080`, `http://[fd00::3]:3128`; or in words what is wrong. */
export function parseProxy(text: string): Proxy | string {
  const match = /^(?<scheme>[a-z0-9+.-]+):\/\/(?:(?<login>[^@/]*)@)?(?<host>[^@/]+)\/?$/i.exec(
    text,
  );
  const { scheme = '', login = '', host = '' } = match?.groups ?? {};
  const protocol = scheme.toLowerCase();
  if (protocol !== 'socks5' && protocol !== 'http') {
    return 'expected "socks5://IP:PORT" or "http://IP:PORT"';
  }
  const address = parseEndpoint(host);
  if (address === undefined) return `"${host}" is no "ip:port": a proxy has an address, not a name`;
  const colonAt = login.includes(':') ? login.indexOf(':') : login.length;
  const user = decode(login.slice(0, colonAt));
  const password = decode(login.slice(colonAt + 1));
  if (user === undefined || password === undefined)
    return 'the credentials are no percent-encoding';
  if (Buffer.byteLength(user) > CREDENTIAL_BYTES_MAX) return 'the user is longer than 255 bytes';
  if (Buffer.byteLength(password) > CREDENTIAL_BYTES_MAX) {
    return 'the password is longer than 255 bytes';
  }
  return { protocol, address, user, password };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

const proxy = z.string().transform((text, context): Proxy => {
  const value = parseProxy(text);
  if (typeof value !== 'string') return value;
  context.addIssue({ code: 'custom', message: value });
  return z.NEVER;
});

const endpoint = textOf(parseEndpoint, 'an "ip:port" such as "10.0.0.5:8443"');

/** Three failures in a row are no accident, and ten seconds bring many a service back. */
const health = z.strictObject({
  after: z.int().min(0).max(1000).default(3),
  for: duration(100, HOUR_MS).prefault('10s'),
});

/** What is for a pool only. */
const POOL_KEYS = ['policy', 'retries', 'health'] as const;

const upstream = z
  .strictObject({
    addresses: z.array(endpoint).min(1).max(ADDRESSES_MAX).optional(),
    policy: z.enum(POOL_POLICIES).optional(),
    retries: z.int().min(0).max(ADDRESSES_MAX).optional(),
    health: health.optional(),
    proxy: proxy.optional(),
    connectTimeout: duration(1, HOUR_MS).optional(),
    interface: z
      .string()
      .regex(/^[^\s/:%]+$/, 'expected a name of an interface')
      .max(INTERFACE_NAME_MAX)
      .optional(),
    fwmark: mark.optional(),
    source: z.union([ipAddress, z.array(ipAddress).min(1).max(2)]).optional(),
  })
  .superRefine((value, context) => {
    const fault = (path: string[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    if (value.addresses !== undefined && value.proxy !== undefined) {
      fault(['proxy'], 'an upstream has "addresses" or a "proxy", and not both');
    }
    for (const key of POOL_KEYS) {
      if (value[key] !== undefined && value.addresses === undefined) {
        fault([key], 'is for an upstream with "addresses" only');
      }
    }
    const keys = value.addresses?.map(({ ip, port }) => `${ip} ${port}`) ?? [];
    if (new Set(keys).size < keys.length) fault(['addresses'], 'an address stands twice');
    const sources = [value.source ?? []].flat();
    if (new Set(sources.map(familyOf)).size < sources.length) {
      fault(['source'], 'has two addresses of one family');
    }
    if (Object.values(value).every((part) => part === undefined)) {
      fault([], 'says nothing: "addresses", "proxy", "interface", "fwmark" or "source"');
    }
  });

type UpstreamInput = z.output<typeof upstream>;

const reservedFault = `"${DIRECT}" stands for no upstream, and cannot be one`;

export const upstreams = z
  .record(objectName, upstream)
  .refine((map) => Object.keys(map).length <= UPSTREAMS_MAX, `more than ${UPSTREAMS_MAX}`)
  .refine((map) => !(DIRECT in map), { path: [DIRECT], message: reservedFault })
  .transform((map) => Object.fromEntries(Object.entries(map).map(([n, v]) => [n, settle(v)])));

/** With the defaults of its kind. */
function settle({ addresses, proxy, connectTimeout, source, ...rest }: UpstreamInput) {
  const { fwmark, interface: device } = rest;
  const options = {
    sources: [source ?? []].flat(),
    ...(fwmark === undefined ? {} : { fwmark }),
    ...(device === undefined ? {} : { interface: device }),
    ...(connectTimeout === undefined ? {} : { connectTimeoutMs: connectTimeout }),
  };
  if (proxy !== undefined) return { kind: 'proxy' as const, ...proxy, ...options };
  if (addresses === undefined) return { kind: 'egress' as const, ...options };
  const { policy = 'round-robin', retries = RETRIES_DEFAULT } = rest;
  const { after, for: forMs } = rest.health ?? health.parse({});
  const pool = { kind: 'pool' as const, addresses, policy, retries, health: { after, forMs } };
  return { ...pool, ...options };
}

export type UpstreamConfig = ReturnType<typeof settle>;

/** A name, a proxy as a URL, or `direct`. */
export const egressVia = z
  .string()
  .refine((text) => !text.includes('://') || text === `${DIRECT}://` || isProxy(text), {
    error: ({ input }) => {
      const why = parseProxy(String(input));
      return typeof why === 'string' ? why : 'expected a name or a proxy';
    },
  });

const isProxy = (text: string): boolean => typeof parseProxy(text) !== 'string';

interface Sections {
  readonly upstreams: Readonly<Record<string, UpstreamConfig>>;
  readonly egress: { readonly via?: string | undefined };
  readonly listeners: readonly ListenerConfig[];
}

/** All upstreams, with the one that `egress.via` describes by a URL. */
export function allUpstreams({
  upstreams,
  egress: { via = '' },
}: Pick<Sections, 'upstreams' | 'egress'>): ReadonlyMap<string, UpstreamConfig> {
  const known = new Map(Object.entries(upstreams));
  const described = via.includes('://') ? parseProxy(via) : '';
  if (typeof described !== 'string') {
    known.set(DEFAULT_PROXY_NAME, { kind: 'proxy', ...described, sources: [] });
  }
  return known;
}

/** What scripts may name, and what each of them is. */
export const upstreamKinds = (
  config: Pick<Sections, 'upstreams' | 'egress'>,
): Readonly<Record<string, UpstreamKind>> =>
  Object.fromEntries([...allUpstreams(config)].map(([name, { kind }]) => [name, kind]));

/** Name of the upstream of a `forward` that names none; empty for none. */
export function defaultVia({ via = '' }: Sections['egress']): string {
  if (via === DIRECT || via === `${DIRECT}://`) return '';
  return via.includes('://') ? DEFAULT_PROXY_NAME : via;
}

interface Fault {
  readonly path: PropertyKey[];
  readonly message: string;
}

/** What is wrong between the sections: where, and in words. */
export function upstreamFaults(config: Sections): Fault[] {
  const { upstreams, egress, listeners } = config;
  const known = allUpstreams(config);
  const faults: Fault[] = [];
  const isDescribed = egress.via?.includes('://') === true && defaultVia(egress) !== '';
  if (isDescribed && DEFAULT_PROXY_NAME in upstreams) {
    const message = `the name "${DEFAULT_PROXY_NAME}" is that of the proxy in egress.via`;
    faults.push({ path: ['upstreams', DEFAULT_PROXY_NAME], message });
  }
  const via = defaultVia(egress);
  if (via !== '' && known.get(via)?.kind === 'pool') {
    const message = `"${via}" is a pool, and all flows would end there: name it in a listener`;
    faults.push({ path: ['egress', 'via'], message });
  } else if (via !== '' && !isDescribed && !known.has(via)) {
    faults.push({ path: ['egress', 'via'], message: unknownUpstream(via, known) });
  }
  listeners.forEach((rule, index) => {
    const fault = listenerFault(rule, known);
    if (fault !== undefined) {
      faults.push({ path: ['listeners', index, ...fault.path], message: fault.message });
    }
  });
  return faults;
}

function listenerFault(
  { via, to, protocol }: ListenerConfig,
  known: ReadonlyMap<string, UpstreamConfig>,
): Fault | undefined {
  if (via === undefined || via === DIRECT) return undefined;
  const kind = known.get(via)?.kind;
  if (kind === undefined) return { path: ['via'], message: unknownUpstream(via, known) };
  if (kind === 'pool' && to !== undefined) {
    return { path: ['to'], message: `upstream "${via}" is a pool, and has its own addresses` };
  }
  if (kind !== 'egress' && protocol !== 'tcp') {
    return { path: ['protocol'], message: `upstream "${via}" is a ${kind}, which is for tcp only` };
  }
  return undefined;
}

/** `there is no upstream "x"; there is: a, b` */
function unknownUpstream(name: string, known: ReadonlyMap<string, unknown>): string {
  const names = [...known.keys()].join(', ');
  return `there is no upstream "${name}"${names === '' ? '' : `; there is: ${names}`}`;
}
