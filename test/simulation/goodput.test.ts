/** How fast our stack sends and receives over bad links: each cell of the table, and its bounds. */
import { beforeAll, expect, test } from 'bun:test';
import { type GoodputCell, LINE, measureGoodputs, renderGoodputs } from './goodput.ts';

/** Of what the theory expects. */
const LEAST = 0.6;

/** Of what the theory of Reno expects: what BBR reaches at least. */
const bbrLeast = (fault: string): number =>
  fault === 'loss 1 %' || fault === 'loss 5 %' ? 4 : 0.95;

let cells: GoodputCell[];
beforeAll(() => {
  cells = measureGoodputs();
}, 120_000);

test('the goodput of each link is as the table of the last review has it', () => {
  expect(`\n${renderGoodputs(cells)}\n`).toMatchSnapshot();
});

test('our stack as sender lies between the theory of Reno and what the link can carry', () => {
  for (const { roundTripMs, fault, down, model, most } of cells) {
    const cell = `${roundTripMs} ms, ${fault}`;
    expect({ cell, isFast: down >= LEAST * model, down }).toEqual({ cell, isFast: true, down });
    expect({ cell, isFair: down <= most, down }).toEqual({ cell, isFair: true, down });
  }
});

test('BBR fills what loses nothing, and is not slowed down by losses that tell of no queue', () => {
  for (const { roundTripMs, fault, bbr, model } of cells) {
    const cell = `${roundTripMs} ms, ${fault}`;
    expect({ cell, isFast: bbr >= bbrLeast(fault) * model, bbr }).toMatchObject({ isFast: true });
    expect({ cell, isPossible: bbr <= LINE, bbr }).toMatchObject({ isPossible: true });
  }
});

test('our stack as receiver does not hold the sender up', () => {
  for (const { roundTripMs, fault, up, model, most } of cells) {
    const cell = `${roundTripMs} ms, ${fault}`;
    expect({ cell, isFast: up >= LEAST * model, up }).toEqual({ cell, isFast: true, up });
    expect({ cell, isFair: up <= most, up }).toEqual({ cell, isFair: true, up });
  }
});
