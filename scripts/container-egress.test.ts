import { expect, fixtures, flow, run, test } from 'culvert:test';
import script from './container-egress.ts';

const env = { sets: { names: ['.registry.example', 'api.example'], networks: ['10.1.0.0/16'] } };
const to = (dst: string, proto: 'tcp' | 'udp' | 'icmp' = 'tcp') =>
  flow({ proto, src: '172.17.0.2:40000', dst });

const https = (name: string | undefined, upstreams = {}) =>
  run(script, to('203.0.113.7:443'), {
    env,
    upstreams,
    clientSends: fixtures.tlsClientHello(name, { segments: 2 }),
  });

test.each([['api.example'], ['registry.example'], ['a.registry.example']])(
  '%s is reached by its name, not by the address that the container had for it',
  async (name) => {
    const r = await https(name, { [`${name}:443`]: { answers: 'hello' } });
    expect(r.dialed).toEqual([`${name}:443`]);
    expect(r.clientGot).toHaveLength(5);
  },
);

test.each([['evil.example'], ['notregistry.example'], ['a.api.example'], [undefined]])(
  '%p is not reached, and the log says who asked',
  async (name) => {
    const r = await https(name);
    expect(r.dialed).toEqual([]);
    expect(r.ended).toBe('killed');
    expect(r.logs[0]).toMatchObject({
      message: 'not on the list',
      fields: { container: '172.17.0.2', name: name ?? '' },
    });
  },
);

test('the same goes for HTTP', async () => {
  const get = (host: string) =>
    run(script, to('203.0.113.7:80'), { env, clientSends: fixtures.httpRequest(host) });
  expect((await get('api.example')).dialed).toEqual(['api.example:80']);
  expect((await get('evil.example')).dialed).toEqual([]);
});

test('an address in place of a name is not on the list', async () => {
  for (const host of ['[2001:db8::1]', '[2001:db8::1]:80', '203.0.113.7']) {
    const clientSends = fixtures.httpRequest(host);
    const r = await run(script, to('203.0.113.7:80'), { env, clientSends });
    expect(r.dialed).toEqual([]);
    expect(r.logs[0]).toMatchObject({ message: 'not on the list' });
  }
});

test('what says nothing, or nothing that is known, gets nowhere', async () => {
  for (const clientSends of [[], fixtures.sshBanner(), 'CONNECT']) {
    const r = await run(script, to('203.0.113.7:443'), { env, clientSends });
    expect(r.dialed).toEqual([]);
    expect(r.ended).toBe('killed');
  }
});

test('a listed server that does not answer is no error of the script', async () => {
  const r = await https('api.example', { 'api.example:443': { refuses: 'refused' } });
  expect(r.logs[0]).toMatchObject({ message: 'out of reach', fields: { code: 'refused' } });
});

test.each([
  ['udp', '8.8.8.8:53', 'forward 10.0.0.53:53'],
  ['tcp', '8.8.8.8:53', 'forward 10.0.0.53:53'],
  ['tcp', '10.1.2.3:5432', 'forward'],
  ['tcp', '203.0.113.7:22', 'reject reason=not on the list with=icmp'],
  ['udp', '203.0.113.7:443', 'reject reason=not on the list with=icmp'],
  ['icmp', '203.0.113.7', 'reject reason=not on the list with=icmp'],
] as const)('%s to %s: %s', async (proto, dst, wanted) => {
  expect((await run(script, to(dst, proto), { env })).text).toBe(wanted);
});
