import { clock, expect, fixtures, flow, run, test } from 'culvert:test';
import script from './honeypot.ts';

const to = (port: number, proto: 'tcp' | 'udp' = 'tcp') =>
  flow({ proto, src: '192.0.2.5:40000', dst: `203.0.113.7:${port}` });

test('a scanner gets a line every 15 seconds, and after five minutes it is let go', async () => {
  const r = await run(script, to(22), { clientSends: fixtures.sshBanner() });
  expect(r.verdict.kind).toBe('claim');
  expect(r.tookMs).toBeGreaterThan(299_000);
  expect(r.tookMs).toBeLessThan(310_000);
  const lines = new TextDecoder().decode(r.clientGot).split('\r\n');
  expect(lines).toHaveLength(21);
  // That would be the version, and the end of waiting.
  expect(lines.filter((line) => line.startsWith('SSH-'))).toEqual([]);
  expect(r.logs).toMatchObject([
    { level: 'warn', message: 'caught', fields: { client: '192.0.2.5', port: 22 } },
    { message: 'let go', fields: { seconds: 300 } },
  ]);
});

test('the log tells of a client once an hour', async () => {
  const caught = async () => {
    const { logs } = await run(script, to(23));
    return logs.filter(({ message }) => message === 'caught').length;
  };
  expect(await caught()).toBe(1);
  expect(await caught()).toBe(0);
  await clock.advance(3_600_000);
  expect(await caught()).toBe(1);
});

test('when as many are held as there may be, others meet silence', async () => {
  const r = await run(script, to(22), { env: { vars: { held: '0' } } });
  expect(r.verdict).toMatchObject({ kind: 'reject', with: 'drop' });
});

test('who was let go does not count any more', async () => {
  const env = { vars: { held: '1' } };
  expect((await run(script, to(22), { env })).verdict.kind).toBe('claim');
  expect((await run(script, to(22), { env })).verdict.kind).toBe('claim');
});

test('other ports and protocols are left to the next script', async () => {
  expect((await run(script, to(443))).text).toBe('decline');
  expect((await run(script, to(22, 'udp'))).text).toBe('decline');
});
