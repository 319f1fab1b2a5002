/** What a bundle holds: whether it is the same as another, and what two of them can share. */
import { basename } from 'node:path';
import type { ScriptSet } from '../../messages/script-control.ts';
import type { BundleContent } from './generations.ts';

type ScriptSets = Readonly<Record<string, ScriptSet>>;

const HASH_TEXT_LENGTH = 12;

/** Of all that decides; where a file lay is told to people only, what it is called is not. */
export function hashOf({ scripts, vars, limits, sets, ca }: BundleContent): string {
  const sources = scripts.map(({ file, ...content }) => ({ ...content, file: basename(file) }));
  const text = JSON.stringify([sources, vars, limits, sets ?? {}, ...(ca ? [ca] : [])], sortKeys);
  return new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, HASH_TEXT_LENGTH);
}

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
