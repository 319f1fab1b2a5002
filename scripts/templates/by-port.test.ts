import { expect, flow, run, test } from 'culvert:test';
import script from './by-port.ts';

const to = (port: number) => flow({ src: '10.0.0.9:40000', dst: `203.0.113.7:${port}` });

test('HTTPS goes to the inner address', async () => {
  const r = await run(script, to(443));
  expect(r.dialed).toEqual(['10.0.0.5:8443']);
});

test('SSH is refused', async () => {
  const r = await run(script, to(22));
  expect(r.verdict).toMatchObject({ kind: 'reject', reason: 'no ssh' });
});

test('the next script is asked about all else, and the log says so', async () => {
  const r = await run(script, to(25));
  expect(r.text).toBe('decline');
  expect(r.logs).toEqual([{ level: 'info', message: 'not ours', fields: { port: 25 } }]);
});
