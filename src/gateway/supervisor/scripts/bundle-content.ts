/** What a bundle holds: whether it is the same as another, and what two of them can share. */
import { createHmac } from 'node:crypto';
import { basename } from 'node:path';
import type { ScriptSet } from '../../messages/script-control.ts';
import type { BundleContent } from './generation.ts';

type ScriptSets = Readonly<Record<string, ScriptSet>>;

/** Hexadecimal. With 128 bits nobody makes two bundles of one hash, to show one and load one. */
const HASH_TEXT_LENGTH = 32;
/** As many as SHA-256 gives out: more would add nothing. */
export const HASH_KEY_BYTES = 32;

/**
 * Of all that decides; where a file lay is told to people only, what it is called is not.
 *
 * Whoever may look sees the hash, and all that goes into it but the vars, which may be secrets: so
 * of those goes in what only the holder of the key can compute, or a short secret could be found by
 * trying. A bundle without vars has the same hash everywhere.
 */
export function hashOf(content: BundleContent, key: Uint8Array): string {
  const { scripts, vars, limits, sets, ca } = content;
  const sources = scripts.map(({ file, ...rest }) => ({ ...rest, file: basename(file) }));
  const parts = [sources, digestOf(vars, key), limits, sets ?? {}, ...(ca ? [ca] : [])];
  const text = JSON.stringify(parts, sortKeys);
  return new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, HASH_TEXT_LENGTH);
}

const digestOf = (vars: BundleContent['vars'], key: Uint8Array): string =>
  Object.keys(vars).length === 0
    ? ''
    : createHmac('sha256', key).update(JSON.stringify(vars, sortKeys)).digest('hex');

/** For `JSON.stringify`: an object is what it holds, in whatever order it was written. */
const sortKeys = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** A text of megabytes that did not change is kept once, not with each generation. */
export const shareSets = (next: ScriptSets, active: ScriptSets): ScriptSets =>
  Object.fromEntries(
    Object.entries(next).map(([name, set]) => {
      const old = active[name];
      return [name, old?.type === set.type && old.text === set.text ? old : set];
    }),
  );
