/** Entries of KV stores in groups that fit into a frame each. */
import { JSON_BYTES_PER_UNIT, jsonChunks } from './json-chunks.ts';
import type { KvEntry } from './script-control.ts';

/** Names of the fields, their punctuation, and a number. */
const ENTRY_OVERHEAD_BYTES = 128;

/** In their order, each group for one message; a single entry may be larger, and fits a frame. */
export const kvChunks = (entries: readonly KvEntry[]): Generator<readonly KvEntry[]> =>
  jsonChunks(entries, jsonBytesAtMost);

function jsonBytesAtMost({ script, key, value }: KvEntry): number {
  const units = script.length + key.length + (typeof value === 'string' ? value.length : 0);
  return units * JSON_BYTES_PER_UNIT + ENTRY_OVERHEAD_BYTES;
}
