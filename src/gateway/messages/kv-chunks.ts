/** Entries of KV stores in groups that fit into a frame each. */
import type { KvEntry } from './script-control.ts';

/** Far below FRAME_MAX_BYTES, so that no message holds up the others for long. */
const CHUNK_BYTES = 1024 * 1024;

/** JSON writes a control character as `\u0001`. */
const JSON_BYTES_PER_UNIT = 6;
/** Names of the fields, their punctuation, and a number. */
const ENTRY_OVERHEAD_BYTES = 128;

/** In their order, each group for one message; a single entry may be larger, and fits a frame. */
export function* kvChunks(entries: readonly KvEntry[]): Generator<readonly KvEntry[]> {
  let chunk: KvEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const size = jsonBytesAtMost(entry);
    if (chunk.length > 0 && bytes + size > CHUNK_BYTES) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(entry);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

function jsonBytesAtMost({ script, key, value }: KvEntry): number {
  const units = script.length + key.length + (typeof value === 'string' ? value.length : 0);
  return units * JSON_BYTES_PER_UNIT + ENTRY_OVERHEAD_BYTES;
}
