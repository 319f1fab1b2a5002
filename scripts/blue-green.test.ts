import { expect, flow, run, test } from 'culvert:test';
import script from './blue-green.ts';

const BLUE = ['10.0.1.10:8080'];
const GREEN = ['10.0.2.10:8080'];

const from = (src: string, vars: Record<string, string>) =>
  run(script, flow({ src, dst: src.startsWith('[') ? '[fd00::7]:80' : '203.0.113.7:80' }), {
    env: { vars, sets: { testers: ['192.0.2.0/24'] } },
  });

async function greenClients(green: string, release = ''): Promise<string[]> {
  const met: string[] = [];
  for (let i = 1; i <= 100; i++) {
    const client = `10.0.0.${i}:40000`;
    const { dialed } = await from(client, { green, release });
    if (dialed[0] === GREEN[0]) met.push(client);
  }
  return met;
}

test('about as many clients as were asked for meet green', async () => {
  const { length } = await greenClients('25');
  expect(length).toBeGreaterThan(15);
  expect(length).toBeLessThan(35);
  expect(await greenClients('100')).toHaveLength(100);
});

test('who met green meets it when more do, and not with the next release', async () => {
  const first = await greenClients('10');
  const more = new Set(await greenClients('50'));
  expect(first.filter((client) => !more.has(client))).toEqual([]);
  expect(await greenClients('10', '2.5.0')).not.toEqual(first);
});

test('a client is known again by its address, and with IPv6 by its network', async () => {
  const vars = { green: '50' };
  const first = await from('[2001:db8:0:7::1]:40000', vars);
  for (const src of ['[2001:db8:0:7:a:b:c:d]:1', '[2001:db8:0:7::2]:50000']) {
    expect((await from(src, vars)).dialed).toEqual(first.dialed);
  }
});

test('testers see green, and without a share nobody else does', async () => {
  expect((await from('192.0.2.9:40000', {})).dialed).toEqual(GREEN);
  expect((await from('10.0.0.9:40000', {})).dialed).toEqual(BLUE);
});
