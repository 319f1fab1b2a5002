/** `connect(to, { via })`: what the carrier is asked for, and what is refused before that. */
import { expect, test } from 'bun:test';
import { ConnWorld, claiming } from './conn-world.ts';

const UPSTREAMS = { web: 'pool', out: 'proxy', wan: 'egress' } as const;

async function worldOf(body: string, allow?: readonly string[]): Promise<ConnWorld> {
  const world = await ConnWorld.of(claiming(body), allow === undefined ? {} : { allow });
  world.host.upstreams = UPSTREAMS;
  return world;
}

test.each([
  [`connect('10.0.0.1:80', { via: 'out' })`, { to: '10.0.0.1:80', via: 'out' }],
  [`connect('10.0.0.1:80', { via: 'wan' })`, { to: '10.0.0.1:80', via: 'wan' }],
  [`connect('10.0.0.1:80', { via: 'direct' })`, { to: '10.0.0.1:80', via: 'direct' }],
  [`connect(undefined, { via: 'web' })`, { to: '0.0.0.0:1', via: 'web' }],
])('%s', async (call, wanted) => {
  const world = await worldOf(`${call}; await conn.read();`);
  world.connect();
  const dial = world.carrier.dials[0]?.dial;
  expect({ to: `${dial?.to.ip}:${dial?.to.port}`, via: dial?.via }).toEqual(wanted);
});

test.each([
  [`connect('10.0.0.1:80', { via: 'no' }).opened`, 'SocketError denied there is no upstream "no"'],
  [`connect('10.0.0.1:80', { via: 'web' })`, 'connect(): upstream "web" is a pool, and takes no'],
  [`connect(undefined, { via: 'out' })`, 'connect(): an address is'],
  [`connect('10.0.0.1:80', { via: 'a b' })`, 'connect(): via is the name of an upstream'],
  [`connect('10.0.0.1:80', { via: 7 as any })`, 'connect(): via cannot be 7'],
  [`connect('10.0.0.1:80', { via: 'out', into: 'tun' })`, 'connect(): via is of a socket'],
])('%s is refused', async (call, why) => {
  const world = await worldOf(`await fails(() => ${call}); conn.abort();`);
  world.connect();
  expect(world.lines.join()).toContain(why);
  expect(world.carrier.dials).toEqual([]);
});

test('a pool is for whoever names it, and a proxy leads where `allow` says', async () => {
  const world = await worldOf(
    `connect(undefined, { via: 'web' });
     await fails(() => connect('10.0.0.1:80', { via: 'out' }).opened); conn.abort();`,
    [],
  );
  world.connect();
  expect(world.lines.join()).toContain('SocketError denied "allow" of the script does not have');
  expect(world.carrier.dials.map(({ dial }) => dial.via)).toEqual(['web']);
});
