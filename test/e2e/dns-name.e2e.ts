/**
 * A script routes by the name that the client has asked DNS for.
 *
 *   client                        gw                               server
 *     curl, resolver ── c0 ═══ g0 ─► culvert0 [ culvert run ] ─► up0 ═══ dn0 DNS, HTTP
 *
 * What a name server of the test says of `q0.example` leads nowhere: only the script, which knows
 * the name, finds the server.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { addressOfName, dnsName } from '../support/dns.ts';
import { hostPort, IPV4, IPV6 } from '../support/netns.ts';
import { World } from '../support/world.ts';

const DNS_PORT = 53;
const WEB_PORT = 8080;
/** Each with a name of its own: what the case before has told is none of it. */
const CASES = [
  { ...IPV4, carrier: 'forward', dns: '198.18.0.20', asked: 0, other: '10.88.1.3/24' },
  { ...IPV4, carrier: 'nat', dns: '198.18.0.21', asked: 1, other: '10.88.1.4/24' },
  { ...IPV6, carrier: 'forward', dns: '2001:db8::20', asked: 2, other: 'fd88:1::3/64' },
  { ...IPV6, carrier: 'nat', dns: '2001:db8::21', asked: 3, other: 'fd88:1::4/64' },
] as const;

const BY_NAT = CASES.filter(({ carrier }) => carrier === 'nat').map(({ dns }) => dns);

const SCRIPT = `
import { forward, nat, reject } from 'culvert';
const NAT = ${JSON.stringify(BY_NAT)};
export default {
  flow({ dst, dnsName }) {
    if (dst.port === ${DNS_PORT}) return NAT.includes(dst.ip) ? nat() : forward();
    if (!/^q\\d[.]example$/.test(dnsName ?? '')) return reject({ reason: 'no-name' });
    const server = dst.family === 4 ? '${IPV4.server}' : '[${IPV6.server}]';
    return forward(server + ':${WEB_PORT}');
  },
};
`;

let world: World;
beforeAll(async () => {
  world = await World.startNat({ scripts: { names: SCRIPT } });
  await world.server.call('http', { port: WEB_PORT, text: 'hello' });
  for (const { dns: host } of CASES) {
    await world.server.call('udpServe', { host, port: DNS_PORT, kind: 'dns' });
  }
});
afterAll(() => world?.[Symbol.asyncDispose]());

describe.each([...CASES])('$name, DNS by $carrier', ({ version, dns, asked, other }) => {
  const server = { host: dns, port: DNS_PORT };
  const address = addressOfName(asked, version);
  const fetchFrom = (source: string) => {
    const { topology } = world;
    const url = `http://${hostPort(address, WEB_PORT)}/`;
    // It ends with another code when it is refused.
    const command = `curl -s -m 5 --interface ${source} '${url}' || echo refused`;
    return topology.run(topology.client, 'sh', '-c', command).then(({ stdout }) => stdout.trim());
  };

  test('a client goes to the name that it asked for, and another one has no name', async () => {
    const { topology } = world;
    // Deprecated: who asks DNS shall not have it for a source.
    const options = version === 6 ? 'nodad preferred_lft 0' : '';
    topology.ip(topology.client, `addr add ${other} dev c0 ${options}`.trim());
    const own = version === 4 ? '10.88.1.2' : 'fd88:1::2';
    const [stranger = ''] = other.split('/');
    expect(await fetchFrom(own)).toBe('refused');
    // Up to the one with this number.
    const load = { server, family: version, queries: asked + 1, atOnce: 1 };
    expect(await world.client.call('dnsQueries', load)).toEqual({ right: asked + 1, errors: {} });
    expect(await fetchFrom(own)).toBe('hello');
    expect(await fetchFrom(stranger)).toBe('refused');
    expect(await world.gateway.flowLog(address, WEB_PORT, 'eof')).toMatchObject({
      src: own,
      seen_name: dnsName(asked),
      dns_name: dnsName(asked),
    });
  });
});
