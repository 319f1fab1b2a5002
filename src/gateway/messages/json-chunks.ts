/** Lists that can grow, in groups that fit into a frame each (framing.ts). */

/** Far below FRAME_MAX_BYTES, so that no message holds up the others for long. */
const CHUNK_BYTES = 1024 * 1024;

/** JSON writes a control character as `\u0001`. */
export const JSON_BYTES_PER_UNIT = 6;

/**
 * In their order, each group for one message; a single item may be larger.
 *
 * @param bytesAtMost  of an item as JSON
 */
export function* jsonChunks<T>(
  items: readonly T[],
  bytesAtMost: (item: T) => number,
): Generator<readonly T[]> {
  let chunk: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesAtMost(item);
    if (chunk.length > 0 && bytes + size > CHUNK_BYTES) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}
