import { clock, expect, flow, run, test } from 'culvert:test';
import script from './port-knock.ts';

const at = async (port: number, ip = '192.0.2.5') =>
  (await run(script, flow({ src: `${ip}:40000`, dst: `203.0.113.7:${port}` }))).text;

async function knock(...ports: number[]): Promise<void> {
  for (const port of ports) expect(await at(port)).toBe('reject');
}

test('SSH opens for who has knocked, and for nobody else', async () => {
  expect(await at(22)).toBe('reject');
  await knock(7003, 7001, 7002);
  expect(await at(22)).toBe('forward');
  expect(await at(22, '192.0.2.6')).toBe('reject');
});

test.each([
  ['in another order', [7001, 7002, 7003]],
  ['two of them', [7003, 7001]],
  ['one too many in between', [7003, 7001, 7003, 7002]],
])('SSH stays closed after knocks %s', async (_name, ports) => {
  await knock(...ports);
  expect(await at(22)).toBe('reject');
});

test('who knocks too slowly begins anew', async () => {
  await knock(7003, 7001);
  await clock.advance(5_000);
  await knock(7002);
  expect(await at(22)).toBe('reject');
});

test('after half a minute SSH is closed again', async () => {
  await knock(7003, 7001, 7002);
  await clock.advance(30_000);
  expect(await at(22)).toBe('reject');
});

test('other ports are left to the next script', async () => {
  await knock(7003, 7001);
  expect(await at(443)).toBe('decline');
  await knock(7002);
  expect(await at(22)).toBe('forward');
});
