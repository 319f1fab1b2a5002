import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { admin } from '../../../../src/gateway/config/admin-schema.ts';
import { idOf } from '../../../../src/gateway/supervisor/api/accounts.ts';
import {
  accessRules,
  hasScope,
  identify,
  nameOf,
  type Peer,
} from '../../../../src/gateway/supervisor/api/callers.ts';

const OWN_UID = 990;
const TCP: Peer = { kind: 'tcp', address: '127.0.0.1:40000' };
const unix = (uid: number, gid = uid, groups: number[] = []): Peer => ({
  kind: 'unix',
  pid: 7,
  uid,
  gid,
  groups,
});
const rulesOf = (input: unknown) => accessRules(admin.parse(input), 'c.yaml');
const CI = 'token-of-the-pipeline';
const LOOK = 'token-of-a-dashboard';
const tokens = [
  { name: 'ci', token: CI, scopes: ['read', 'reload'] },
  {
    name: 'look',
    token: `sha256:${createHash('sha256').update(LOOK).digest('hex')}`,
    scopes: ['read'],
  },
];

const scopesOf = (peer: Peer, rules: unknown, authorization?: string): string[] =>
  [...(identify(peer, authorization, rulesOf(rules), OWN_UID)?.scopes ?? [])].sort();

describe('over a unix socket', () => {
  test('root and the user of the gateway may do everything, others nothing', () => {
    const all = ['admin', 'kill', 'read', 'reload'];
    expect(scopesOf(unix(0), {})).toEqual(all);
    expect(scopesOf(unix(OWN_UID), {})).toEqual(all);
    expect(scopesOf(unix(1000), {})).toEqual([]);
    expect(scopesOf(unix(1000, 0), {})).toEqual([]);
  });

  test('rules add up: of the uid, of the group, and of supplementary groups', () => {
    const allow = [
      { uid: 1000, scopes: ['read'] },
      { gid: 50, scopes: ['kill'] },
      { group: 'root', scopes: ['reload'] },
    ];
    expect(scopesOf(unix(1000), { allow })).toEqual(['read']);
    expect(scopesOf(unix(1000, 50), { allow })).toEqual(['kill', 'read']);
    expect(scopesOf(unix(1001, 1001, [7, 50, 0]), { allow })).toEqual(['kill', 'reload']);
    // A uid is no gid.
    expect(scopesOf(unix(50, 1), { allow })).toEqual([]);
  });

  test('a token adds what the uid does not have, and a wrong one takes nothing away', () => {
    expect(scopesOf(unix(1000), { tokens }, `Bearer ${CI}`)).toEqual(['read', 'reload']);
    expect(scopesOf(unix(0), { tokens }, 'Bearer wrong')).toHaveLength(4);
  });
});

describe('over TCP', () => {
  test('a token has its scopes, whether the config has it or its hash', () => {
    expect(scopesOf(TCP, { tokens }, `Bearer ${CI}`)).toEqual(['read', 'reload']);
    expect(scopesOf(TCP, { tokens }, `bearer ${LOOK}`)).toEqual(['read']);
  });

  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${CI}`,
    `Bearer ${CI}x`,
    `Bearer ${CI} ${LOOK}`,
    `Bearer sha256:${createHash('sha256').update(LOOK).digest('hex')}`,
  ])('%p is nobody', (authorization) =>
    expect(
      scopesOf(TCP, { tokens, allow: [{ uid: 0, scopes: ['admin'] }] }, authorization),
    ).toEqual([]),
  );

  test('a caller is called by the name of its token', () => {
    const caller = identify(TCP, `Bearer ${LOOK}`, rulesOf({ tokens }), OWN_UID);
    expect(caller && nameOf(caller)).toBe('token "look"');
    expect(caller && hasScope(caller, 'read')).toBe(true);
    expect(caller && hasScope(caller, 'kill')).toBe(false);
  });

  test('the single token has all scopes, and so has the scope admin', () => {
    const one = identify(TCP, `Bearer ${CI}`, rulesOf({ token: CI }), OWN_UID);
    expect(one && hasScope(one, 'kill')).toBe(true);
    const all = [{ name: 'all', token: CI, scopes: ['admin'] }];
    const other = identify(TCP, `Bearer ${CI}`, rulesOf({ tokens: all }), OWN_UID);
    expect(other && hasScope(other, 'reload')).toBe(true);
  });

  test('a token may lie in a file, as its hash too', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'token');
    const inFile = [{ name: 'ci', tokenFile: file, scopes: ['read'] }];
    writeFileSync(file, `${CI}\n`);
    expect(scopesOf(TCP, { tokens: inFile }, `Bearer ${CI}`)).toEqual(['read']);
    writeFileSync(file, `sha256:${createHash('sha256').update(LOOK).digest('hex')}\n`);
    expect(scopesOf(TCP, { tokens: inFile }, `Bearer ${LOOK}`)).toEqual(['read']);
    writeFileSync(file, '\n');
    expect(() => rulesOf({ tokens: inFile })).toThrow(
      'admin.tokens[0].tokenFile: the token is empty',
    );
  });
});

describe('a file with a token', () => {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  const inFile = { tokens: [{ name: 'ci', tokenFile: 'token', scopes: ['read'] }] };
  const rules = () => accessRules(admin.parse(inFile), 'c.yaml', folder);

  test('is looked for from the folder of the config', () => {
    writeFileSync(join(folder, 'token'), `${CI}\n`);
    expect(identify(TCP, `Bearer ${CI}`, rules(), OWN_UID)?.token).toBe('ci');
  });

  test.each([
    ['a hash that is cut short', 'sha256:0123456789abcdef'],
    ['a hash that is none', `sha256:${'x'.repeat(64)}`],
    ['a token that can be guessed', 'short'],
    ['two tokens', `${CI}\n${LOOK}`],
  ])('with %s is refused like one in the config, and not shown', (_, text) => {
    writeFileSync(join(folder, 'token'), text);
    const fault = `admin.tokens[0].tokenFile: ${join(folder, 'token')} has no token: `;
    expect(rules).toThrow(fault);
    expect(rules).not.toThrow(text);
  });
});

describe('what cannot be is told with its place', () => {
  test.each([
    [{ tokenFile: '/nonexistent' }, 'admin.tokenFile: /nonexistent cannot be read: ENOENT'],
    [
      { allow: [{ user: 'no-such-user', scopes: ['read'] }] },
      'admin.allow[0].user: "no-such-user" is not known on this machine',
    ],
    [
      { allow: [{ group: 'no-such-group', scopes: ['read'] }] },
      'admin.allow[0].group: "no-such-group" is not known on this machine',
    ],
  ])('%j', (input, message) => expect(() => rulesOf(input)).toThrow(message));

  test.each([
    [{ tokens: [{ name: 'a', scopes: ['read'] }] }],
    [{ tokens: [{ name: 'a', token: CI, tokenFile: '/x', scopes: ['read'] }] }],
    [{ tokens: [{ name: 'a', token: CI, scopes: [] }] }],
    [{ tokens: [{ name: 'a', token: 'short', scopes: ['read'] }] }],
    [{ tokens: [{ name: 'a', token: 'sha256:0123456789', scopes: ['read'] }] }],
    [{ tokens: [tokens[0], tokens[0]] }],
    [{ tokens: [{ name: 'a', token: CI, scopes: ['write'] }] }],
    [{ allow: [{ scopes: ['read'] }] }],
    [{ allow: [{ uid: 1, gid: 1, scopes: ['read'] }] }],
    [{ allow: [{ uid: 0xffffffff, scopes: ['read'] }] }],
    [{ socket: { mode: '999' } }],
  ])('%j is no config', (input) => expect(admin.safeParse(input).success).toBe(false));
});

test('names are looked up in the files of the machine', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'passwd');
  writeFileSync(file, 'root:x:0:0::/:/bin/sh\nops:x:1003:50::/:/bin/sh\nbroken\nodd:x:y:\n');
  expect(idOf('user', 'ops', file)).toBe(1003);
  expect(idOf('user', 'odd', file)).toBeUndefined();
  expect(idOf('user', 'x', file)).toBeUndefined();
  expect(idOf('user', 'ops', `${file}.none`)).toBeUndefined();
});
