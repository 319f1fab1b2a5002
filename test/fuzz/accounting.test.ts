import { expect, test } from 'bun:test';
import { accountingRound } from './accounting.ts';
import { queueAccountingRound } from './queue-accounting.ts';

const ROUNDS = 40;
const UNTRIED_MS = 4000;

test('each frame is in one place after each packet: an outcome, a reason, or waiting', async () => {
  const places = new Set<string>();
  let frames = 0;
  for (let seed = 0; seed < ROUNDS; seed++) {
    const round = await accountingRound(seed);
    frames += round.frames;
    for (const place of Object.keys(round.where)) places.add(place);
  }
  expect(frames).toBeGreaterThan(ROUNDS * 400);
  // What the sum is made of was there to be counted.
  expect([...places]).toEqual(
    expect.arrayContaining([
      ...['tcp', 'nat', 'session', 'icmp-error', 'answered', 'reassembled'],
      ...['dropped verdict-drop', 'dropped flow-ended', 'dropped parked-limit'],
      ...['dropped fragment-overlap', 'dropped held-syn-repeated', 'dropped no-flow'],
    ]),
  );
}, 60_000);

test('with two queues each frame is in one place too, and in a capture once', async () => {
  const places = new Set<string>();
  for (let seed = 0; seed < ROUNDS; seed++) {
    const round = await queueAccountingRound(seed).catch((cause) => {
      throw new Error(`seed ${seed}`, { cause });
    });
    for (const place of Object.keys(round.where)) places.add(place);
  }
  expect([...places]).toEqual(
    expect.arrayContaining(['tcp', 'nat', 'session', 'reassembled', 'dropped peer-full']),
  );
}, 120_000);

test('some dozen rounds of seeds that were never tried find nothing', async () => {
  const end = Date.now() + UNTRIED_MS;
  for (let seed = Date.now() % 1e9; Date.now() < end; seed++) {
    try {
      await (seed % 2 === 0 ? accountingRound(seed) : queueAccountingRound(seed));
    } catch (cause) {
      throw new Error(`seed ${seed}`, { cause });
    }
  }
}, 60_000);
