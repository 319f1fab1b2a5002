/** `fixtures` of `culvert:test`: calls from a sandbox, of which nothing is believed. */
import * as fixtures from '../sniff/fixtures.ts';

/** Pieces as they cross to the sandbox, where they are bytes again. */
export type Fixture =
  | { readonly pieces: readonly { readonly latin1: string }[] }
  | { readonly error: string };

/** Of text in characters, of a number: no client sends more of anything. */
const MODEST_MAX = 4096;

const MAKERS: Readonly<Record<string, (...args: never[]) => Uint8Array[]>> = { ...fixtures };

/** @param args  as JSON; what is wrong with them is the answer */
export function makeFixture(name: string, args: string): Fixture {
  const make = Object.hasOwn(MAKERS, name) ? MAKERS[name] : undefined;
  if (make === undefined) return { error: 'there is no such fixture' };
  if (args.length > MODEST_MAX) return { error: `more than ${MODEST_MAX} characters` };
  // JSON has no undefined, which a client without a name is made with.
  const values = (JSON.parse(args) as unknown[]).map((value) => value ?? undefined) as never[];
  if (!isModest(values)) return { error: `a number that is not from 0 to ${MODEST_MAX}` };
  try {
    return {
      pieces: make(...values).map((one) => ({ latin1: Buffer.from(one).toString('latin1') })),
    };
  } catch (error) {
    // A builder trusts its types, which nobody has checked here.
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function isModest(value: unknown): boolean {
  if (typeof value === 'number') return value >= 0 && value <= MODEST_MAX;
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(isModest);
}
