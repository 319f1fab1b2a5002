import { expect, test } from 'bun:test';
import { Egress, plainEndpoint } from '../../../src/scripts-runtime/conns/egress.ts';
import type { Endpoint } from '../../../src/stack/verdict.ts';
import { ConnWorld, claiming } from './conn-world.ts';

const at = (ip: string, port: number): Endpoint =>
  plainEndpoint({ ip, port, family: ip.includes(':') ? 6 : 4 });
const ORIGINAL = at('192.0.2.1', 443);

const may = (allow: readonly string[] | undefined, ip: string, port: number, name = '') =>
  new Egress(allow, []).refusal(name, at(ip, port), ORIGINAL) === undefined;

test.each([
  ['10.0.0.0/8:443', '10.1.2.3', 443, true],
  ['10.0.0.0/8:443', '11.1.2.3', 443, false],
  ['10.0.0.0/8:443', '10.1.2.3', 444, false],
  ['10.0.0.0/8:443', '::ffff:10.1.2.3', 443, true],
  ['10.0.0.1:1-100', '10.0.0.1', 100, true],
  ['10.0.0.1:1-100', '10.0.0.1', 101, false],
  ['10.0.0.1:*', '10.0.0.2', 80, false],
  ['[fd00::/8]:*', 'fd12::1', 1, true],
  ['[fd00::/8]:*', 'fe80::1', 1, false],
  ['[fd00::1]:80', 'fd00:0::1', 80, true],
  ['0.0.0.0/0:80', '8.8.8.8', 80, true],
  ['0.0.0.0/0:80', '2001:db8::1', 80, false],
  ['*:80', '2001:db8::1', 80, true],
  ['*:*', '8.8.8.8', 9, true],
  ['db.example:80', '8.8.8.8', 80, false],
])('%s and the address %s port %d: %p', (pattern, ip, port, expected) => {
  expect(may([pattern], ip, port)).toBe(expected);
});

test.each([
  ['db.example:80', 'DB.example.', true],
  ['db.example:80', 'x.db.example', false],
  ['*.corp.example:80', 'a.corp.example', true],
  ['*.corp.example:80', 'a.b.corp.example', true],
  ['*.corp.example:80', 'corp.example', false],
  ['*.corp.example:80', 'evilcorp.example', false],
  ['*:80', 'any.example', true],
  ['10.0.0.0/8:80', 'any.example', false],
])('%s and the name %s: %p', (pattern, name, expected) => {
  expect(may([pattern], '192.0.2.9', 80, name)).toBe(expected);
});

test('without a list it is the original destination, with an empty one nothing', () => {
  expect(may(undefined, '192.0.2.1', 443)).toBe(true);
  expect(may(undefined, '192.0.2.1', 444)).toBe(false);
  expect(may(undefined, '192.0.2.2', 443)).toBe(false);
  expect(may([], '192.0.2.1', 443)).toBe(false);
  expect(may(['10.0.0.0/8:*'], '192.0.2.1', 443)).toBe(false);
});

test.each([
  '0.0.0.0',
  '0.1.2.3',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  'ff02::1',
  '::ffff:0.0.0.0',
])('%s is no host, whatever is allowed', (ip) => {
  expect(may(['*:*'], ip, 80)).toBe(false);
});

test('what is closed stays closed, however it is written', () => {
  const egress = new Egress(['*:*'], ['127.0.0.1:9090', '*:7000', '[fd00::1]:*']);
  const refusal = (ip: string, port: number) => egress.refusal('x.example', at(ip, port), ORIGINAL);
  expect(refusal('127.0.0.1', 9090)).toBe('127.0.0.1 port 9090 is the gateway itself');
  expect(refusal('::ffff:127.0.0.1', 9090)).toContain('is the gateway itself');
  expect(refusal('::ffff:7f00:1', 9090)).toContain('is the gateway itself');
  expect(refusal('8.8.8.8', 7000)).toContain('is the gateway itself');
  expect(refusal('fd00:0:0::1', 1)).toContain('is the gateway itself');
  expect(refusal('127.0.0.1', 9091)).toBeUndefined();
});

test.each(['', '10.0.0.1', '10.0.0.0/33:80', '10.0.0.0/x:80', '300.1.1.1:80', 'a b:80', ':80'])(
  '"%s" is no pattern',
  (pattern) => {
    expect(() => new Egress([pattern], [])).toThrow('is no pattern');
  },
);

test.each(['a.example:0', 'a.example:70000', 'a.example:9-3', '*a.example:1', '*.:1', '[a]:1'])(
  '"%s" is no pattern either',
  (pattern) => {
    expect(() => new Egress([pattern], [])).toThrow('is no pattern');
  },
);

test('a script with a list that cannot be read does not load', async () => {
  const loading = ConnWorld.of(claiming(''), { allow: ['10.0.0.1'] });
  expect(loading).rejects.toThrow('allow: \\"10.0.0.1\\" is no pattern');
});

test('connect() to what is not allowed is `denied`, and no name is asked for', async () => {
  const world = await ConnWorld.of(
    claiming(`await fails(() => connect('10.0.0.1:80').opened);
      await fails(() => connect('evil.example:80').opened);
      await fails(() => connect('in.corp.example:80').opened);
      await fails(() => connect('127.0.0.1:9090').opened);`),
    { allow: ['*.corp.example:80', '127.0.0.0/8:9090'], closed: ['127.0.0.1:9090'] },
  );
  world.connect();
  expect(world.world.lookups.map(({ name }) => name)).toEqual(['in.corp.example']);
  // A name that is allowed does not open what is closed; here a name for it.
  world.host.resolved(world.world.lookups[0]!.id, ['0.0.0.0'], '');
  world.run();
  expect(world.lines).toEqual([
    'SocketError denied "allow" of the script does not have 10.0.0.1 port 80',
    'SocketError denied "allow" of the script does not have evil.example port 80',
    'SocketError denied 0.0.0.0 is no address of a host',
    'SocketError denied 127.0.0.1 port 9090 is the gateway itself',
  ]);
  expect(world.carrier.dials).toEqual([]);
});

test('of the addresses of a name only those that are allowed are tried', async () => {
  const world = await ConnWorld.of(claiming("await connect('a.example:80').opened;"), {
    allow: ['10.0.0.0/8:80'],
  });
  world.connect();
  world.host.resolved(world.world.lookups[0]!.id, ['192.0.2.9', '10.0.0.9'], '');
  world.advance(1000);
  expect(world.carrier.dials.map(({ dial }) => dial.to.ip)).toEqual(['10.0.0.9']);
});
