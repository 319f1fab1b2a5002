/** What must be true of flows that nothing may have harmed. */
import { expect } from 'bun:test';
import type { HeldReport } from './held-flows.ts';

/** All were opened, none ended before it was told to, and no byte was another than the one sent. */
export function expectWhole({ opened, errors, wrong }: HeldReport, flows: number): void {
  // Not `toMatchObject`: for it, an empty object is like any object.
  expect({ opened, errors, wrong }).toEqual({ opened: flows, errors: {}, wrong: 0 });
}
