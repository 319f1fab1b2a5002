import { describe, expect, test } from 'bun:test';
import { ConfigError, parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig } from '../../../src/gateway/config/plane.ts';
import { parseProxy } from '../../../src/gateway/config/upstream-schema.ts';

const liveOf = (text: string) => toLiveConfig(parseConfig(text, 'c.yaml'), 1);

function faultOf(text: string): string {
  try {
    parseConfig(text, 'c.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

describe('what the data plane gets', () => {
  test('a pool has defaults', () => {
    const { upstreams } = liveOf(
      "upstreams: { web: { addresses: ['10.0.0.5:80', '[fd00::5]:80'] } }",
    );
    expect(upstreams).toEqual([
      {
        name: 'web',
        id: 0,
        kind: 'pool',
        addresses: [
          { ip: '10.0.0.5', port: 80 },
          { ip: 'fd00::5', port: 80 },
        ],
        policy: 'round-robin',
        retries: 2,
        health: { after: 3, forMs: 10_000 },
        sources: [],
      },
    ]);
  });

  test('all options of a pool', () => {
    const { upstreams } = liveOf(`
upstreams:
  web:
    addresses: [10.0.0.5:80]
    policy: failover
    retries: 0
    health: { after: 1, for: 2s }
    connectTimeout: 500ms
    interface: wg0
    fwmark: 0x20
    source: [10.0.0.1, 'fd00::1']
`);
    expect(upstreams[0]).toMatchObject({
      ...{ policy: 'failover', retries: 0, health: { after: 1, forMs: 2000 } },
      ...{ connectTimeoutMs: 500, interface: 'wg0', fwmark: 32, sources: ['10.0.0.1', 'fd00::1'] },
    });
  });

  test('a proxy and an egress', () => {
    const { upstreams } = liveOf(`
upstreams:
  out: { proxy: 'http://ann:p%40%3A@[fd00::3]:3128' }
  wan: { interface: wg0 }
`);
    expect(upstreams).toMatchObject([
      {
        ...{ kind: 'proxy', protocol: 'http', user: 'ann', password: 'p@:' },
        address: { ip: 'fd00::3', port: 3128 },
      },
      { kind: 'egress', interface: 'wg0' },
    ]);
  });

  test('listeners name them', () => {
    const { listeners } = liveOf(`
upstreams: { wan: { fwmark: 1 } }
listeners:
  - { name: a, action: forward, via: wan, protocol: any }
  - { name: b, action: forward, via: direct }
`);
    expect(listeners.map(({ action }) => action)).toEqual([
      { kind: 'forward', via: 'wan' },
      { kind: 'forward', via: 'direct' },
    ]);
  });
});

describe('the default', () => {
  test.each([
    ["egress: { via: 'socks5://10.0.0.3:1080' }", 'proxy', 'proxy'],
    ["egress: { via: 'direct://' }", '', undefined],
    ['egress: { via: direct }', '', undefined],
    ['egress: {}', '', undefined],
    ['{ egress: { via: wan }, upstreams: { wan: { fwmark: 1 } } }', 'wan', 'egress'],
  ])('%s', (text, via, kind) => {
    const live = liveOf(text);
    expect(live.egress.via).toBe(via);
    expect(live.upstreams.find(({ name }) => name === via)?.kind).toBe(kind as 'proxy');
  });
});

test.each([
  ['socks5://10.0.0.3:1080', { protocol: 'socks5', user: '', password: '' }],
  ['SOCKS5://ann@10.0.0.3:1080', { user: 'ann', password: '' }],
  ['http://ann:a:b@10.0.0.3:3128/', { protocol: 'http', user: 'ann', password: 'a:b' }],
])('%s is a proxy', (text, parts) => {
  expect(parseProxy(text)).toMatchObject(parts);
});

test.each([
  ['socks4://10.0.0.3:1080', 'expected "socks5:'],
  ['10.0.0.3:1080', 'expected "socks5:'],
  ['socks5://10.0.0.3', 'a proxy has an address'],
  ['socks5://proxy.example:1080', 'a proxy has an address, not a name'],
  ['socks5://a%zz@10.0.0.3:1080', 'percent-encoding'],
  [`socks5://${'a'.repeat(256)}@10.0.0.3:1080`, 'longer than 255 bytes'],
  [`http://a:${'é'.repeat(128)}@10.0.0.3:1080`, 'longer than 255 bytes'],
])('%s is none', (text, why) => {
  expect(parseProxy(text)).toContain(why);
});

test('a proxy that is none has one fault', () => {
  expect(faultOf("egress: { via: 'socks5://x:1' }").split('\n')).toHaveLength(1);
});

describe('faults, each with its place', () => {
  test.each([
    ['upstreams: { a: {} }', 'upstreams.a: says nothing'],
    ['upstreams: { a: { addresses: [] } }', 'upstreams.a.addresses: '],
    [
      'upstreams: { a: { addresses: [10.0.0.1] } }',
      'upstreams.a.addresses[0]: expected an "ip:port"',
    ],
    ["upstreams: { a: { addresses: ['10.0.0.1:1', '10.0.0.1:1'] } }", 'an address stands twice'],
    [
      "upstreams: { a: { addresses: ['10.0.0.1:1'], proxy: 'http://10.0.0.1:1' } }",
      'upstreams.a.proxy: an upstream has "addresses" or a "proxy", and not both',
    ],
    ['upstreams: { a: { fwmark: 1, policy: failover } }', 'upstreams.a.policy: is for an upstream'],
    ["upstreams: { a: { proxy: 'socks5://x:1' } }", 'upstreams.a.proxy: "x:1" is no "ip:port"'],
    ['upstreams: { a: { source: [10.0.0.1, 10.0.0.2] } }', 'has two addresses of one family'],
    ['upstreams: { direct: { fwmark: 1 } }', 'upstreams.direct: "direct" stands for no upstream'],
    ['upstreams: { "a b": { fwmark: 1 } }', 'upstreams.a b'],
    [
      'listeners: [{ name: l, action: forward, via: x }]',
      'listeners[0].via: there is no upstream "x"',
    ],
    [
      'upstreams: { b: { fwmark: 1 } }\nlisteners: [{ name: l, action: forward, via: x }]',
      'there is no upstream "x"; there is: b',
    ],
    [
      'listeners: [{ name: l, action: reject, via: direct }]',
      'listeners[0].via: is for the action',
    ],
    [
      "upstreams: { p: { addresses: ['10.0.0.1:1'] } }\n" +
        'listeners: [{ name: l, action: forward, via: p, to: 10.0.0.1 }]',
      'listeners[0].to: upstream "p" is a pool',
    ],
    [
      "upstreams: { p: { proxy: 'http://10.0.0.1:1' } }\n" +
        'listeners: [{ name: l, action: forward, via: p, protocol: udp }]',
      'listeners[0].protocol: upstream "p" is a proxy, which is for tcp only',
    ],
    ['egress: { via: x }', 'egress.via: there is no upstream "x"'],
    ["egress: { via: 'socks5://x:1' }", 'egress.via: "x:1" is no "ip:port"'],
    [
      "upstreams: { p: { addresses: ['10.0.0.1:1'] } }\negress: { via: p }",
      'egress.via: "p" is a pool',
    ],
    [
      "upstreams: { proxy: { fwmark: 1 } }\negress: { via: 'http://10.0.0.1:1' }",
      'upstreams.proxy: the name "proxy" is that of the proxy in egress.via',
    ],
  ])('%s', (text, fault) => {
    expect(faultOf(text)).toContain(fault);
  });
});
