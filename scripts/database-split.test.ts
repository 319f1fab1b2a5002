import { expect, flow, run, test } from 'culvert:test';
import script from './database-split.ts';
import { readPostgres } from './lib/postgres.ts';

const PRIMARY = '10.0.0.20:5432';
const REPLICAS = ['10.0.0.21:5432', '10.0.0.22:5432'];
const client = flow({ src: '192.0.2.5:40000', dst: '203.0.113.7:5432' });

/** A hello: its length, a code, and text. */
function hello(code: number, text = ''): Uint8Array {
  const bytes = Uint8Array.from([...new Array(8).fill(0), ...new TextEncoder().encode(text)]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length);
  view.setUint32(4, code);
  return bytes;
}

const SSL = hello(80_877_103);
const startup = (parameters: Record<string, string>) =>
  hello(196_608, `${Object.entries(parameters).flat().join('\0')}\0\0`);

const say = (...clientSends: (Uint8Array | string)[]) =>
  run(script, client, { clientSends, upstreams: { [PRIMARY]: { answers: 'R' } } });

test('a session goes to the primary, with all that it has said', async () => {
  const said = startup({ user: 'app', database: 'shop' });
  const r = await say(said.slice(0, 5), said.slice(5, 20), said.slice(20));
  expect(r.spliced).toBe(PRIMARY);
  expect(r.upstreamGot[PRIMARY]).toEqual(said);
});

test('sessions that only read go to the replicas, by turns', async () => {
  const byUser = await say(startup({ user: 'report_ro' }));
  const options = '-c search_path=x -c default_transaction_read_only=on';
  await say(startup({ user: 'app' }));
  const byOption = await say(startup({ user: 'app', options }));
  expect([byUser.spliced, byOption.spliced].toSorted()).toEqual(REPLICAS);
});

test('who asks for encryption hears no, and goes on in the clear', async () => {
  const said = startup({ user: 'app' });
  const r = await say(SSL, said);
  expect(new TextDecoder().decode(r.clientGot)).toBe('NR');
  expect(r.upstreamGot[PRIMARY]).toEqual(said);
});

test('what follows a question at once is not taken', async () => {
  const r = await say(Uint8Array.from([...SSL, ...startup({ user: 'app' })]));
  expect(r.dialed).toEqual([]);
  expect(r.ended).toBe('killed');
});

test.each([['GET / HTTP/1.1'], [SSL.slice(0, 6)]])('%p is no hello', async (bytes) => {
  const r = await say(bytes);
  expect(r.dialed).toEqual([]);
  expect(r.ended).toBe('killed');
});

test('a request to cancel goes to the primary', async () => {
  expect((await say(hello(80_877_102, 'processK'))).spliced).toBe(PRIMARY);
});

test('a hello is read when all of it is there, and not before', () => {
  const said = startup({ user: 'app' });
  for (let length = 0; length < said.length; length++) {
    expect(readPostgres(said.subarray(0, length))).toBe('need-more');
  }
  expect(readPostgres(said)).toMatchObject({ proto: 'startup' });
});
