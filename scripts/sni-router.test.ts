import { expect, fixtures, flow, run, test } from 'culvert:test';
import script from './sni-router.ts';

const client = flow({ src: '192.0.2.5:40000', dst: '203.0.113.7:443' });

const asksFor = (name: string | undefined) =>
  run(script, client, {
    clientSends: fixtures.tlsClientHello(name, { postQuantum: true, segments: 2 }),
    upstreams: { '10.0.0.10:443': { answers: 'www' }, '10.0.0.20:443': { answers: 'others' } },
  });

test.each([
  ['www.example.com', '10.0.0.10:443'],
  ['mail.example.com', '10.0.0.20:443'],
  ['a.b.example.com', '10.0.0.20:443'],
])('%s goes to %s', async (name, to) => {
  const r = await asksFor(name);
  expect(r.dialed).toEqual([to]);
  expect(r.spliced).toBe(to);
  expect(r.clientGot.length).toBeGreaterThan(0);
});

test.each([['example.org'], ['notexample.com'], ['example.com'], [undefined]])(
  'nobody has the name %p, and the client hears so',
  async (name) => {
    const r = await asksFor(name);
    expect(r.dialed).toEqual([]);
    expect([...r.clientGot]).toEqual([21, 3, 3, 0, 2, 2, 112]);
    expect(r.logs).toMatchObject([{ message: 'nobody has this name', fields: { said: 'tls' } }]);
  },
);

test('who does not speak TLS is let go without a word', async () => {
  const r = await run(script, client, { clientSends: fixtures.httpRequest('www.example.com') });
  expect(r.dialed).toEqual([]);
  expect(r.clientGot).toHaveLength(0);
  expect(r.ended).toBe('eof');
});

test('QUIC is refused, and other ports are left to the next script', async () => {
  const to = (proto: 'tcp' | 'udp', port: number) =>
    run(script, flow({ proto, src: '192.0.2.5:40000', dst: `203.0.113.7:${port}` }));
  expect((await to('udp', 443)).text).toBe('reject reason=no QUIC');
  expect((await to('tcp', 80)).text).toBe('decline');
});
