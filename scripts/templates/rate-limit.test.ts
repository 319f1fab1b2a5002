import { clock, expect, flow, run, test } from 'culvert:test';
import script from './rate-limit.ts';

const from = (ip: string) => flow({ src: `${ip}:40000`, dst: '203.0.113.7:443' });

test('a source that opened 100 flows is refused, and others are not', async () => {
  const env = { kv: { 'flows:10.0.0.9': 100 } };
  expect((await run(script, from('10.0.0.9'), { env })).text).toBe('reject reason=too many flows');
  expect((await run(script, from('10.0.0.8'))).text).toBe('forward');
});

test('after a minute it may again', async () => {
  for (let i = 0; i < 100; i++) await run(script, from('10.0.0.9'));
  expect((await run(script, from('10.0.0.9'))).verdict.kind).toBe('reject');
  await clock.advance(60_000);
  expect((await run(script, from('10.0.0.9'))).verdict.kind).toBe('forward');
});
