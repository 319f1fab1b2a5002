import { expect, flow, run, test } from 'culvert:test';
import script from './geo-policy.ts';

const sets = {
  blocked: ['198.51.100.0/24', '203.0.113.66', '2001:db8:bad::/48'],
  office: ['192.0.2.0/28'],
  country: ['203.0.113.0/24', '2001:db8::/32'],
};

const from = async (ip: string, port: number) => {
  const [src, dst] = ip.includes(':') ? [`[${ip}]`, '[fd00::7]'] : [ip, '10.0.0.7'];
  const about = flow({ src: `${src}:40000`, dst: `${dst}:${port}` });
  return (await run(script, about, { env: { sets } })).text;
};

test.each([
  ['192.0.2.5', 22, 'decline'],
  ['203.0.113.5', 443, 'decline'],
  ['203.0.113.5', 22, 'reject reason=not from the office'],
  ['203.0.113.66', 443, 'reject reason=blocked with=drop'],
  ['198.51.100.1', 443, 'reject reason=blocked with=drop'],
  ['192.0.2.99', 443, 'reject reason=not from this country with=icmp'],
  ['2001:db8:1::1', 443, 'decline'],
  ['2001:db8:bad::1', 443, 'reject reason=blocked with=drop'],
])('from %s to port %d: %s', async (ip, port, wanted) => {
  expect(await from(ip, port)).toBe(wanted);
});

test('a set that the configuration forgot lets nobody in', async () => {
  const about = flow({ src: '203.0.113.5:40000', dst: '10.0.0.7:443' });
  const r = await run(script, about, { env: { sets: { blocked: [], office: [] } } });
  expect(r.verdict.kind).toBe('failed');
});
