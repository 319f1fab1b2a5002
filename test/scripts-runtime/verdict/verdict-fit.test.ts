import { describe as describeVia, expect, test } from 'bun:test';
import { misfitOf } from '../../../src/scripts-runtime/verdict/verdict-fit.ts';
import { describe, ScriptWorld, scriptOf, syncScriptOf } from '../script-world.ts';

async function worldOf(body: string): Promise<ScriptWorld> {
  const world = new ScriptWorld();
  await world.load({ route: syncScriptOf(body), next: syncScriptOf('return forward()') });
  return world;
}

test.each(['udp', 'icmp'] as const)(
  'a script sees a flow of %s, which has no SYN',
  async (proto) => {
    const world = await worldOf(
      'const { proto, src, dst } = flow;' +
        "const shown = [proto, src.port, dst.port, 'syn' in flow];" +
        "return reject({ reason: shown.join(' ') })",
    );
    const port = proto === 'udp' ? 53 : 0;
    // The page that carries a request still holds what the SYN before said.
    world.decide('192.0.2.1', 80);
    expect(world.outcome('192.0.2.1', port, { protocol: proto })).toBe(
      `reject rst ${proto} 40000 ${port} false`,
    );
  },
);

test.each([
  ['udp', 'redirect("welcome")', 'redirect(): welcome speaks TCP, and the flow is udp'],
  ['icmp', 'redirect("welcome")', 'redirect(): welcome speaks TCP, and the flow is icmp'],
  [
    'udp',
    'forward("10.0.0.1:53", { handshake: "accept-first" })',
    'forward(): handshake "accept-first" is for TCP, and the flow is udp',
  ],
  [
    'icmp',
    'forward(undefined, { proxyProtocol: 2 })',
    'forward(): proxyProtocol is for TCP, and the flow is icmp',
  ],
  ['udp', 'reject({ with: "tarpit" })', 'reject(): with "tarpit" is for TCP, and the flow is udp'],
  [
    'icmp',
    'reject({ with: "tarpit" })',
    'reject(): with "tarpit" is for TCP, and the flow is icmp',
  ],
  ['udp', 'nat("[fd00::1]:53")', 'nat(): fd00::1 is IPv6, and the flow is IPv4'],
  ['tcp', 'nat("[fd00::1]:53")', 'nat(): fd00::1 is IPv6, and the flow is IPv4'],
] as const)('%s: %s fails closed, and the log says why', async (protocol, verdict, message) => {
  for (const body of [`return ${verdict}`, `return Promise.resolve(${verdict})`]) {
    const world = await worldOf(body);
    expect(world.decide('192.0.2.1', 53, { protocol, flow: 9 })).toEqual({
      kind: 'failed',
      failure: 'bad-verdict',
      by: { generation: 1, script: 0 },
    });
    expect(world.logs).toEqual([
      expect.objectContaining({ level: 'warn', script: 'route', flow: 9, message }),
    ]);
    world.advance(2000);
    expect(world.stats.find(({ script }) => script === 'route')).toMatchObject({ errors: 1 });
  }
});

test('the same options fit a TCP flow, and what a ping does not need is let pass', async () => {
  const options = '{ handshake: "accept-first", proxyProtocol: 1 }';
  const tcp = await worldOf(`return forward("10.0.0.1:80", ${options})`);
  expect(tcp.outcome()).toBe('forward 10.0.0.1:80');
  const ping = await worldOf('return forward("10.0.0.1:80", { connectTimeoutMs: 5 })');
  expect(ping.outcome('192.0.2.1', 0, { protocol: 'icmp' })).toBe('forward 10.0.0.1:0');
});

test.each(['forward', 'nat'])(
  '%s: an address alone keeps the port of the client',
  async (verdict) => {
    const world = await worldOf(
      `return ${verdict}(flow.dst.family === 4 ? "10.0.0.1" : "[fd00::9]")`,
    );
    const tail = verdict === 'nat' ? ' masquerade' : '';
    const outcome = (ip: string, port: number, protocol: 'tcp' | 'udp' | 'icmp') =>
      world.outcome(ip, port, { protocol });
    expect(outcome('192.0.2.1', 8080, 'tcp')).toBe(`${verdict} 10.0.0.1:8080${tail}`);
    expect(outcome('192.0.2.1', 53, 'udp')).toBe(`${verdict} 10.0.0.1:53${tail}`);
    expect(outcome('fd00::1', 0, 'icmp')).toBe(`${verdict} [fd00::9]:0${tail}`);
  },
);

test('a NAT goes to an address of its own family, also where a name has others', async () => {
  const world = new ScriptWorld();
  const script = scriptOf("return nat('db.example:5432', { masquerade: false })");
  await world.load({ route: script });
  const ids = [world.ask('192.0.2.1', 80), world.ask('fd00::1', 80)];
  world.host.resolved(world.lookups[0]!.id, ['fd00::5', '10.0.0.5'], '');
  expect(ids.map((id) => describe(world.answers.get(id)))).toEqual([
    'nat 10.0.0.5:5432',
    'nat [fd00::5]:5432',
  ]);
  const last = world.ask('192.0.2.1', 80);
  world.host.resolved(world.lookups[1]!.id, ['fd00::5'], '');
  expect(describe(world.answers.get(last))).toBe('failed error');
  expect(world.lines).toEqual(['nat(): "db.example" does not resolve: no IPv4 address']);
});

test('only TCP can be claimed', () => {
  const end = { ip: '192.0.2.1', port: 1, family: 4 } as const;
  const misfit = (protocol: 'tcp' | 'udp' | 'icmp') =>
    misfitOf({ kind: 'claim', sniff: false }, { flow: 1, protocol, source: end, destination: end });
  expect(misfit('tcp')).toBeUndefined();
  expect(misfit('udp')).toBe('claim(): is for TCP, and the flow is udp');
  expect(misfit('icmp')).toBe('claim(): is for TCP, and the flow is icmp');
});

describeVia('via', () => {
  const upstreams = { web: 'pool', out: 'proxy', wan: 'egress' } as const;
  const flowOf = (protocol: 'tcp' | 'udp' | 'icmp') => ({
    flow: 1,
    protocol,
    source: { ip: '10.0.0.1', port: 1, family: 4 as const },
    destination: { ip: '10.0.0.2', port: 2, family: 4 as const },
  });
  const to = { ip: '10.0.0.3', port: 3, family: 4 as const };
  const forwardBy = (via: string, rest: object = {}) =>
    ({ kind: 'forward', handshake: 'dial-first', via, ...rest }) as const;

  test.each([
    ['web', {}, 'tcp'],
    ['out', { to }, 'tcp'],
    ['out', {}, 'tcp'],
    ['wan', { to }, 'udp'],
    ['wan', {}, 'icmp'],
    ['direct', { to }, 'udp'],
  ] as const)('%s with %o fits a flow of %s', (via, rest, protocol) => {
    expect(misfitOf(forwardBy(via, rest), flowOf(protocol), upstreams)).toBeUndefined();
  });

  test.each([
    ['web', { to }, 'tcp', 'forward(): upstream "web" is a pool, and takes no address'],
    ['web', {}, 'udp', 'forward(): upstream "web" is a pool, for TCP, and the flow is udp'],
    ['out', {}, 'icmp', 'forward(): upstream "out" is a proxy, for TCP, and the flow is icmp'],
    ['no', {}, 'tcp', 'forward(): there is no upstream "no"; there is: web, out, wan'],
    ['toString', {}, 'tcp', 'forward(): there is no upstream "toString"; there is: web, out, wan'],
  ] as const)('%s with %o and %s: %s', (via, rest, protocol, why) => {
    expect(misfitOf(forwardBy(via, rest), flowOf(protocol), upstreams)).toBe(why);
  });

  test('where nobody knows the configuration any name may be one', () => {
    expect(misfitOf(forwardBy('no', { to }), flowOf('tcp'))).toBeUndefined();
  });

  test('a script whose upstream is not there has its decision fail, until it is', async () => {
    const world = await worldOf("return forward(undefined, { via: 'web' })");
    world.host.upstreams = {};
    expect(world.outcome('192.0.2.1', 80)).toBe('failed bad-verdict');
    expect(world.logs.at(-1)?.message).toBe('forward(): there is no upstream "web"');
    world.host.upstreams = { web: 'pool' };
    expect(world.outcome('192.0.2.1', 80)).toStartWith('forward');
  });

  test.each(['"a b"', '""', '7', '"x".repeat(65)'])('forward() takes no via of %s', async (via) => {
    const world = await worldOf(`return forward(undefined, { via: ${via} })`);
    expect(world.outcome('192.0.2.1', 80)).toStartWith('failed');
  });
});

describeVia('redirect to a listener', () => {
  const anyEnd = { ip: '10.0.0.1', port: 1, family: 4 } as const;
  const listeners = { web: 'tcp', dns: 'udp', all: 'any' } as const;
  const misfit = (listener: string, protocol: 'tcp' | 'udp' | 'icmp', known = true) =>
    misfitOf(
      { kind: 'redirect', listener, note: '' },
      { flow: 1, protocol, source: anyEnd, destination: anyEnd },
      undefined,
      known ? listeners : undefined,
    );

  test('fits the protocol that it takes, and all where it takes any', () => {
    expect(misfit('web', 'tcp')).toBeUndefined();
    expect(misfit('dns', 'udp')).toBeUndefined();
    expect(misfit('all', 'icmp')).toBeUndefined();
    expect(misfit('web', 'udp')).toBe('redirect(): listener "web" takes tcp, and the flow is udp');
  });

  test('names those that there are, where the name is none of them', () => {
    const known = 'there is: welcome, web, dns, all';
    for (const name of ['wep', 'toString']) {
      expect(misfit(name, 'tcp')).toBe(`redirect(): there is no listener "${name}"; ${known}`);
    }
    expect(misfit('wep', 'tcp', false)).toBeUndefined();
  });
});

test('redirect to an unknown name fails closed, and the log names both', async () => {
  const world = await worldOf('return redirect(flow.dst.port === 1 ? "web" : "nowhere")');
  world.host.listeners = { web: 'tcp' };
  expect(world.outcome('192.0.2.1', 1)).toBe('redirect web');
  expect(world.outcome('192.0.2.1', 2)).toBe('failed bad-verdict');
  expect(world.logs).toEqual([
    expect.objectContaining({
      ...{ level: 'warn', script: 'route' },
      message: 'redirect(): there is no listener "nowhere"; there is: welcome, web',
    }),
  ]);
});
