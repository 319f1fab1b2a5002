import { clock, expect, flow, run, test } from 'culvert:test';
import script from './rate-limit.ts';

const env = { vars: { burst: '2', sustained: '5' } };

const connect = (src = '10.0.0.9:40000') =>
  run(script, flow({ src, dst: src.startsWith('[') ? '[fd00::7]:443' : '203.0.113.7:443' }), {
    env,
  });

async function connectTimes(count: number, src?: string): Promise<unknown[]> {
  const outcomes: unknown[] = [];
  for (let i = 0; i < count; i++) {
    const { verdict } = await connect(src);
    outcomes.push(verdict['reason'] ?? verdict.kind);
  }
  return outcomes;
}

test('what is over the limit meets silence, and other clients are served', async () => {
  expect(await connectTimes(3)).toEqual(['decline', 'decline', 'over the burst limit']);
  expect((await connect()).verdict).toMatchObject({ kind: 'reject', with: 'drop' });
  expect(await connectTimes(1, '10.0.0.8:40000')).toEqual(['decline']);
});

test('after ten seconds a client may again, and not for ever', async () => {
  await connectTimes(2);
  await clock.advance(10_000);
  await connectTimes(2);
  await clock.advance(10_000);
  expect(await connectTimes(2)).toEqual(['decline', 'over the sustained limit']);
  await clock.advance(600_000);
  expect(await connectTimes(1)).toEqual(['decline']);
});

test('addresses of one IPv6 network are one client', async () => {
  await connectTimes(2, '[2001:db8::1]:40000');
  expect(await connectTimes(1, '[2001:db8::ffff]:40000')).toEqual(['over the burst limit']);
  expect(await connectTimes(1, '[2001:db8:0:1::1]:40000')).toEqual(['decline']);
});

test('the log tells of it once', async () => {
  await connectTimes(2);
  expect((await connect()).logs).toMatchObject([
    { level: 'warn', fields: { client: '10.0.0.9', limit: 2, window: 'burst' } },
  ]);
  expect((await connect()).logs).toEqual([]);
});
