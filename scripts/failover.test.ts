import { clock, expect, fixtures, flow, run, scheduled, test } from 'culvert:test';
import script from './failover.ts';

const [FIRST, SECOND, THIRD] = ['10.0.0.11:443', '10.0.0.12:443', '10.0.0.13:443'] as const;
const client = flow({ src: '192.0.2.5:40000', dst: '203.0.113.7:443' });
const clientSends = fixtures.tlsClientHello('www.example.com');
const refused = { refuses: 'refused' } as const;
const well = { answers: 'hello' };

test('as long as it answers, the first server gets all connections', async () => {
  const r = await run(script, client, { clientSends, upstreams: { [FIRST]: well } });
  expect(r.dialed).toEqual([FIRST]);
  expect(r.spliced).toBe(FIRST);
  expect(r.clientGot).toHaveLength(5);
});

test('the next one takes over, with all that the client has said', async () => {
  const upstreams = { [FIRST]: refused, [SECOND]: well };
  const r = await run(script, client, { clientSends, upstreams });
  expect(r.dialed).toEqual([FIRST, SECOND]);
  expect(r.spliced).toBe(SECOND);
  expect(r.upstreamGot[SECOND]).toHaveLength(clientSends.flatMap((part) => [...part]).length);
  expect(r.logs).toMatchObject([
    { message: 'server is down', fields: { server: FIRST, code: 'refused' } },
  ]);
});

test('a server that is silent costs a second', async () => {
  const r = await run(script, client, { clientSends, upstreams: { [FIRST]: { connectMs: 5000 } } });
  expect(r.dialed).toEqual([FIRST, SECOND]);
  expect(r.logs).toMatchObject([{ fields: { code: 'timeout' } }]);
});

test('a server that is down is left out for ten seconds, and then tried again', async () => {
  await run(script, client, { upstreams: { [FIRST]: refused } });
  expect((await run(script, client)).dialed).toEqual([SECOND]);
  await clock.advance(10_000);
  expect((await run(script, client)).dialed).toEqual([FIRST]);
});

test('a health check dials all servers, and clients go to those that answered', async () => {
  const sick = await scheduled(script, 'health', { upstreams: { [FIRST]: refused } });
  expect(sick.dialed).toEqual([FIRST, SECOND, THIRD]);
  expect(sick.logs).toMatchObject([{ message: 'server is down', fields: { server: FIRST } }]);
  expect((await run(script, client)).dialed).toEqual([SECOND]);
  await scheduled(script, 'health', { upstreams: { [FIRST]: refused } });
  const well = await scheduled(script, 'health');
  expect(well.logs).toMatchObject([{ message: 'server is back', fields: { server: FIRST } }]);
  expect((await run(script, client)).dialed).toEqual([FIRST]);
});

test('a health check is over in a second, however many servers are silent', async () => {
  const silent = { connectMs: 5000 };
  const upstreams = { [FIRST]: silent, [SECOND]: silent, [THIRD]: silent };
  const r = await scheduled(script, 'health', { upstreams });
  expect(r.tookMs).toBeLessThan(2000);
  expect(r.logs).toHaveLength(3);
});

test('when all are down, each is tried and the client is reset', async () => {
  const upstreams = { [FIRST]: refused, [SECOND]: refused, [THIRD]: refused };
  for (let i = 0; i < 2; i++) {
    const r = await run(script, client, { upstreams });
    expect(r.dialed).toEqual([FIRST, SECOND, THIRD]);
    expect(r.ended).toBe('killed');
  }
});

test('who is back while all were down is in service at once', async () => {
  const upstreams = { [FIRST]: refused, [SECOND]: refused, [THIRD]: refused };
  await run(script, client, { upstreams });
  const back = { [FIRST]: refused, [THIRD]: refused };
  expect((await run(script, client, { upstreams: back })).spliced).toBe(SECOND);
  expect((await run(script, client, { upstreams: back })).dialed).toEqual([SECOND]);
});
