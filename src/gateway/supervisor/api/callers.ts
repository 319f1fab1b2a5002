/** Who talks to the API, and which scopes that gives, by the `admin` section of the config. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { resolve } from 'node:path';
import type { PeerCredentials } from '../../../ffi/process.ts';
import { type AdminConfig, adminToken, SCOPES, type Scope } from '../../config/admin-schema.ts';
import { ConfigError } from '../../config/load.ts';
import { readTextFile, UnreadableError } from '../../config/read-text-file.ts';
import { idOf } from './accounts.ts';

/** A token is a line of text. */
const TOKEN_FILE_BYTES_MAX = 4096;
const HASH_PREFIX = 'sha256:';

/** The other end of a connection. */
export type Peer =
  | (PeerCredentials & { readonly kind: 'unix'; readonly groups: readonly number[] })
  /** `127.0.0.1:40000` */
  | { readonly kind: 'tcp'; readonly address: string };

/** A peer that was recognised. */
export interface Caller {
  readonly peer: Peer;
  /** Name of the token that was shown; absent for who is known by uid alone. */
  readonly token?: string;
  readonly scopes: ReadonlySet<Scope>;
}

interface TokenRule {
  readonly name: string;
  /** SHA-256 of the token. */
  readonly digest: Buffer;
  readonly scopes: readonly Scope[];
}

interface PeerRule {
  readonly kind: 'uid' | 'gid';
  readonly id: number;
  readonly scopes: readonly Scope[];
}

/** What the config says, with names looked up and files read. */
export interface AccessRules {
  readonly tokens: readonly TokenRule[];
  readonly peers: readonly PeerRule[];
}

/** Tells what is wrong with a place of the config. */
type Fault = (path: string, message: string, cause?: unknown) => ConfigError;

/**
 * Reads the rules of a config.
 *
 * @param file    named by errors
 * @param folder  that relative paths start from
 * @throws ConfigError  for a file that cannot be read or has no token, an unknown user or group
 */
export function accessRules(admin: AdminConfig, file: string, folder = '.'): AccessRules {
  const fault: Fault = (path, message, cause) =>
    new ConfigError(file, [{ path: `admin.${path}`, message }], { cause });
  const tokens = admin.tokens.map((entry, index) => ({
    name: entry.name,
    digest: digestOf(entry, `tokens[${index}]`, folder, fault),
    scopes: entry.scopes,
  }));
  const isSingle = admin.token !== undefined || admin.tokenFile !== undefined;
  const single = isSingle
    ? [{ name: 'admin.token', digest: digestOf(admin, '', folder, fault), scopes: SCOPES }]
    : [];
  const peers = admin.allow.map(({ uid, gid, user, group, scopes }, index): PeerRule => {
    const path = `allow[${index}]`;
    if (uid !== undefined) return { kind: 'uid', id: uid, scopes };
    if (gid !== undefined) return { kind: 'gid', id: gid, scopes };
    if (user !== undefined) {
      return {
        kind: 'uid',
        id: idOf('user', user) ?? unknown(`${path}.user`, user, fault),
        scopes,
      };
    }
    const name = group ?? '';
    return {
      kind: 'gid',
      id: idOf('group', name) ?? unknown(`${path}.group`, name, fault),
      scopes,
    };
  });
  return { tokens: [...single, ...tokens], peers };
}

/**
 * Recognises a caller; undefined when it is nobody. Root and the user of the gateway may do
 * everything: they could end it, too.
 *
 * @param authorization  the header of that name
 * @param ownUid         effective uid of the gateway
 */
export function identify(
  peer: Peer,
  authorization: string | undefined,
  { tokens, peers }: AccessRules,
  ownUid: number,
): Caller | undefined {
  const token = findToken(authorization, tokens);
  const byPeer = peer.kind === 'unix' ? peerScopes(peer, peers, ownUid) : [];
  const scopes = new Set([...byPeer, ...(token?.scopes ?? [])]);
  if (scopes.size === 0) return undefined;
  return { peer, scopes, ...(token === undefined ? {} : { token: token.name }) };
}

/** `admin` is the scope that has the others. */
export const hasScope = ({ scopes }: Caller, scope: Scope): boolean =>
  scopes.has(scope) || scopes.has('admin');

/** `uid 1000`, `token ci`, for people. */
export function nameOf({ token, peer }: Caller): string {
  if (token !== undefined) return `token "${token}"`;
  return peer.kind === 'unix' ? `uid ${peer.uid}` : peer.address;
}

function peerScopes(
  { uid, gid, groups }: Extract<Peer, { kind: 'unix' }>,
  rules: readonly PeerRule[],
  ownUid: number,
): readonly Scope[] {
  if (uid === 0 || uid === ownUid) return SCOPES;
  return rules
    .filter(({ kind, id }) => (kind === 'uid' ? id === uid : id === gid || groups.includes(id)))
    .flatMap(({ scopes }) => scopes);
}

/** Compares with every token, each in constant time, so that no answer tells which was near. */
function findToken(
  authorization: string | undefined,
  tokens: readonly TokenRule[],
): TokenRule | undefined {
  const given = /^bearer +(?<token>\S+) *$/i.exec(authorization ?? '')?.groups?.['token'] ?? '';
  const wanted = sha256(given);
  let found: TokenRule | undefined;
  for (const rule of tokens) if (timingSafeEqual(rule.digest, wanted)) found = rule;
  return given === '' ? undefined : found;
}

/** @throws ConfigError */
function digestOf(
  { token, tokenFile = '' }: Pick<AdminConfig, 'token' | 'tokenFile'>,
  path: string,
  folder: string,
  fault: Fault,
): Buffer {
  const key = path === '' ? 'tokenFile' : `${path}.tokenFile`;
  const text =
    token ?? readToken(resolve(folder, tokenFile), (why, cause) => fault(key, why, cause));
  return text.startsWith(HASH_PREFIX)
    ? Buffer.from(text.slice(HASH_PREFIX.length), 'hex')
    : sha256(text);
}

/** What is in a file is as good as what stands in the config, or refused like that. */
function readToken(file: string, fault: (why: string, cause?: unknown) => ConfigError): string {
  let text: string;
  try {
    text = readTextFile(file, TOKEN_FILE_BYTES_MAX).trim();
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw fault(`${file} ${cause.message}`, cause);
  }
  if (text === '') throw fault('the token is empty');
  const { error } = adminToken.safeParse(text);
  if (error !== undefined) throw fault(`${file} has no token: ${error.issues[0]?.message}`);
  return text;
}

function unknown(path: string, name: string, fault: Fault): never {
  throw fault(path, `"${name}" is not known on this machine: write its number`);
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
