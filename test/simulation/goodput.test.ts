/** How fast our stack sends and receives over bad links: each cell of the table, and its bounds. */
import { beforeAll, expect, test } from 'bun:test';
import { type GoodputCell, measureGoodputs, renderGoodputs } from './goodput.ts';

/** Of what the theory expects. */
const LEAST = 0.6;

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

test('our stack as receiver does not hold the sender up', () => {
  for (const { roundTripMs, fault, up, model, most } of cells) {
    const cell = `${roundTripMs} ms, ${fault}`;
    expect({ cell, isFast: up >= LEAST * model, up }).toEqual({ cell, isFast: true, up });
    expect({ cell, isFair: up <= most, up }).toEqual({ cell, isFair: true, up });
  }
});
